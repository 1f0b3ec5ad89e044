"""A data set streamed equals the same images at once, and tiny maps survive float16."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.streaming import (
    ExplainedSet,
    explain_batches,
    explain_parts,
    write_explained,
)


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
    np.testing.assert_allclose(streamed.restored(), at_once.maps.numpy(), rtol=2e-3, atol=1e-6)
    assert streamed.explained.tolist() == at_once.classes.tolist()
    assert streamed.empty.tolist() == at_once.empty.tolist()
    np.testing.assert_allclose(streamed.probabilities, at_once.probabilities.numpy(), rtol=1e-4)


def test_predicted_and_labelled_class_come_from_one_pass() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    images, labels = torch.randn(5, 3, 64, 64), np.array([0, 1, 2, 3, 0])
    passes = []
    model.conv1.register_forward_hook(lambda *_: passes.append(1))
    streamed = explain_batches(model, images.split(2), "layer4", labels=labels)
    assert len(passes) == 3
    at_once = explain(model, images, "all", layer="layer4")
    rows = np.arange(5)
    predicted = at_once.predicted.numpy()
    assert (predicted != labels).any()
    for column, classes in enumerate((predicted, labels)):
        np.testing.assert_array_equal(streamed.explained[:, column], classes)
        np.testing.assert_allclose(
            streamed.restored()[:, column],
            at_once.maps.numpy()[rows, classes],
            rtol=2e-3,
            atol=1e-6,
        )
    known = 3 - predicted
    told = list(explain_parts(model, images.split(2), "layer4", labels=labels, predicted=known))
    assert [len(part.maps) for part in told] == [2, 2, 1]
    assert np.concatenate([part.explained for part in told]).T.tolist() == [
        known.tolist(),
        labels.tolist(),
    ]


def test_of_equally_likely_classes_the_first_is_explained_as_it_is_predicted() -> None:
    class Tied(Scaled):
        def forward(self, images: Tensor) -> Tensor:
            score = self.act(images).mean((1, 2, 3))
            # A difference that the second logit has and its probability has not.
            return torch.stack([0 * score, 1e-9 * score], dim=1)

    found = explain_batches(Tied(1.0), [IMAGES], "act")
    assert found.probabilities.tolist() == [[0.5, 0.5]]
    assert found.explained.tolist() == [[0]]


def test_a_file_holds_what_the_memory_would(tmp_path: Path) -> None:
    model, images = Scaled(4e-9), [IMAGES, 2 * IMAGES.expand(3, -1, -1, -1), -IMAGES]
    labels = np.array([0, 1, 0, 1, 0])
    path = tmp_path / "maps.npz"
    assert write_explained(path, explain_parts(model, images, "act", labels=labels)) == 5
    with np.load(path, allow_pickle=False) as stored:
        back = ExplainedSet(**stored)
    held = explain_batches(model, images, "act", labels=labels)
    for field in fields(ExplainedSet):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(held, field.name))
        assert getattr(back, field.name).dtype == getattr(held, field.name).dtype
    # What breaks off half-way leaves no file.
    broken = tmp_path / "broken.npz"
    with pytest.raises(ConfigError, match="labels: expected one class an image, but got"):
        write_explained(broken, explain_parts(model, images, "act", labels=labels[:3]))
    assert [one.name for one in tmp_path.iterdir()] == ["maps.npz"]


def test_memory_holds_one_batch_of_maps(tmp_path: Path) -> None:
    batch = torch.rand(8, 1, 64, 64)

    def peak(batches: int) -> int:
        tracemalloc.start()
        path = tmp_path / f"{batches}.npz"
        assert write_explained(path, explain_parts(Scaled(1.0), [batch] * batches, "act"))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    # 62 more batches of 64 KiB each: 4 MiB of maps, of which NumPy would hold every byte.
    assert peak(64) - peak(2) < 2**18


@pytest.mark.parametrize("count", [3, 5])
def test_as_many_labels_as_images_are_wanted(count: int) -> None:
    labels = np.zeros(count, dtype=np.int64)
    with pytest.raises(ConfigError, match="labels: expected one class an image, but got"):
        explain_batches(Scaled(1.0), [IMAGES] * 4, "act", labels=labels)


@pytest.mark.parametrize("factor", [4e-9, 4e-30, 4e9])
def test_maps_beyond_float16_keep_their_shape_and_their_size(factor: float) -> None:
    model = Scaled(factor)
    found = explain_batches(model, [IMAGES, IMAGES * 2], "act")
    assert not found.empty.any()
    assert np.isfinite(found.maps).all()
    # Powers of two change no digit.
    expected = (factor / 4) * np.array([[[[1, 0.5], [0.25, 0]]], [[[2, 1], [0.5, 0]]]])
    np.testing.assert_allclose(found.restored(), expected, rtol=1e-3)
    assert 1 <= found.maps.max() <= 2


def test_ordinary_maps_are_stored_as_they_are() -> None:
    found = explain_batches(Scaled(4.0), [IMAGES, IMAGES / 512, IMAGES * 4096], "act")
    assert found.scales.tolist() == [[1], [1], [1]]
    assert found.maps[0, 0].tolist() == [[1, 0.5], [0.25, 0]]


def test_empty_maps_are_told_from_tiny_ones() -> None:
    class Against(Scaled):
        def forward(self, images: Tensor) -> Tensor:
            return 5 + super().forward(images)[:, 1:].expand(-1, 2)

    found = explain_batches(Against(1.0), [IMAGES, -1e-12 * IMAGES], "act")
    assert found.empty.tolist() == [[True], [False]]
    assert found.scales[0] == 1
    assert found.maps[0].max() == 0
    assert found.maps[1].max() > 0


def test_no_batch_is_named() -> None:
    with pytest.raises(ConfigError, match="expected at least one batch"):
        explain_batches(Scaled(1.0), [], "act")
