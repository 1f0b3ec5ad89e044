"""Weights shuffled from the output down and put back; unchanged layers answered from memory."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.engine import undisturbed
from seewhy.explanation.measures.randomisation import ModuleOrder, cascade, follow, shuffled
from seewhy.explanation.measures.replay import Replay


class Backwards(nn.Module):
    """Registers its layers in another order than it runs them; one is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.mix = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(self.norm(self.stem(images * self.scale)))
        # Used by its weight, as attention blocks do with their projections.
        pooled = nn.functional.linear(maps.mean((2, 3)), self.mix.weight, self.mix.bias)
        return self.head(pooled)


def _follow(model: nn.Module, images: Tensor) -> ModuleOrder:
    with undisturbed(model, images):
        return follow(model, images)


def test_layers_are_followed_in_the_order_in_which_they_run() -> None:
    course = _follow(Backwards(), torch.zeros(1, 3, 8, 8))
    # What the model itself uses without calling it runs, as far as can be told, from its start.
    assert [layer.name for layer in course.layers] == ["", "mix", "stem", "norm", "body.0", "head"]
    assert [layer.weighted for layer in course.layers] == [False, True, True, False, True, True]
    entered = {layer.name: layer.entered for layer in course.layers}
    assert course.left["stem"] < entered["norm"] < entered["body.0"]
    assert course.left["body.1"] < course.left["body"] < entered["head"] < course.left[""]


def test_a_module_that_runs_twice_was_never_over_for_good() -> None:
    shared = nn.Conv2d(3, 3, 1)
    course = _follow(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(1, 3, 4, 4))
    assert set(course.left) == {"", "1"}
    assert [layer.name for layer in course.layers] == ["0"]
    assert course.layers[0].parameters == ("0.weight", "0.bias")


def test_shared_weights_belong_to_the_layer_that_runs_first() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))
    model[2].weight = model[0].weight
    course = _follow(model, torch.zeros(1, 3, 4, 4))
    owned = {layer.name: layer.parameters for layer in course.layers}
    assert owned == {"0": ("0.weight", "0.bias"), "2": ("2.bias",)}
    # Whoever shuffles the upper layer alone must not change the lower one.
    assert cascade(course, 2)[0].entered == course.layers[0].entered


def test_a_cascade_goes_from_the_output_layer_to_everything() -> None:
    course = _follow(Backwards(), torch.zeros(1, 3, 8, 8))
    levels = cascade(course, 4)
    assert [level.name for level in levels] == ["head", "body.0", "stem", "mix"]
    assert [level.weighted for level in levels] == [1, 2, 3, 4]
    assert levels[0].parameters == ("head.weight", "head.bias")
    assert set(levels[2].parameters) == {
        *("head.weight", "head.bias", "body.0.weight", "body.0.bias"),
        *("norm.weight", "norm.bias", "stem.weight", "stem.bias"),
    }
    assert set(levels[3].parameters) == {name for name, _ in Backwards().named_parameters()}
    # More levels than layers: one a layer.
    assert len(cascade(course, 50)) == 4
    assert [level.weighted for level in cascade(course, 2)] == [1, 4]


def test_a_model_without_weights_cannot_be_randomised() -> None:
    course = _follow(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ConfigError, match="expected a model with weights"):
        cascade(course, 3)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_shuffled_weights_are_the_same_values_in_another_order() -> None:
    model = timm.create_model("resnet18", num_classes=4)
    before = _tensors(model)
    names = ("fc.weight", "layer1.0.conv1.weight")
    state = torch.get_rng_state()
    with shuffled(model, names, seed=0):
        for name, tensor in model.state_dict().items():
            if name in names:
                assert (tensor != before[name]).float().mean() > 0.9
                assert torch.equal(tensor.flatten().sort()[0], before[name].flatten().sort()[0])
            else:
                assert torch.equal(tensor, before[name])
        first = model.fc.weight.clone()
    torch.testing.assert_close(_tensors(model), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    with shuffled(model, ("fc.weight",), seed=0):
        # An order depends on seed and name, not on what else is shuffled.
        assert torch.equal(model.fc.weight, first)
    with shuffled(model, ("fc.weight",), seed=1):
        assert not torch.equal(model.fc.weight, first)


def test_tensors_of_one_shape_are_shuffled_each_in_its_own_way() -> None:
    model = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 30))
    model[1].load_state_dict(model[0].state_dict())
    with shuffled(model, ("0.weight", "1.weight"), seed=0):
        assert (model[0].weight == model[1].weight).float().mean() < 0.1


def test_weights_come_back_when_an_exception_passes() -> None:
    model = Backwards()
    before = _tensors(model)
    with pytest.raises(ArithmeticError), shuffled(model, ("stem.weight", "head.bias"), seed=0):
        assert not torch.equal(model.stem.weight, before["stem.weight"])
        raise ArithmeticError("on purpose")
    torch.testing.assert_close(_tensors(model), before, rtol=0, atol=0)


def test_a_graph_that_the_caller_holds_stays_good() -> None:
    model = Backwards()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model(images).sum().backward()
    expected = model.stem.weight.grad.clone()
    model.zero_grad()
    loss = model(images).sum()
    with shuffled(model, tuple(dict(model.named_parameters())), seed=0):
        pass
    loss.backward()
    torch.testing.assert_close(model.stem.weight.grad, expected, rtol=0, atol=0)


class Counted(nn.Module):
    """Counts the passes through itself where no hook can see it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.passes = 0

    def forward(self, values: Tensor) -> Tensor:
        self.passes += 1
        return self.inner(values)


def _network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            Counted(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())),
            Counted(nn.Conv2d(6, 8, 3)),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            Counted(nn.Linear(8, 4)),
        ).eval()


IMAGES = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def _replaying(model: nn.Module, watched: tuple[str, ...] = ("1",)) -> tuple[Replay, Any]:
    with undisturbed(model, IMAGES):
        course = follow(model, IMAGES[:1])
        levels = cascade(course, 3)
        return Replay(model, IMAGES, course, [level.entered for level in levels], watched), levels


def _passes(model: nn.Module) -> list[int]:
    return [module.passes for module in model if isinstance(module, Counted)]


def test_layers_below_the_changed_ones_are_not_run_again() -> None:
    model = _network()
    replay, levels = _replaying(model)
    start = _passes(model)
    for level, again in zip(levels, [(0, 1, 1), (0, 1, 1), (1, 1, 1)], strict=True):
        with shuffled(model, level.parameters, seed=0), replay.before(level.entered):
            found = explain(model, IMAGES, [0, 1, 2], "1").maps
        assert _passes(model) == [a + b for a, b in zip(start, again, strict=True)]
        with shuffled(model, level.parameters, seed=0):
            expected = explain(model, IMAGES, [0, 1, 2], "1").maps
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        start = _passes(model)


@pytest.mark.parametrize(
    "images",
    [IMAGES * 2, IMAGES[:2], torch.cat([IMAGES, IMAGES]), IMAGES[:, :, :10, :10]],
    ids=["brighter", "fewer", "more", "smaller"],
)
def test_other_images_are_computed(images: Tensor) -> None:
    model = _network()
    replay, levels = _replaying(model)
    with torch.no_grad(), replay.before(levels[0].entered):
        model(IMAGES)
        torch.testing.assert_close(model(images), _network()(images), rtol=0, atol=0)


def test_a_layer_that_works_in_place_does_not_spoil_what_is_kept() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.SiLU(inplace=True), nn.Flatten(), nn.Linear(400, 3)
    ).eval()
    with torch.no_grad():
        expected = model(IMAGES)
        replay, levels = _replaying(model, watched=())
        with replay.before(levels[0].entered):
            for _ in range(2):
                torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=0)


def test_what_somebody_watches_is_run() -> None:
    model = _network()
    replay, levels = _replaying(model)
    seen: list[Tensor] = []
    with torch.no_grad(), replay.before(levels[0].entered):
        model(IMAGES)
        start = _passes(model)[0]
        handle = model[0].inner[0].register_forward_hook(lambda m, given, out: seen.append(out))
        model(IMAGES)
        handle.remove()
        model(IMAGES)
    assert len(seen) == 1
    assert _passes(model)[0] == start + 1


def test_a_gradient_finds_its_way_to_the_images() -> None:
    model = _network()
    replay, levels = _replaying(model)
    images, expected = (IMAGES.clone().requires_grad_() for _ in range(2))
    with replay.before(levels[0].entered):
        model(images).sum().backward()
    _network()(expected).sum().backward()
    torch.testing.assert_close(images.grad, expected.grad)


def test_after_replay_nothing_is_left() -> None:
    model = _network()
    replay, levels = _replaying(model)
    before = [dict(module.__dict__) for module in model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    with pytest.raises(ArithmeticError), replay.before(levels[0].entered):
        assert any("forward" in module.__dict__ for module in model.modules())
        raise ArithmeticError("on purpose")
    assert [module.__dict__.keys() for module in model.modules()] == [d.keys() for d in before]
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


@pytest.mark.parametrize(("watched", "again"), [("0.inner.0", 1), ("0", 1), ("1", 0)])
def test_what_is_watched_is_run_with_all_it_holds_and_is_held_by(watched: str, again: int) -> None:
    # The hook on 0.inner.0 must see its call, so 0 and 0.inner cannot be skipped as a whole.
    model = _network()
    replay, levels = _replaying(model, watched=(watched,))
    start = _passes(model)[0]
    with replay.before(levels[0].entered):
        found = explain(model, IMAGES, [0, 1, 2], watched).maps
        assert _passes(model)[0] == start + again
        # Nor where nobody hangs a hook: who looks inside may do so in other ways.
        with torch.no_grad():
            model(IMAGES)
        assert _passes(model)[0] == start + 2 * again
    expected = explain(_network(), IMAGES, [0, 1, 2], watched).maps
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
