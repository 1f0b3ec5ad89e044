"""The region that is replaced: worked out by hand, half of each class, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.config import StudyConfig, load_config
from seewhy.errors import ConfigError
from seewhy.models.classifier import Head, TailAndHead
from seewhy.pipeline.study import run_study
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training.augmentation import (
    Replacement,
    box_sides,
    check_region,
    choose,
    draw_donors,
)
from seewhy.training.stages import finetune

CPU = Compute(torch.device("cpu"), "float32", "a test")


def _chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class ByPlace(nn.Module):
    """Logit k is the sum over all places of weights (K, h, w) times the only channel."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, activations: Tensor) -> Tensor:
        return torch.einsum("bchw,khw->bk", activations, self.weights)


def _tail(seed: int = 0) -> TailAndHead:
    """A tail whose first layer works in place, with batch statistics, and a head with dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tail = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Tanh()
        )
    return TailAndHead(tail, Head(5, (6,), 0.5, 3, seed))


def _activations(count: int = 12, side: int = 6) -> Tensor:
    return torch.randn(count, 3, side, side, generator=_chance(9))


def _changed(before: Tensor, after: Tensor) -> Tensor:
    """Mark the places that are others now, (B, h, w)."""
    return (before != after).any(dim=1)


def test_the_hottest_box_is_the_one_that_is_replaced() -> None:
    """Six places a side, so the box has 0.35 · 6 = 2.1, that is two."""
    weights = torch.zeros(2, 6, 6)
    # Class 0: this box sums to 1 + 2 + 3 + 4 = 10, the single peak to 8 only. The 99 and the -99
    # are where the activation is below and above zero: both speak against the class.
    weights[0, 3:5, 1:3] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    weights[0, 0, 5], weights[0, 5, 5], weights[0, 0, 0] = 8.0, 99.0, -99.0
    # Class 1: in the corner the box around the peak does not fit in the middle of it.
    weights[1, 5, 4] = 1.0
    weights[1, 4, 3] = 0.5
    labels = torch.tensor([0, 1, 0, 1])
    # Image i is 1 + i / 8 everywhere, but below zero at (5, 5).
    before = (1 + torch.arange(4) / 8).view(4, 1, 1, 1).repeat(1, 1, 6, 6)
    before[..., 5, 5] = -1
    after = Replacement("focus", ByPlace(weights), CPU)(before.clone(), labels, _chance())
    boxes = {0: (3, 1), 1: (4, 3)}
    changed = _changed(before, after)
    picked = changed.flatten(1).any(dim=1).nonzero().flatten().tolist()
    assert sorted(labels[picked].tolist()) == [0, 1]
    for image in picked:
        top, left = boxes[int(labels[image])]
        expected = torch.zeros(6, 6, dtype=torch.bool)
        expected[top : top + 2, left : left + 2] = True
        assert torch.equal(changed[image], expected)
        given = after[image, 0, top : top + 2, left : left + 2]
        # What is there now is one image's, and that image is of the other class.
        donor = (given[0, 0] - 1) * 8
        assert int(labels[int(donor)]) != int(labels[image])
        assert torch.equal(given, torch.full((2, 2), float(given[0, 0])))


def test_the_map_is_the_one_that_explain_makes() -> None:
    tail_and_head = _tail()
    activations, labels = _activations().relu(), torch.arange(12) % 3
    found = Replacement("focus", tail_and_head, CPU)._heat(activations, labels)

    class Passing(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            return given.clone()

    model = nn.Sequential(Passing(), tail_and_head)
    expected = explain(model, activations, labels, "0", "gradcam-elementwise").maps[:, 0]
    assert expected.flatten(1).amax(dim=1).min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("where", ["erasing", "focus"])
def test_only_a_box_of_chosen_images_changes(where: str) -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2])
    before = _activations()
    given = before.clone()
    after = Replacement(where, _tail(), CPU)(given, labels, _chance(1))
    assert after is given
    changed = _changed(before, after)
    picked = changed.flatten(1).any(dim=1)
    assert [int(picked[labels == k].sum()) for k in range(3)] == [2, 1, 3]
    for image in picked.nonzero().flatten().tolist():
        rows, columns = (changed[image].any(dim=d).nonzero().flatten() for d in (1, 0))
        assert len(rows) == len(columns) == 2
        assert int(changed[image].sum()) == 4
        donors = [
            k
            for k in range(12)
            if torch.equal(after[image][:, changed[image]], before[k][:, changed[image]])
        ]
        assert len(donors) == 1
        assert labels[donors[0]] != labels[image]


def test_half_of_each_class_is_chosen() -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 0, 0, 1, 2, 3])
    counts = torch.stack(
        [torch.bincount(labels[choose(labels, _chance(seed))], minlength=4) for seed in range(200)]
    )
    # Four and two images have two and one; three and one have either, by a coin each.
    assert counts[:, 0].unique().tolist() == [2]
    assert counts[:, 1].unique().tolist() == [1]
    assert counts[:, 2].unique().tolist() == [1, 2]
    assert counts[:, 3].unique().tolist() == [0, 1]
    # 200 coins: a deviation of 0.035.
    assert counts[:, 2:].float().mean(dim=0).tolist() == pytest.approx([1.5, 0.5], abs=0.12)
    both = torch.stack([choose(labels, _chance(seed)) for seed in range(200)])
    assert both.float().mean(dim=0).tolist() == pytest.approx([0.5] * 10, abs=0.12)


def test_donors_are_of_another_class_where_there_is_one() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    drawn = torch.stack([draw_donors(labels, _chance(seed)) for seed in range(300)])
    assert [drawn[:, k].unique().tolist() for k in range(5)] == [
        [2, 3, 4], [2, 3, 4], [0, 1, 4], [0, 1, 4], [0, 1, 2, 3],
    ]  # fmt: skip
    alike = torch.stack([draw_donors(torch.ones(3).long(), _chance(s)) for s in range(50)])
    assert [alike[:, k].unique().tolist() for k in range(3)] == [[1, 2], [0, 2], [0, 1]]
    assert draw_donors(torch.tensor([4]), _chance()).tolist() == [0]


def test_where_nothing_speaks_for_the_label_the_place_is_drawn() -> None:
    before, labels = _activations(), torch.arange(12) % 3
    nothing = ByPlace(torch.zeros(3, 6, 6))
    found = [
        Replacement(where, nothing, CPU)(before.clone(), labels, _chance(3))
        for where in ("focus", "erasing")
    ]
    assert torch.equal(*found)
    # And chance takes every one of the five times five places.
    corners = set()
    for seed in range(60):
        after = Replacement("erasing", nothing, CPU)(before.clone(), labels, _chance(seed))
        for mask in _changed(before, after):
            if mask.any():
                corners.add(tuple(mask.nonzero()[0].tolist()))
    assert corners == {(row, column) for row in range(5) for column in range(5)}


def test_what_is_asked_for_the_map_stays_as_it_was() -> None:
    tail_and_head = _tail().train()
    tail_and_head.tail[2].eval()
    tail_and_head.tail[1].requires_grad_(False)
    modes = [part.training for part in tail_and_head.modules()]
    state = {name: tensor.clone() for name, tensor in tail_and_head.state_dict().items()}
    asked = [parameter.requires_grad for parameter in tail_and_head.parameters()]
    random = torch.get_rng_state()
    before, labels = _activations(), torch.arange(12) % 3
    found = Replacement("focus", tail_and_head, CPU)(before.clone(), labels, _chance())
    assert _changed(before, found).any()
    assert not found.requires_grad
    assert [part.training for part in tail_and_head.modules()] == modes
    assert all(torch.equal(t, state[name]) for name, t in tail_and_head.state_dict().items())
    assert [parameter.requires_grad for parameter in tail_and_head.parameters()] == asked
    assert all(parameter.grad is None for parameter in tail_and_head.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    # With the statistics of the batch, and units dropped, the boxes would be others.
    tail_and_head.tail[2].train()
    again = Replacement("focus", tail_and_head, CPU)(before.clone(), labels, _chance())
    assert torch.equal(again, found)


@pytest.mark.parametrize("where", ["erasing", "focus"])
def test_an_image_that_is_alone_stays_as_it_is(where: str) -> None:
    for seed in range(4):
        before = _activations(1)
        after = Replacement(where, _tail(), CPU)(before.clone(), torch.tensor([1]), _chance(seed))
        assert torch.equal(after, before)


@pytest.mark.parametrize(
    ("sides", "box"),
    [((2, 2), (1, 1)), ((6, 6), (2, 2)), ((8, 8), (3, 3)), ((14, 7), (5, 2)), ((28, 28), (10, 10))],
)
def test_the_box_is_a_third_of_the_maps_sides(sides: tuple[int, int], box: tuple[int, int]) -> None:
    assert box_sides(*sides) == box


class Kept:
    """Activations as `CutInput` hands them out: a copy, which may be overwritten."""

    def __init__(self, activations: Tensor) -> None:
        self._activations = activations

    def batch(
        self,
        indices: np.ndarray,
        generator: torch.Generator | None = None,
        views: int | None = None,
    ) -> Tensor:
        return self._activations[torch.from_numpy(indices)]


def _finetuned(
    where: str, checkpoint: Path | None = None, stop: int = 0, norms: str = "fixed", seed: int = 0
) -> dict[str, Tensor]:
    """Fine-tune 3 epochs on 28 images; return the last weights."""
    labels = np.arange(40, dtype=np.int64) % 3
    activations = _activations(40)
    activations[torch.arange(40), torch.from_numpy(labels), 1:3, 1:3] += 2
    numbers = tuple(map(str, range(40)))
    data = Dataset(
        source="a test",
        classes=("a", "b", "c"),
        ids=numbers,
        paths=numbers,
        labels=labels,
        splits=("train",) * 28 + ("validation",) * 8 + ("test",) * 4,
        pixels=np.zeros((40, 8, 8, 3), np.uint8),
    )
    config = StudyConfig.model_validate(
        {
            "seed": seed,
            "head": {"batch_size": 8, "learning_rate": 0.02},
            "finetuning": {"epochs": 3, "augmentation": where, "batch_norm": norms},
        }
    )
    tail_and_head = _tail()
    last: dict[str, Tensor] = {}

    def on_epoch(epoch: object) -> None:
        last.update({name: tensor.clone() for name, tensor in tail_and_head.state_dict().items()})
        if stop and getattr(epoch, "epoch", 0) == stop:
            raise KeyboardInterrupt

    try:
        finetune(
            tail_and_head, Kept(activations), data, config, CPU, Silent(), "", checkpoint, on_epoch
        )  # type: ignore[arg-type]
    except KeyboardInterrupt:
        assert stop
    return last


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_finetuning_with_each_kind_is_another_and_repeats_itself() -> None:
    found = {where: _finetuned(where) for where in ("none", "erasing", "focus")}
    assert not _equal(found["none"], found["erasing"])
    assert not _equal(found["none"], found["focus"])
    assert not _equal(found["erasing"], found["focus"])
    torch.rand(5)
    for where, weights in found.items():
        assert _equal(_finetuned(where), weights)
    assert not _equal(_finetuned("focus", seed=1), found["focus"])


@pytest.mark.parametrize("norms", ["fixed", "train"])
@pytest.mark.parametrize("where", ["erasing", "focus"])
def test_finetuning_that_was_stopped_goes_on_as_if_it_had_not(
    where: str, norms: str, tmp_path: Path
) -> None:
    whole = _finetuned(where, norms=norms)
    for stop in (1, 2):
        path = tmp_path / f"{stop}.safetensors"
        assert not _equal(_finetuned(where, path, stop, norms), whole)
        assert _equal(_finetuned(where, path, norms=norms), whole)


def test_a_map_of_one_place_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    for where in ("none", "erasing", "focus"):
        check_region(where, (8, 2, 2), "net")
    check_region("none", (8, 1, 1), "net")
    for shape in ((8, 1, 1), (8, 1, 5), (8, 5, 1)):
        with pytest.raises(ConfigError, match=f"that of net has {shape[1]}×{shape[2]};"):
            check_region("erasing", shape, "net")
    config = load_config(
        "demo",
        backbones=["mobilenetv2_035"],
        settings=[
            "input.size=32",
            "finetuning.open=0.1",
            "finetuning.augmentation=focus",
            "backbone.weights=none",
        ],
    )
    with pytest.raises(ConfigError) as caught:
        run_study(config, tmp_path / "out")
    assert str(caught.value) == (
        "finetuning.augmentation: 'focus' replaces a part of the map at the cut, expected at "
        "least 2×2 places, but that of mobilenetv2_035 has 1×1; raise input.size or "
        "finetuning.open, or set it to 'none'"
    )
    assert not list(tmp_path.rglob("*.*"))
