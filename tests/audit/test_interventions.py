"""Who gives, who receives, and what is compared: classifiers that look at one corner alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.discovery.details import Detail
from seewhy.audit.donors import locate
from seewhy.audit.exchange import ColourExchange, DetailExchange, PlaceExchange
from seewhy.audit.image_pools import ImagePools
from seewhy.audit.interventions import ablate, insert, plan

SIZE = 12
WHITE, GREY = 255, 100
# Sixty images of class 0, sixty of class 1; of each the second half confirms, and none gives but
# those that confirm.
LABELS = np.repeat([0, 1], 60)
NUMBERS = np.arange(120)
CONFIRMING = NUMBERS[(NUMBERS % 60) >= 30]


@dataclass(frozen=True)
class ByCorner:
    """Says class 0 as surely as its top left corner, 2 × 2 pixels, is at least this bright."""

    bright: int

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sure = (pixels[:, :2, :2].min(axis=(1, 2, 3)) >= self.bright).astype(np.float32)
        return np.stack([sure, 1 - sure], axis=1)

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Say that everything counts, and the middle most."""
        maps = np.ones((len(pixels), SIZE, SIZE), np.float32)
        maps[:, 5:7, 5:7] = 2
        return maps

    def gathered(self, pixels: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(pixels), 1), np.float32)


@dataclass(frozen=True)
class ByPaste(ByCorner):
    """Says class 0 where the corner differs from the last pixel: where anything was pasted."""

    bright: int = 0

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sure = (pixels[:, 0, 0, 0] != pixels[:, -1, -1, 0]).astype(np.float32)
        return np.stack([sure, 1 - sure], axis=1)


def pools(
    white: NDArray[np.int64],
    pixels: NDArray[np.uint8] | None = None,
    extra_donors: NDArray[np.int64] | None = None,
) -> ImagePools:
    """Make black images, some with a white corner."""
    pixels = np.zeros((120, SIZE, SIZE, 3), np.uint8) if pixels is None else pixels
    pixels[white, :2, :2] = WHITE
    discovery, screening = NUMBERS[(NUMBERS % 60) < 15], NUMBERS[((NUMBERS % 60) // 15) == 1]
    roles = {
        "discovery": discovery,
        "screening": screening,
        "extra_donors": np.array([], np.int64) if extra_donors is None else extra_donors,
        "confirmation": CONFIRMING,
    }
    return ImagePools(pixels, LABELS, roles)


def place() -> Candidate:
    box = (0.0, 0.0, 2 / SIZE, 2 / SIZE)
    return Candidate(0, "place", {"discovery": NUMBERS[:15]}, PlaceExchange(box), box=box)


def detail() -> Candidate:
    """A white corner that all images of discovery carry."""
    found = Detail(
        np.full((2, 2, 3), WHITE, np.float32),
        np.ones((2, 2), bool),
        (0, 0),
        dict.fromkeys(range(15), (0, 0)),
        1.0,
        0.0,
    )
    return Candidate(
        0, "detail", {"discovery": NUMBERS[:15]}, DetailExchange(found, (1.0, 1.0)), found
    )


def test_no_image_is_in_two_places_of_a_design() -> None:
    made = pools(NUMBERS[:60:2])
    candidate = locate(made, detail())
    design = plan(made, candidate, "confirmation", 0)
    assert design is not None
    assert set(design.donors) == set(range(30, 60, 2))
    others = np.concatenate([design.controls, design.recipients.ravel()])
    assert len(np.unique(others)) == len(others)
    assert set(others) <= set(range(90, 120))
    # Fifteen donors, fifteen controls, and of thirty images one for each donor remains.
    assert design.recipients.shape == (15, 1)


def test_few_donors_have_several_recipients_each() -> None:
    made = pools(np.array([30, 31, 32, 33, 34]))
    design = plan(made, locate(made, detail()), "confirmation", 0)
    assert design is not None
    assert design.recipients.shape == (5, 5)


def test_too_few_donors_are_no_design() -> None:
    made = pools(np.array([30, 31, 32]))
    candidate = locate(made, detail())
    assert plan(made, candidate, "confirmation", 0) is None
    assert ablate(ByCorner(WHITE), made, candidate, "confirmation", 0) is None


def test_images_that_carry_the_detail_receive_nothing() -> None:
    made = pools(np.concatenate([NUMBERS[:60], np.arange(90, 105)]))
    design = plan(made, locate(made, detail()), "confirmation", 0)
    assert design is not None
    others = np.concatenate([design.controls, design.recipients.ravel()])
    assert set(others) <= set(range(105, 120))


def test_a_detail_counts_by_what_it_does_beyond_other_patches() -> None:
    made = pools(NUMBERS[:60])
    candidate = locate(made, detail())
    design = plan(made, candidate, "confirmation", 0)
    assert design is not None
    found = insert(ByCorner(WHITE), made, candidate, design)
    assert found.effect.change == 1
    assert (found.other_patches, found.own_patches) == (0, 0)
    assert (found.effect.turned, found.effect.turned_control) == (1, 0)


def test_a_classifier_moved_by_any_patch_is_not_moved_by_this_one() -> None:
    each = np.arange(120, dtype=np.uint8)[:, None, None, None]
    made = pools(NUMBERS[:60], np.tile(each, (1, SIZE, SIZE, 3)))
    candidate = locate(made, detail())
    design = plan(made, candidate, "confirmation", 0)
    assert design is not None
    found = insert(ByPaste(), made, candidate, design)
    # Pasted into an untouched image the detail turns all of them; so does anything else.
    assert (found.effect.turned, found.other_patches) == (1, 1)
    assert found.effect.change == 0
    assert found.effect.p == pytest.approx(0.5)


def test_an_ordinary_part_of_the_donor_is_a_control_too() -> None:
    pixels = np.zeros((120, SIZE, SIZE, 3), np.uint8)
    pixels[:60, 5:7, 5:7] = WHITE  # the object
    made = pools(NUMBERS[:60], pixels)
    candidate = locate(made, detail())
    design = plan(made, candidate, "confirmation", 0)
    assert design is not None
    found = insert(ByCorner(WHITE), made, candidate, design)
    # The middle of the class's images is white as well: the corner says no more than the object.
    assert found.own_patches == 1
    assert found.effect.change == 0


def test_a_place_is_compared_with_the_same_place_of_other_images() -> None:
    made = pools(NUMBERS[:60])
    candidate = locate(made, place())
    design = plan(made, candidate, "confirmation", 0)
    assert design is not None
    assert insert(ByCorner(WHITE), made, candidate, design).effect.change == 1
    everywhere = pools(NUMBERS)
    design = plan(everywhere, candidate, "confirmation", 0)
    assert design is not None
    found = insert(ByCorner(WHITE), everywhere, candidate, design)
    assert found.effect.change == 0
    assert found.other_patches is None


def test_what_is_ablated_from_its_own_images_is_lost() -> None:
    made = pools(NUMBERS[:60])
    for candidate in (detail(), place()):
        found = ablate(ByCorner(WHITE), made, locate(made, candidate), "confirmation", 0)
        assert found is not None
        assert found.change == 1


@dataclass(frozen=True)
class ByHole(ByCorner):
    """Says class 0 where no pixel of the image has another value than the first one's."""

    bright: int = 0

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        changed = (pixels[:, ::3, ::3, 0] % 50 != 0).any(axis=(1, 2))
        return np.stack([~changed, changed], axis=1).astype(np.float32)


def test_a_hole_anywhere_is_the_control_of_a_filled_detail() -> None:
    rng = np.random.default_rng(0)
    # Values of 0, 50, … 200: what is filled in from around is hardly ever one of these.
    pixels = (rng.integers(0, 5, (120, SIZE, SIZE, 3)) * 50).astype(np.uint8)
    made = pools(np.array([], np.int64), pixels)
    look, shape = np.zeros((6, 6, 3), np.float32), np.ones((6, 6), bool)
    found = Detail(look, shape, (0, 0), dict.fromkeys(range(60), (0, 0)))
    donors = {"discovery": NUMBERS[:15], "confirmation": NUMBERS[30:60]}
    candidate = Candidate(0, "detail", donors, DetailExchange(found, (1.0, 1.0)), found)
    effect = ablate(ByHole(), made, candidate, "confirmation", 0)
    assert effect is not None
    assert effect.change == pytest.approx(0, abs=0.02)


def test_training_images_give_where_validation_images_are_few() -> None:
    given = NUMBERS[15:30]
    made = pools(np.concatenate([given, [30, 31]]), extra_donors=given)
    design = plan(made, locate(made, detail()), "confirmation", 0)
    assert design is not None
    assert set(design.donors[:2]) == {30, 31}
    assert set(design.donors[2:]) <= set(given)
    assert set(design.recipients.ravel()) <= set(CONFIRMING)


def test_colours_are_given_by_the_half_that_stands_out() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (120, SIZE, SIZE, 3), dtype=np.uint8)
    red = NUMBERS[(LABELS == 0) & (NUMBERS % 2 == 0)]
    pixels[red, ..., 0] += 150
    made = pools(np.array([], np.int64), pixels)
    own = {"discovery": NUMBERS[:15]}
    candidate = locate(made, Candidate(0, "colour", own, ColourExchange()))
    assert set(candidate.donors["confirmation"]) == set(red[red >= 30])
    assert len(candidate.donors["screening"]) == 8
