"""Maps under randomisation: which methods change, which do not, and that nothing else does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import timm
import torch
from scipy import stats
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.measures import sanity
from seewhy.explanation.measures.replay import Replay
from seewhy.explanation.measures.sanity import (
    check_sanity,
    correlation,
    rank_correlation,
    structural_similarity,
)
from seewhy.explanation.methods.registry import METHODS

IMAGES = torch.randn(12, 3, 20, 20, generator=torch.Generator().manual_seed(0))


def _network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 16, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16, 5),
        )


def test_structural_similarity_worked_out_by_hand() -> None:
    left = np.array([[[0.0, 1.0]], [[0.0, 1.0]], [[3.0, 5.0]], [[0.0, 1.0]]])
    right = np.array([[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 8.0]], [[2.0, 2.0]]])
    # Means 0.5 and variances 0.25 each; a constant map is zero.
    turned = (0.5 + 1e-4) * (-0.5 + 9e-4) / ((0.5 + 1e-4) * (0.5 + 9e-4))
    gone = 1e-4 * 9e-4 / ((0.25 + 1e-4) * (0.25 + 9e-4))
    np.testing.assert_allclose(structural_similarity(left, right), [1, turned, 1, gone])


def test_structural_similarity_is_the_mean_over_windows_of_seven() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 1, 8, 9))
    for maps in (left, right):
        maps[0, 0, :2] = 0, 1  # the range is 0 … 1 already
    found = []
    for row in range(2):
        for column in range(3):
            x, y = (m[0, row : row + 7, column : column + 7].ravel() for m in (left, right))
            (var_x, both), (_, var_y) = np.cov(x, y, bias=True)
            found.append(
                (2 * x.mean() * y.mean() + 1e-4)
                * (2 * both + 9e-4)
                / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (var_x + var_y + 9e-4))
            )
    assert structural_similarity(left, right)[0] == pytest.approx(np.mean(found))


def test_correlations_equal_scipys() -> None:
    rng = np.random.default_rng(0)
    # Small integers: many equal values, as in maps that are mostly zero.
    left = rng.integers(0, 4, (6, 30)).astype(float)
    right = left + rng.integers(0, 3, (6, 30))
    for ours, theirs in ((correlation, stats.pearsonr), (rank_correlation, stats.spearmanr)):
        expected = [theirs(a, b).statistic for a, b in zip(left, right, strict=True)]
        np.testing.assert_allclose(ours(left, right), expected, rtol=1e-12)


def test_a_constant_map_has_nothing_in_common_with_any() -> None:
    rows = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert correlation(rows, rows).tolist() == [1.0, 0.0]
    assert rank_correlation(rows, rows[::-1]).tolist() == [0.0, 0.0]


def test_tiny_values_correlate_as_large_ones_do() -> None:
    rows = np.array([[1.0, 2.0, 4.0]])
    assert correlation(rows * 1e-200, rows)[0] == pytest.approx(1)


def test_a_method_that_does_not_look_at_the_head_is_told_so() -> None:
    found = check_sanity(_network(), IMAGES, methods=["eigencam", "gradcam"], levels=3)
    eigen, grad = found.methods["eigencam"], found.methods["gradcam"]
    assert eigen.layer == grad.layer == "4"
    assert [depth.lowest for depth in eigen.depths] == ["8", "3", "0"]
    assert [depth.layers for depth in eigen.depths] == [1, 2, 3]
    # Eigen-CAM takes no class: with another head it is the same map.
    assert eigen.depths[0].spearman.value == pytest.approx(1, abs=1e-9)
    assert eigen.depths[0].unchanged
    assert eigen.depths[1].spearman.value < 0.9
    assert not any(depth.unchanged for depth in grad.depths)
    assert found.insensitive == ("eigencam",)
    assert found.sentences[0].startswith("eigencam: hardly changes")
    assert "the output layer '8' (1.00)" in found.sentences[0]
    assert found.sentences[1].startswith("gradcam: changes at every depth")


def test_maps_are_compared_with_those_of_the_randomised_network_itself() -> None:
    model = _network().eval()
    found = check_sanity(model, IMAGES, methods=["gradcam"], levels=2, seed=3, batch_size=5)
    before = explain(model, IMAGES)
    classes = before.classes[:, 0].tolist()
    generator_free = dict(model.named_parameters())
    with sanity.shuffled(model, tuple(generator_free), seed=3):
        after = explain(model, IMAGES, classes, layer=before.layer)
    first, second = (shown.maps.flatten(1).double().numpy() for shown in (before, after))
    kept = np.ptp(first, axis=1) > 0
    depth = found.methods["gradcam"].depths[1]
    expected = [
        stats.spearmanr(a, b).statistic if np.ptp(b) else 0.0
        for a, b in zip(first[kept], second[kept], strict=True)
    ]
    assert found.methods["gradcam"].images == kept.sum()
    assert depth.spearman.value == pytest.approx(np.mean(expected), abs=1e-6)
    assert depth.flat == (np.ptp(second[kept], axis=1) == 0).sum()


def test_classes_are_those_asked_for() -> None:
    model = _network()
    asked: list[list[int]] = []

    def noting(*given: Any, **named: Any) -> Any:
        answer = explain(*given, **named)
        asked.append(answer.classes[:, 0].tolist())
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sanity, "explain", noting)
        check_sanity(model, IMAGES[:4], [3, 2, 1, 0], levels=2, batch_size=2)
        # Each batch before and after two randomisations.
        assert asked == [[3, 2]] * 3 + [[1, 0]] * 3
        predicted = explain(model, IMAGES[:4]).predicted.tolist()
        asked.clear()
        check_sanity(model, IMAGES[:4], levels=2)
        assert asked == [predicted] * 3


def _state(model: nn.Module) -> list[object]:
    return [
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("fails_at", [None, 1, 3])
def test_everything_is_as_before(fails_at: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network().train()
    model[1].eval()
    model[0].requires_grad_(False)
    model[8].weight.grad = torch.ones_like(model[8].weight)
    calls: list[Tensor] = []

    def failing(*given: Any, **named: Any) -> Any:
        calls.append(model[8].weight.detach().clone())
        if len(calls) == fails_at:
            raise ArithmeticError("on purpose")
        return explain(*given, **named)

    monkeypatch.setattr(sanity, "explain", failing)
    before, attributes = _state(model), [set(m.__dict__) for m in model.modules()]
    if fails_at is None:
        check_sanity(model, IMAGES, levels=3)
    else:
        with pytest.raises(ArithmeticError):
            check_sanity(model, IMAGES, levels=3)
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)
    assert [set(m.__dict__) for m in model.modules()] == attributes
    # And yet the weights were others on the way.
    assert fails_at == 1 or not torch.equal(calls[-1], model[8].weight)


def test_the_same_seed_gives_the_same_record() -> None:
    options = {"methods": ["gradcam", "layercam"], "levels": 3}
    once = check_sanity(_network(), IMAGES, seed=1, **options)
    assert check_sanity(_network(), IMAGES, seed=1, **options) == once
    assert check_sanity(_network(), IMAGES, seed=2, **options) != once
    stored = json.loads(json.dumps(dataclasses.asdict(once), allow_nan=False))
    assert stored["methods"]["gradcam"]["depths"][0]["spearman"]["value"] <= 1


def test_unrelated_maps_are_those_of_other_images() -> None:
    found = check_sanity(_network(), IMAGES, methods=["eigencam"], levels=2)
    maps = explain(_network(), IMAGES, method="eigencam").maps.flatten(1).double().numpy()
    others = rank_correlation(maps, np.roll(maps, 1, axis=0))
    assert found.methods["eigencam"].unrelated is not None
    assert found.methods["eigencam"].unrelated.value == pytest.approx(others.mean(), abs=1e-6)
    alone = check_sanity(_network(), IMAGES[:1], methods=["eigencam"], levels=2)
    assert alone.methods["eigencam"].unrelated is None


def test_constant_maps_are_left_out() -> None:
    model = _network()
    with torch.no_grad():
        model[8].weight[2] = -1
    # Class 2 speaks against every channel: its maps are empty.
    found = check_sanity(model, IMAGES, [2] * 6 + [0] * 6, levels=2)
    assert found.methods["gradcam"].images <= 6
    nothing = check_sanity(model, IMAGES, [2] * 12, levels=2)
    assert nothing.methods["gradcam"].depths == ()
    assert nothing.sentences == ("gradcam: every map is constant, so there is nothing to compare",)


class _Never(Replay):
    """Computes everything."""

    @contextmanager
    def before(self, moment: int) -> Iterator[None]:
        yield


def _cases() -> list[tuple[str, str]]:
    convolutional = [(name, "resnet") for name, m in METHODS.items() if m.needs != "attention"]
    inputs = [(name, "resnet") for name in ("captum:saliency", "captum:occlusion")]
    return convolutional + inputs + [(name, "vit") for name in ("gradcam", "legrad", "eigencam")]


@pytest.mark.parametrize(("method", "family"), _cases())
def test_answers_from_memory_change_no_method(
    method: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "vit":
            model = timm.models.VisionTransformer(
                img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=4
            )
        else:
            model = timm.models.ResNet(
                timm.models.resnet.BasicBlock, (1, 1, 1, 1), num_classes=4, channels=(4, 8, 8, 8)
            )
    # CAM wants the last map, which is a single place in smaller images.
    side = 64 if method == "cam" else 32
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    layer = "layer2" if family == "resnet" and method in set(METHODS) - {"cam"} else "auto"
    levels = 2 if method == "captum:occlusion" else 4  # it takes hundreds of passes a level
    found = check_sanity(model, images, layer=layer, methods=[method], levels=levels)
    monkeypatch.setattr(sanity, "Replay", _Never)
    assert check_sanity(model, images, layer=layer, methods=[method], levels=levels) == found
    assert found.methods[method].images > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"levels": 1}, "expected levels of at least 2"),
        ({"methods": []}, "expected levels of at least 2, .* and a method"),
        ({"methods": ["gradcan"]}, "did you mean gradcam"),
        ({"classes": [0, 1]}, "one index for each of 12 images"),
        ({"layer": "9"}, "layer '9' is unknown"),
    ],
)
def test_what_cannot_be_checked_is_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_sanity(_network(), IMAGES, **arguments)


def test_on_an_imagenet_network_grad_cam_changes_and_others_do_not(
    photographs: Callable[[int, int], tuple[nn.Module, Tensor]],
) -> None:
    model, images = photographs(96, 12)
    found = check_sanity(
        model, images, methods=["gradcam", "layercam", "eigencam"], levels=3, batch_size=12
    )
    assert [depth.layers for depth in found.methods["gradcam"].depths] == [1, 25, 50]
    assert found.insensitive == ("layercam", "eigencam")
    assert found.methods["gradcam"].depths[0].spearman.high < 0.7
