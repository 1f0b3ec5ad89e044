"""Effects and verdicts against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.audit.verdict import (
    Effect,
    detectable,
    graver,
    judge,
    measure_effect,
    permutation_p,
)
from seewhy.explanation.intervals import Interval


def effect(value: float, low: float) -> Effect:
    return Effect(Interval(value, low, value + 0.1), 0.001, 0.5, 0.1, 96, 0.2)


def test_an_effect_is_the_paired_difference() -> None:
    with_it = np.array([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]], np.float32)
    without = np.array([[0.7, 0.3], [0.8, 0.2], [0.1, 0.9]], np.float32)
    found = measure_effect(with_it, without, label=1, seed=0)
    assert found.change.value == pytest.approx((0.5 + 0.2 + 0.0) / 3)
    assert found.turned == pytest.approx(2 / 3)
    assert found.turned_without == pytest.approx(1 / 3)
    assert found.images == 3


def test_the_null_counts_all_signs() -> None:
    # Of the eight sign patterns of three equal differences only one has a sum as large.
    p = permutation_p(np.array([0.1, 0.1, 0.1]), seed=0)
    assert p == pytest.approx(1 / 8, abs=0.01)
    assert permutation_p(np.full(40, 0.1), seed=0) == pytest.approx(1 / 20_001)
    assert permutation_p(np.full(40, -0.1), seed=0) == 1


@pytest.mark.parametrize(
    ("value", "low", "p", "verdict"),
    [
        (0.3, 0.2, 0.001, "shortcut"),
        (0.3, 0.05, 0.001, "suspicious"),  # its interval reaches below half the threshold
        (0.16, 0.12, 0.001, "suspicious"),
        (0.3, 0.2, 0.06, "none"),  # chance
        (0.14, 0.12, 0.001, "none"),  # sure, but small
    ],
)
def test_a_verdict_needs_size_and_certainty(
    value: float, low: float, p: float, verdict: str
) -> None:
    assert judge(effect(value, low), p, threshold=0.2) == verdict


def test_the_graver_verdict_counts() -> None:
    assert graver("none", "suspicious") == "suspicious"
    assert graver("shortcut", "none") == "shortcut"


def test_what_would_have_been_found() -> None:
    assert detectable(0.3, 100, 0.05) == pytest.approx(0.05 + 1.282 * 0.03)
