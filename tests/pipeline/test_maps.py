"""Every method a study may name makes maps of the part after the cut."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from seewhy.config import CAM_METHODS
from seewhy.explanation.streaming import explain_batches
from seewhy.models.classifier import Head, TailAndHead, map_layer
from seewhy.models.cut import cut_trunk
from seewhy.pipeline.backbone import warn_of_one_place
from seewhy.pipeline.maps import shown_layers
from seewhy.runtime.progress import Silent


@pytest.fixture(scope="module")
def cut():
    """A small network, cut, its weights drawn with a seed, and activations of two images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("resnet10t", num_classes=0).eval().requires_grad_(False)
        images = torch.randn(2, 3, 64, 64)
    found = cut_trunk(model, 0.3, 64)
    with torch.no_grad():
        return found, found.prefix(images)


@pytest.mark.parametrize("method", CAM_METHODS)
def test_every_method_explains_what_lies_behind_the_cut(cut, method: str) -> None:
    found, activations = cut
    units = () if method == "cam" else (6,)
    tail_and_head = TailAndHead(found.tail, Head(512, units, 0.3, 3, seed=0)).eval()
    labels = np.array([2, 0])
    maps = explain_batches(
        tail_and_head, [activations.clone()], (map_layer(found),), method, labels=labels
    )
    assert maps.maps.shape == (2, 2, 2, 2)
    assert np.isfinite(maps.maps).all()
    assert not maps.empty.all()
    assert maps.explained[:, 1].tolist() == labels.tolist()


def test_layers_are_called_by_their_names_in_the_trunk() -> None:
    assert shown_layers(("tail.layer4.1.act2",)) == "layer4.1.act2"
    assert shown_layers(("tail", "tail.blocks.6")) == "trunk output, blocks.6"


class _Told(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(
    ("size", "layers", "warns"),
    [
        (32, ("tail",), True),
        (32, ("tail.layer4.0.act2", "tail"), True),
        # One of several layers is fine enough.
        (32, ("tail.layer3.0.act3", "tail"), False),
        (33, ("tail",), False),
        (64, ("tail",), False),
    ],
)
def test_maps_of_one_place_are_told_before_training(
    size: int, layers: tuple[str, ...], warns: bool
) -> None:
    model = timm.create_model("test_resnet", num_classes=0).eval()
    told = _Told()
    cut = cut_trunk(model, 0.9, size)
    warn_of_one_place("test", cut, layers, told)
    sentence = "test: its maps will have a single place at this size; choose a larger input.size"
    assert told.said == [sentence] * warns
