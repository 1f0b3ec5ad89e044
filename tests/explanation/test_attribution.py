"""Captum's attributions behind `explain`: the same values as Captum's own, and by hand."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError


class Squares(nn.Module):
    """Class 0 is the sum of squares of all pixels, class 1 its double, class 2 the first pixel."""

    def forward(self, images: Tensor) -> Tensor:
        squares = images.square().sum((1, 2, 3))
        return torch.stack([squares, 2 * squares, images[:, 0, 0, 0]], dim=1)


IMAGES = torch.stack([torch.arange(1.0, 9.0).view(2, 2, 2), -torch.ones(2, 2, 2)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Gradient 2x, gradient times input 2x², and the integral from zero, x²: per class 0.
        ("saliency", 2 * IMAGES),
        ("input_x_gradient", 2 * IMAGES**2),
        ("integrated_gradients", IMAGES**2),
        # Windows of one pixel over all colours: each pixel gets what all its colours lose.
        ("occlusion", (IMAGES**2).sum(1, keepdim=True).expand(-1, 2, -1, -1)),
    ],
)
def test_attributions_by_hand(name: str, expected: Tensor) -> None:
    pytest.importorskip("captum")
    found = explain(Squares(), IMAGES, [[0, 1], [1, 0]], method=f"captum:{name}", batch_size=3)
    one = expected.relu().sum(1)
    torch.testing.assert_close(found.maps[0], torch.stack([one[0], 2 * one[0]]))
    torch.testing.assert_close(found.maps[1], torch.stack([2 * one[1], one[1]]))
    assert found.layer == "input"
    assert found.method == f"captum:{name}"


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "occlusion"])
def test_captum_does_not_warn_and_the_filters_of_warnings_stay(name: str) -> None:
    pytest.importorskip("captum")
    with pytest.MonkeyPatch.context() as patch:
        # They belong to the process: threads that set them aside and back mix them up.
        patch.delattr(warnings, "catch_warnings")
        patch.setattr(warnings, "filters", [("error", None, Warning, None, 0)])
        explain(Squares(), IMAGES, [0, 0], method=f"captum:{name}")


def test_contrast_reaches_captum() -> None:
    pytest.importorskip("captum")
    # Class 1 less class 0 is class 0.
    found = explain(Squares(), IMAGES, [1, 1], method="captum:saliency", against=[0, 0])
    plain = explain(Squares(), IMAGES, [0, 0], method="captum:saliency")
    torch.testing.assert_close(found.maps, plain.maps)


def test_without_captum_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match="install it with: pip install captum"):
        explain(Squares(), IMAGES, method="captum:saliency")


def test_a_layer_is_refused_where_the_input_is_explained() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ConfigError, match="captum:saliency explains the input and takes no layer"):
        explain(model, IMAGES, layer="0", method="captum:saliency")
