"""Cues against masks that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.discovery.details import Detail
from seewhy.audit.exchange import ColourExchange, DetailExchange, PlaceExchange
from seewhy.audit.findings import _off_the_object
from seewhy.audit.object_evidence import object_evidence
from seewhy.storage.schemas.audit import ObjectEvidence
from seewhy.storage.schemas.dataset import Dataset

DONORS = {"discovery": np.array([0, 1, 3]), "confirmation": np.array([2])}
BOX = (0.0, 0.0, 0.5, 0.5)


def _data(masks: np.ndarray | None) -> Dataset:
    names = tuple("abcd")
    pixels, labels = np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64)
    return Dataset("drawn", ("x",), names, names, labels, ("train",) * 4, pixels, masks)


@pytest.fixture
def masks() -> np.ndarray:
    """Return masks of the left half, of three columns, of everything, and none."""
    found = np.zeros((4, 8, 8), bool)
    found[0, :, :4] = True
    found[1, :, :1] = True
    found[2] = True
    return found


def test_a_place_is_the_same_box_in_all_images(masks: np.ndarray) -> None:
    one = Candidate(0, "place", DONORS, PlaceExchange(BOX), box=BOX)
    found = object_evidence(_data(masks), one, {0: 0.25, 2: 0.75, 7: 0.1})
    # On the object wholly, by a quarter, wholly; the last image has no mask.
    assert found == ObjectEvidence(
        images=3, placed=3, placed_off=1 / 3, covered=2.25 / 3, with_map=2, evidence_off=0.5
    )


def test_a_detail_is_where_it_is_in_each_image(masks: np.ndarray) -> None:
    look, shape = np.zeros((2, 2, 3), np.float32), np.ones((2, 2), bool)
    # At half the size: one pixel of it is two of the picture.
    detail = Detail(look, shape, places={0: (0, 2), 1: (0, 0), 2: (2, 2), 3: (0, 0)})
    one = Candidate(0, "moving detail", DONORS, DetailExchange(detail, (2.0, 2.0)), detail)
    found = object_evidence(_data(masks), one, {})
    assert found == ObjectEvidence(
        images=3, placed=3, placed_off=2 / 3, covered=(0 + 0.25 + 1) / 3, with_map=0
    )


def test_shares_are_of_the_images_in_which_the_cue_has_pixels(masks: np.ndarray) -> None:
    look, shape = np.zeros((2, 2, 3), np.float32), np.ones((2, 2), bool)
    # In the second image it is outside: of the other two it is off the object in one.
    detail = Detail(look, shape, places={0: (0, 4), 1: (9, 9), 2: (2, 2), 3: (0, 0)})
    one = Candidate(0, "moving detail", DONORS, DetailExchange(detail, (1.0, 1.0)), detail)
    found = object_evidence(_data(masks), one, {})
    assert found == ObjectEvidence(images=3, placed=2, placed_off=0.5, covered=0.5, with_map=0)
    said = " ".join(_off_the_object(found))
    assert said == "By the object masks, it lies off the object in 50 % of 2 images."


def test_places_of_images_that_are_not_square() -> None:
    masks = np.zeros((4, 4, 8), bool)
    masks[:, :2, :2] = True  # half of the box's four columns, both of its rows
    names = tuple("abcd")
    pixels, labels = np.zeros((4, 4, 8, 3), np.uint8), np.zeros(4, np.int64)
    data = Dataset("drawn", ("x",), names, names, labels, ("train",) * 4, pixels, masks)
    one = Candidate(0, "place", DONORS, PlaceExchange(BOX), box=BOX)
    found = object_evidence(data, one, {})
    assert found is not None
    assert (found.covered, found.placed_off) == (0.5, 0)


def test_colours_have_no_place(masks: np.ndarray) -> None:
    one = Candidate(0, "colour", DONORS, ColourExchange())
    found = object_evidence(_data(masks), one, {1: 0.4})
    assert found == ObjectEvidence(images=3, with_map=1, evidence_off=0.4)


def test_without_masks_there_is_nothing(masks: np.ndarray) -> None:
    one = Candidate(0, "colour", DONORS, ColourExchange())
    assert object_evidence(_data(None), one, {}) is None
    assert object_evidence(_data(np.zeros_like(masks)), one, {}) is None
