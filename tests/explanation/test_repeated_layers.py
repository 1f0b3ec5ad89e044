"""A layer that runs several times in one forward pass, and gradients that a model switches off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.layer_choice import choose_layer


class Trunk(nn.Module):
    """A convolution with a head; its map of class k is what `maps_of` says."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.conv(images).mean((2, 3)))
        return logits

    def maps_of(self, images: Tensor) -> Tensor:
        """Grad-CAM by hand: the head's weights over the number of places."""
        with torch.no_grad():
            values = self.conv(images)
            weights = self.fc.weight / values[0, 0].numel()
            return torch.einsum("kc,nchw->nkhw", weights, values).relu()


class Wrapped(nn.Module):
    """What `answer` makes of a trunk and the images."""

    def __init__(self, answer: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.answer = Trunk(), answer

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.one, images)


IMAGES = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def _siamese(one: nn.Module, images: Tensor) -> Tensor:
    return one(images) + one(images.flip(3))


def test_of_two_views_through_one_trunk_each_has_its_own_map() -> None:
    model = Wrapped(_siamese).eval()
    first = explain(model, IMAGES, "all", "one.conv@1")
    torch.testing.assert_close(first.maps, model.one.maps_of(IMAGES))
    assert first.layer == "one.conv@1"
    second = explain(model, IMAGES, "all", "one.conv@2")
    torch.testing.assert_close(second.maps, model.one.maps_of(IMAGES.flip(3)))
    # Without channel c of one view, its part of the score is gone: weight times mean.
    with torch.no_grad():
        values, weight = model.one.conv(IMAGES.flip(3)), model.one.fc.weight
        parts = weight * values.mean((2, 3))[:, None] / model(IMAGES).abs()[:, :, None]
    found = explain(model, IMAGES, "all", "one.conv@2", "ablationcam").maps
    torch.testing.assert_close(found, torch.einsum("nkc,nchw->nkhw", parts, values).relu())


@pytest.mark.parametrize("layer", ["auto", "one.conv"])
def test_an_ambiguous_run_is_named_with_what_to_choose(layer: str) -> None:
    sentence = (
        "layer 'one.conv': runs 2 times side by side in one forward pass, and each run has "
        "a map of its own; choose one.conv@1 or one.conv@2"
    )
    with pytest.raises(ConfigError, match=sentence):
        explain(Wrapped(_siamese), IMAGES, layer=layer)


def test_a_run_that_does_not_happen_is_named() -> None:
    with pytest.raises(ConfigError, match=r"layer 'one.conv@3': runs only 2 times"):
        explain(Wrapped(_siamese), IMAGES, layer="one.conv@3")
    with pytest.raises(ConfigError, match=r"layer 'one.cnv@1' is unknown"):
        explain(Wrapped(_siamese), IMAGES, layer="one.cnv@1")


def _aside(one: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = one(images)
    one(images.flip(3))
    return logits


def _teacher(one: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        shift = one(images.flip(3))
    logits: Tensor = one(images)
    return logits + shift.detach()


@pytest.mark.parametrize("answer", [_aside, _teacher])
@pytest.mark.parametrize("layer", ["auto", "one.conv"])
def test_only_runs_that_lead_to_the_scores_count(
    answer: Callable[[nn.Module, Tensor], Tensor], layer: str
) -> None:
    model = Wrapped(answer)
    found = explain(model, IMAGES, "all", layer).maps
    torch.testing.assert_close(found, model.one.maps_of(IMAGES))


@pytest.mark.parametrize("count", [2, 5])
def test_a_layer_in_a_loop_is_explained_by_its_last_run(count: int) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.step, self.fc = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            for _ in range(count):
                images = images + self.step(images).tanh()
            return self.fc(images.mean((2, 3)))

    model = Loop().eval()
    with torch.no_grad():
        state = IMAGES
        for _ in range(count - 1):
            state = state + model.step(state).tanh()
    leaf = model.step(state).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        model.fc((state + leaf.tanh()).mean((2, 3)))[:, 1].sum(), leaf
    )
    expected = (gradient.mean((2, 3), keepdim=True) * leaf.detach()).sum(1).relu()
    for layer in ("auto", "step"):
        found = explain(model, IMAGES, 1, layer)
        assert found.layer == "step"
        torch.testing.assert_close(found.maps[:, 0], expected)
    # An earlier run reaches the scores past the later ones too.
    assert explain(model, IMAGES, 1, "step@1").maps.sum() > 0


def _frozen(one: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        values = one.conv(images)  # type: ignore[operator]
    return one.fc(values.mean((2, 3)))  # type: ignore[operator,no-any-return]


def _inference(one: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        values = one.conv(images)  # type: ignore[operator]
    return one.fc(values.mean((2, 3)))  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("answer", [_frozen, _inference])
@pytest.mark.parametrize("layer", ["auto", "one.conv"])
@pytest.mark.parametrize("method", ["gradcam", "layercam", "ablationcam"])
def test_a_trunk_that_runs_without_gradients_is_explained(
    answer: Callable[[nn.Module, Tensor], Tensor], layer: str, method: str
) -> None:
    model = Wrapped(answer)
    expected = explain(model.one, IMAGES, "all", "conv", method).maps
    found = explain(model, IMAGES, "all", layer, method)
    torch.testing.assert_close(found.maps, expected)
    assert found.layer == "one.conv"
    assert found.maps.sum() > 0
    assert not torch.is_grad_enabled() or not found.maps.requires_grad


def test_what_a_model_cuts_off_behind_the_layer_is_named() -> None:
    model = Wrapped(lambda one, images: one(one.get_submodule("conv")(images)[:, :3].detach()))
    with pytest.raises(ConfigError, match="do not depend on it through anything that has a grad"):
        explain(model, IMAGES, layer="one.conv@1")
    assert choose_layer(model.eval(), IMAGES[:1]) == "one.conv"


def test_what_is_no_tensor_of_floats_is_named() -> None:
    class Pair(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images, images

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.conv, self.fc = Pair(), nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc(self.conv(self.pair(images)[0]).mean((2, 3)))

    with pytest.raises(ConfigError, match="layer 'pair': puts out a tuple, not a tensor of floats"):
        explain(Net(), IMAGES, layer="pair")
