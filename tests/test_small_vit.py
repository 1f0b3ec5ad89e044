"""The transformer of docs/explaining.md: what is held out, that it learns, what its maps show."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import DataError


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
        return importlib.import_module("small_vit")


def test_every_photograph_is_held_out_once_and_those_asked_for_first(tool: ModuleType) -> None:
    labels = np.repeat([0, 1], 12)
    folds = tool.divide(labels, [3, 20, 5])
    assert folds[[3, 20, 5]].tolist() == [0, 0, 0]
    for label in (0, 1):
        assert np.bincount(folds[labels == label], minlength=6).tolist() == [2] * 6
    with pytest.raises(DataError, match="at most one in 6 photographs of a class"):
        tool.divide(labels, [0, 1, 2])


def spots(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw noise with a red or a blue spot anywhere: (N, 3, 16, 16), and which (N,)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 16, 16, generator=generator)
    labels = torch.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        top, left = (4 * torch.randint(4, (2,), generator=generator)).tolist()
        image[2 * label, top : top + 4, left : left + 4] = 3
    return images, labels


def test_it_learns_from_kept_features_what_it_answers_for_images(tool: ModuleType) -> None:
    stem = nn.AvgPool2d(4)
    images, labels = spots(100, seed=0)
    features, networks = stem(images)[:, None].half(), []
    for before in range(2):
        torch.manual_seed(before)
        networks.append(tool.build(stem, 16, 2, "token", seed=1))
        tool.fit(networks[-1], features, labels, seed=1)
    assert all(map(torch.equal, *(one.state_dict().values() for one in networks)))
    unseen, right = spots(40, seed=1)
    answers = tool.answer(networks[0], stem(unseen))
    assert (answers == right).float().mean() >= 0.95
    assert torch.equal(networks[0](unseen).argmax(dim=1), answers)
    # Where the map is largest is the spot, which is the largest place of its colour.
    found = explain(networks[0], unseen, method="legrad")
    assert found.layer == "blocks.0 … blocks.2"
    spot = stem(unseen).amax(dim=1).flatten(1).argmax(dim=1)
    assert (found.maps[:, 0].flatten(1).argmax(dim=1) == spot).float().mean() >= 0.9


def test_the_mean_token_answers_in_place_of_the_class_token(tool: ModuleType) -> None:
    stem, (images, _) = nn.AvgPool2d(4), spots(40, seed=0)
    network = tool.build(stem, 16, 50, "token", seed=0)
    tokens: list[Tensor] = []
    handle = network.blocks[-1].register_forward_hook(lambda m, i, out: tokens.append(out))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for weight in (network.head.weight, network.cls_token, network.patch_embed.proj.weight):
            nn.init.normal_(weight, generator=generator)
        own = network(images).argmax(dim=1)
        by_mean = network.head(network.norm(tokens[-1].mean(dim=1))).argmax(dim=1)
    handle.remove()
    assert not torch.equal(by_mean, own)
    assert torch.equal(tool.answer_by_mean(network, stem(images)), by_mean)
    assert torch.equal(tool.answer(network, stem(images)), own)
    pooled = tool.build(stem, 16, 50, "avg", seed=0)
    assert torch.equal(tool.answer_by_mean(pooled, stem(images)), tool.answer(pooled, stem(images)))
