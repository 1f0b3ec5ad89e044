"""Guided Grad-CAM by hand, against pytorch-grad-cam, and with ReLUs called in every way."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.methods.guided import guided_gradcam


def test_guided_gradcam_formula() -> None:
    # Two colours at 1×2 pixels under the map (2, 1): relu(1·2) + relu(-1·2), relu(3) + relu(4).
    guided = torch.tensor([[[[1.0, 3.0]], [[-1.0, 4.0]]]])
    found = guided_gradcam(torch.tensor([[[2.0, 1.0]]]), guided)
    torch.testing.assert_close(found, torch.tensor([[[2.0, 7.0]]]))


class Network(nn.Module):
    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.target, self.relu = nn.Identity(), relu

    def forward(self, images: Tensor) -> Tensor:
        """Score 2·relu(x) of the first pixel less relu(x) of the second, and the other way."""
        first, second = self.relu(self.target(images) * 1).mean(1).flatten(1)[:, :2].unbind(1)
        return torch.stack([2 * first - second, second - 2 * first], dim=1)


def _overwriting(values: Tensor) -> Tensor:
    F.relu_(values)
    return values


@pytest.mark.parametrize(
    "relu",
    [nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, Tensor.relu, F.relu_, _overwriting],
)
def test_what_came_from_negative_or_goes_back_negative_is_cut_off(
    relu: Callable[[Tensor], Tensor],
) -> None:
    # One colour. Class 0: guided gradient 2 at the first pixel; -1 at the second is cut off.
    # Grad-CAM of `target`: weight (2 - 1) / 2, map (0.5·3, 0.5·5): product 2 · 1.5.
    images = torch.tensor([3.0, 5.0]).view(1, 1, 1, 2)
    found = explain(Network(relu), images, [0], "target", "guidedgradcam")
    torch.testing.assert_close(found.maps[0, 0], torch.tensor([[3.0, 0.0]]))
    # The second pixel negative: class 1's positive gradient does not pass it.
    images = torch.tensor([3.0, -5.0]).view(1, 1, 1, 2)
    found = explain(Network(relu), images, [1], "target", "guidedgradcam")
    torch.testing.assert_close(found.maps[0, 0], torch.zeros(1, 2))


class Called(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values * 1)


class Summed(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        score = values.flatten(1).sum(1)
        return torch.stack([score, torch.zeros_like(score)], dim=1)


@pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU6(),
        nn.ReLU6(inplace=True),
        F.relu6,
        lambda values: F.relu6(values, True),
        lambda values: F.hardtanh(values, 0.0, 6.0, True),
        lambda values: F.hardtanh_(values, min_val=0.0, max_val=6.0),
    ],
)
def test_a_relu_with_a_ceiling_lets_nothing_pass_beyond_it(
    relu: Callable[[Tensor], Tensor],
) -> None:
    # Scores: the sum of both pixels, and 0. Beyond 6 the first no longer changes its score:
    # Grad-CAM's weight is (0 + 1) / 2, its map (0.5·7, 0.5·5), the guided gradient (0, 1).
    model = nn.Sequential(OrderedDict(target=nn.Identity(), relu=Called(relu), sum=Summed()))
    images = torch.tensor([7.0, 5.0]).view(1, 1, 1, 2)
    found = explain(model, images, [0], "target", "guidedgradcam")
    torch.testing.assert_close(found.maps[0, 0], torch.tensor([[0.0, 2.5]]))
    images = torch.tensor([4.0, 5.0]).view(1, 1, 1, 2)
    found = explain(model, images, [0], "target", "guidedgradcam")
    torch.testing.assert_close(found.maps[0, 0], torch.tensor([[4.0, 5.0]]))


def test_a_hardtanh_below_zero_is_no_relu() -> None:
    with pytest.raises(ConfigError, match="the network runs no ReLU"):
        explain(Network(nn.Hardtanh()), torch.ones(1, 1, 1, 2), [0], "target", "guidedgradcam")


def test_guided_gradcam_equals_pytorch_grad_cams_product() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam import GuidedBackpropReLUModel
    torch.manual_seed(1)
    model = timm.create_model("resnet18", num_classes=4).eval()
    nn.init.normal_(model.fc.weight)
    images = torch.randn(1, 3, 64, 64)
    plain = explain(model, images, [2])
    theirs = GuidedBackpropReLUModel(copy.deepcopy(model), "cpu")(images.clone(), 2)
    expected = np.maximum(theirs.transpose(2, 0, 1) * plain.resized()[0].numpy(), 0).sum(0)
    found = explain(model, images, [2], method="guidedgradcam")
    assert found.maps.shape == (1, 1, 64, 64)
    assert expected.max() > 0
    # The largest difference is below a millionth of the largest value.
    np.testing.assert_allclose(
        found.maps[0, 0].numpy(), expected, rtol=1e-4, atol=1e-6 * expected.max()
    )


def test_a_network_without_relus_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ConfigError, match="the network runs no ReLU"):
        explain(model, torch.zeros(1, 3, 8, 8), method="guidedgradcam")
