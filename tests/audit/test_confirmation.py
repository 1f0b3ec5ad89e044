"""Screening and confirmation: what passes, what is usual, and each test by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.confirmation import confirm
from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.discovery.details import Detail
from seewhy.audit.exchange import ColourExchange, DetailExchange
from seewhy.audit.image_pools import ImagePools, Role
from seewhy.audit.inference import usual
from seewhy.audit.interventions import ablate, insert, plan
from seewhy.audit.screening import LEAST_RANGE, ScreenedCandidate, class_ranges, screen, usual_share
from seewhy.evaluation.significance import holm

SIZE, CLASSES, EACH = 8, 6, 60
LABELS = np.repeat(np.arange(CLASSES), EACH)
NUMBERS = np.arange(CLASSES * EACH)
PART: dict[Role, range] = {
    "discovery": range(15),
    "screening": range(15, 30),
    "extra_donors": range(30, 40),
    "confirmation": range(40, 60),
}


@dataclass(frozen=True)
class ByRed:
    """Gives a class its images by their blue, and class 0 as much as the corner is red."""

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        own = (pixels[:, 4:, 4:, 2].mean(axis=(1, 2)) / 20).round().astype(int)
        scores = np.eye(CLASSES)[np.clip(own, 0, CLASSES - 1)]
        scores[:, 0] += pixels[:, 0, 0, 0] / 100
        odds = np.exp(3 * scores)
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return np.ones((len(pixels), SIZE, SIZE), np.float32)

    def gathered(self, pixels: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(pixels), 1), np.float32)


@pytest.fixture(scope="module")
def pools() -> ImagePools:
    """Images whose blue tells the class; those of class 0 have a red corner, more or less red."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((len(NUMBERS), SIZE, SIZE, 3), np.uint8)
    pixels[..., 2] = (20 * LABELS)[:, None, None]
    pixels[:EACH, :2, :2, 0] = rng.integers(20, 120, EACH)[:, None, None]
    roles = {role: np.flatnonzero(np.isin(NUMBERS % EACH, part)) for role, part in PART.items()}
    return ImagePools(pixels, LABELS, roles)


def corner(label: int, numbers: range) -> Candidate:
    """Return the corner of a class as a detail that some of its images carry."""
    first = label * EACH
    found = Detail(
        np.zeros((2, 2, 3), np.float32),
        np.ones((2, 2), bool),
        (0, 0),
        {first + i: (0, 0) for i in range(EACH)},
    )
    donors: dict[Role, NDArray[np.int64]] = {
        role: np.array([first + i for i in part if i in numbers], np.int64)
        for role, part in PART.items()
    }
    return Candidate(label, "detail", donors, DetailExchange(found, (1.0, 1.0)), found)


def test_insertion_and_ablation_have_each_their_own_p(pools: ImagePools) -> None:
    # No image looks like a black corner, so all of other classes may receive.
    plain = replace(corner(0, range(EACH)).detail, look=np.full((2, 2, 3), 255, np.float32))
    one = replace(corner(0, range(EACH)), detail=plain)
    (found,) = confirm(ByRed(), pools, [ScreenedCandidate(one, 0.5, True)], 0)
    design = plan(pools, one, "confirmation", 0)
    assert design is not None
    insertion = insert(ByRed(), pools, one, design).effect
    ablation = ablate(ByRed(), pools, one, "confirmation", 0)
    assert ablation is not None
    assert insertion.p != pytest.approx(ablation.p)
    expected = holm([insertion.p, ablation.p])
    assert [found.insertion_p, found.ablation_p] == pytest.approx(expected)
    assert found.verdict == "shortcut"


def test_what_did_not_pass_is_not_tested(pools: ImagePools) -> None:
    plain = replace(corner(0, range(EACH)).detail, look=np.full((2, 2, 3), 255, np.float32))
    one = replace(corner(0, range(EACH)), detail=plain)
    alone = confirm(ByRed(), pools, [ScreenedCandidate(one, 0.5, True)], 0)
    both = confirm(
        ByRed(), pools, [ScreenedCandidate(one, 0.5, True), ScreenedCandidate(one, 0.0, False)], 0
    )
    assert len(both) == 1
    assert both[0].insertion_p == alone[0].insertion_p


def test_a_range_is_from_others_to_its_own(pools: ImagePools) -> None:
    found = class_ranges(ByRed(), pools, "confirmation")
    numbers = pools.numbers["confirmation"]
    answers = ByRed().probabilities(pools.pixels[numbers])[:, 3]
    own = pools.labels[numbers] == 3
    assert found[3] == pytest.approx(answers[own].mean() - answers[~own].mean())

    class Blind(ByRed):
        def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full((len(pixels), CLASSES), 1 / CLASSES, np.float32)

    assert class_ranges(Blind(), pools, "confirmation") == [LEAST_RANGE] * CLASSES


def test_what_is_usual_comes_from_the_other_classes() -> None:
    shares = [0.5, 0.1, 0.2, 0.15, 0.12]
    screened = [
        ScreenedCandidate(Candidate(label, "colour", {}, ColourExchange()), value, False)
        for label, value in enumerate(shares)
    ]
    assert usual_share(screened, screened[0]) == usual(shares[1:])
    assert usual_share(screened, screened[1]) == usual([shares[0], *shares[2:]])
    other = ScreenedCandidate(Candidate(0, "texture", {}, ColourExchange()), 0.3, False)
    assert usual_share([*screened, other], other) is None


def test_too_few_carriers_are_not_tried(pools: ImagePools) -> None:
    few = replace(corner(1, range(3)), detail=None, kind="place")
    short = replace(
        pools,
        numbers={**pools.numbers, "confirmation": NUMBERS[:3], "extra_donors": NUMBERS[:0]},
    )
    assert screen(ByRed(), short, few, 0.5, 0) is None
