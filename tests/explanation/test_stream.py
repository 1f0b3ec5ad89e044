"""A data set streamed equals the same images at once, and tiny maps survive float16."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.stream import explain_batches


class Scaled(nn.Module):
    """The image is the map times four; class 1 speaks against it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.act, self.factor = nn.Identity(), factor

    def forward(self, images: Tensor) -> Tensor:
        score = self.factor * self.act(images).mean((1, 2, 3))
        return torch.stack([score, -score], dim=1)


IMAGES = torch.tensor([[[[1.0, 0.5], [0.25, 0.0]]]])


def test_a_data_set_streamed_equals_the_same_images_at_once() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    images = torch.randn(5, 3, 64, 64)
    streamed = explain_batches(model, images.split(2), layer="layer4")
    at_once = explain(model, images, layer="layer4")
    assert streamed.maps.dtype == np.float16
    np.testing.assert_allclose(
        streamed.restored(), at_once.maps[:, 0].numpy(), rtol=2e-3, atol=1e-6
    )
    assert streamed.explained.tolist() == at_once.predicted.tolist()
    assert streamed.empty.tolist() == at_once.empty[:, 0].tolist()
    np.testing.assert_allclose(streamed.probabilities, at_once.probabilities.numpy(), rtol=1e-4)


@pytest.mark.parametrize("factor", [4e-9, 4e-30, 4e9])
def test_maps_beyond_float16_keep_their_shape_and_their_size(factor: float) -> None:
    model = Scaled(factor)
    found = explain_batches(model, [IMAGES, IMAGES * 2], "act")
    assert not found.empty.any()
    assert np.isfinite(found.maps).all()
    # Powers of two change no digit.
    expected = (factor / 4) * np.array([[[1, 0.5], [0.25, 0]], [[2, 1], [0.5, 0]]])
    np.testing.assert_allclose(found.restored(), expected, rtol=1e-3)
    assert 1 <= found.maps.max() <= 2


def test_ordinary_maps_are_stored_as_they_are() -> None:
    found = explain_batches(Scaled(4.0), [IMAGES, IMAGES / 512, IMAGES * 4096], "act")
    assert found.scales.tolist() == [1, 1, 1]
    assert found.maps[0].tolist() == [[1, 0.5], [0.25, 0]]


def test_empty_maps_are_told_from_tiny_ones() -> None:
    class Against(Scaled):
        def forward(self, images: Tensor) -> Tensor:
            return 5 + super().forward(images)[:, 1:].expand(-1, 2)

    found = explain_batches(Against(1.0), [IMAGES, -1e-12 * IMAGES], "act")
    assert found.empty.tolist() == [True, False]
    assert found.scales[0] == 1
    assert found.maps[0].max() == 0
    assert found.maps[1].max() > 0


def test_no_batch_is_named() -> None:
    with pytest.raises(ConfigError, match="expected at least one batch"):
        explain_batches(Scaled(1.0), [], "act")
