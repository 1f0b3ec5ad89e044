"""Insertion minus deletion of candidates, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.measures.map_candidates import (
    RANDOM_MAPS,
    beside_random,
    forward_passes,
    score_candidates,
)

SIDE = 16
QUADRANT = torch.zeros(1, SIDE, SIDE)
QUADRANT[:, : SIDE // 2, : SIDE // 2] = 1
# Blurred, it is grey.
CHECKS = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2 * 2.0 - 1


class Checked(nn.Module):
    """Sure of class 1 where more than half of the upper left quadrant shows the checks."""

    def __init__(self, scale: float = 1e4) -> None:
        super().__init__()
        self.scale = scale
        self.passed = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passed += len(images)
        shown = (images[:, 0] * CHECKS * QUADRANT).sum(dim=(1, 2)) / QUADRANT.sum()
        score = (shown - 0.5) * self.scale
        return torch.stack([-score, score], dim=1)


def scores(*maps: Tensor, model: nn.Module | None = None, filled: np.ndarray | None = None):
    images = CHECKS.expand(1, 1, SIDE, SIDE)
    return score_candidates(
        model or Checked(), images, maps, torch.tensor([1]), torch.tensor([0]), filled=filled
    )


def test_the_right_map_the_wrong_map_and_their_areas() -> None:
    """A quarter of the pixels decides: the curves are 0, 1, 1, 1, 1 and 1, 0, 0, 0, 0.

    So the areas are 0.875 and 0.125; for the opposite map they change places.
    """
    maps, _ = scores(QUADRANT, 1 - QUADRANT)
    assert maps[:, 0].tolist() == [0.75, -0.75]


def test_random_maps_have_the_resolution_of_the_candidate_and_stay_in_the_picture() -> None:
    coarse = QUADRANT[:, ::8, ::8]
    _, random = scores(QUADRANT, 1 - QUADRANT, coarse)
    assert random[0] == random[1] != random[2]
    # Where the picture is the quadrant, a random map knows as much as the right one.
    maps, random = scores(QUADRANT, filled=np.array([[0, 0, 0.5, 0.5]]))
    assert maps[0, 0] == random[0, 0] == 0.75


def test_an_empty_map_has_the_order_of_a_random_map() -> None:
    maps, _ = scores(torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE))
    assert maps[0, 0] == maps[1, 0]
    assert abs(maps[0, 0]) < 0.75


def test_every_pass_is_counted() -> None:
    model = Checked()
    scores(QUADRANT, 1 - QUADRANT, QUADRANT[:, ::8, ::8], model=model)
    assert model.passed == forward_passes([(SIDE, SIDE), (SIDE, SIDE), (2, 2)])
    assert model.passed == 2 + 6 * (3 + 2 * RANDOM_MAPS)


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="not finite"):
        scores(QUADRANT, model=Checked(float("nan")))


def test_better_is_an_interval_wholly_above_zero() -> None:
    random = np.zeros(20)
    sure = beside_random(np.full(20, 0.25), random)
    assert (sure.difference.value, sure.difference.low, sure.better) == (0.25, 0.25, True)
    # Half of the images gain as much as the other half loses.
    assert not beside_random(np.tile([0.5, -0.5], 10), random).better
    # Of fewer than ten images the interval says nothing.
    assert not beside_random(np.full(9, 0.25), random[:9]).better
