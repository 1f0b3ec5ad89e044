"""Which images give, take and compare, against classifiers that look at one corner alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.candidates import Candidate
from seewhy.audit.details import Detail
from seewhy.audit.exchange import DetailExchange, PlaceExchange
from seewhy.audit.prove import Pool, pairs, prove, remove

SIZE = 8
WHITE, GREY = 255, 100
# Twelve images of class 0, twelve of class 1; every second one proves.
LABELS = np.repeat([0, 1], 12)
PROVING = np.arange(0, 24, 2)


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
        return np.ones((len(pixels), SIZE, SIZE), np.float32)


def pool(white: list[int], grey: list[int], proving: NDArray[np.int64] = PROVING) -> Pool:
    """Make black images, some with a white or a grey corner."""
    pixels = np.zeros((24, SIZE, SIZE, 3), np.uint8)
    pixels[white, :2, :2] = WHITE
    pixels[grey, :2, :2] = GREY
    return Pool(pixels, LABELS, proving)


def place(carriers: list[int]) -> Candidate:
    box = (0.0, 0.0, 0.25, 0.25)
    return Candidate(0, "place", np.array(carriers), PlaceExchange(box), box=box)


def detail(carriers: list[int], also: tuple[int, ...] = ()) -> Candidate:
    """A white corner that `carriers` of class 0 have, and images of class 1 besides."""
    places = dict.fromkeys((*carriers, *also), (0, 0))
    found = Detail(
        np.full((2, 2, 3), WHITE, np.float32), np.ones((2, 2), bool), (0, 0), places, 1.0, 0.0
    )
    return Candidate(0, "detail", np.array(carriers), DetailExchange(found, 1.0), found)


def test_carriers_that_prove_give_and_the_others_only_where_these_are_too_few() -> None:
    white = list(range(12))
    many = prove(ByCorner(WHITE), pool(white, []), place([0, 1, 2, 3, 4, 6, 7]), 0)
    assert set(many.givers) == {0, 2, 4, 6}
    few = prove(ByCorner(WHITE), pool(white, []), place([0, 1, 2, 3]), 0)
    assert set(few.givers) == {0, 1, 2, 3}
    assert set(many.takers) == set(PROVING[PROVING >= 12])


def test_each_image_of_another_class_takes_twice_up_to_a_bound() -> None:
    assert pairs(pool([], []), 0) == 2 * 6
    found = prove(ByCorner(WHITE), pool(list(range(12)), []), place([0, 2, 4, 6]), 0)
    assert sorted(found.takers) == sorted([*PROVING[6:]] * 2)
    many = Pool(np.zeros((200, 1, 1, 3), np.uint8), np.repeat([0, 1], 100), np.arange(200))
    assert pairs(many, 0) == 96


class Pasted(ByCorner):
    """Says class 0 where the corner is not as bright as the rest: of anything that was pasted."""

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sure = (pixels[:, 0, 0, 0] != pixels[:, -1, -1, 0]).astype(np.float32)
        return np.stack([sure, 1 - sure], axis=1)


def test_a_place_is_compared_with_the_same_exchange_from_other_images() -> None:
    given = pool(list(range(12)), list(range(12, 24)))
    # White alone says it: the same exchange with grey does nothing.
    found = prove(ByCorner(WHITE), given, place([0, 2, 4, 6]), 0)
    assert found.effect.change.value == 1
    assert (found.effect.turned, found.effect.turned_without) == (1, 0)
    # Every image has a brightness of its own: what is pasted shows, whosever it is. Only where
    # an image gives to itself does nothing show.
    each = np.arange(24, dtype=np.uint8)[:, None, None, None]
    own = Pool(np.tile(each, (1, SIZE, SIZE, 3)), LABELS, PROVING)
    found = prove(Pasted(0), own, place([0, 2, 4, 6]), 0)
    assert found.effect.turned == 1
    assert found.effect.turned_without > 0.5


def test_a_detail_is_compared_with_untouched_images_and_with_those_that_lack_it() -> None:
    given = pool([*range(12), 12, 14], [])
    found = prove(ByCorner(WHITE), given, detail([0, 2, 4, 6], also=(12, 14)), 0)
    # Two of the six takers have it already.
    assert found.effect.change.value == pytest.approx(4 / 6)
    # Patches of the four that lack it take the class away where it was: from those two.
    assert found.strange == pytest.approx(-2 / 6)


def test_what_is_taken_out_of_its_own_images_is_lost() -> None:
    given = pool(list(range(12)), [])
    assert remove(ByCorner(WHITE), given, detail([0, 2, 4, 6]), 0).change.value == 1
    assert remove(ByCorner(WHITE), given, place([0, 2, 4, 6]), 0).change.value == 1
    # Others have it as well: nothing hangs on whose it is.
    same = pool(list(range(24)), [])
    assert remove(ByCorner(WHITE), same, place([0, 2, 4, 6]), 0).change.value == 0
