"""Effects, bounds and verdicts against values worked out by hand and by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.audit_inference import DONORS, SHARES, donors_of, normal, pairs_of
from seewhy.audit.inference import (
    Effect,
    decide_verdict,
    measure_effect,
    more_severe,
    standard_error,
    usual,
)


def answers(*changes: float, each: int = 1) -> np.ndarray:
    """Return answers of class 0 out of two, (D, each, 2)."""
    first = np.repeat(np.array(changes, np.float32)[:, None], each, axis=1)
    return np.stack([first, 1 - first], axis=2)


def test_an_effect_is_a_t_test_over_donors() -> None:
    rng = np.random.default_rng(0)
    with_it, control = rng.dirichlet((1, 1), (2, 7, 5)).astype(np.float32)
    found = measure_effect(with_it, control, label=0)
    donors = (with_it - control)[..., 0].astype(np.float64).mean(axis=1)
    expected = stats.ttest_1samp(donors, 0, alternative="greater")
    two_sided = stats.ttest_1samp(donors, 0).confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((two_sided.low, two_sided.high))
    assert (found.donors, found.images) == (7, 35)


def test_more_images_of_the_same_donors_do_not_make_an_effect_surer() -> None:
    few = measure_effect(answers(0.1, 0.3, 0.2, 0.4), answers(0, 0, 0, 0), 0)
    many = measure_effect(answers(0.1, 0.3, 0.2, 0.4, each=50), answers(0, 0, 0, 0, each=50), 0)
    assert many.p == pytest.approx(few.p)
    assert many.low == pytest.approx(few.low)


def test_decided_images_are_counted() -> None:
    found = measure_effect(answers(0.6, 0.7, 0.2, 0.9), answers(0.1, 0.8, 0.2, 0.3), 0)
    assert (found.turned, found.turned_control) == (0.75, 0.25)


def test_donors_that_agree_by_chance_do_not_make_a_certainty() -> None:
    found = measure_effect(answers(0.03, 0.03, 0.03, 0.03), answers(0, 0, 0, 0), 0)
    # A deviation of 0.01 at least: t = 0.03 / (0.01 / 2), three degrees of freedom.
    assert found.p == pytest.approx(stats.t.sf(6, 3))
    assert standard_error(np.full(4, 0.03)) == pytest.approx(0.005)


@pytest.mark.parametrize("each", [1, 8])
def test_the_audit_rejects_and_covers_as_it_promises(each: int) -> None:
    rng = np.random.default_rng(1)
    runs = [
        donors_of(rng, donors, each, share, normal)
        for donors in DONORS
        for share in SHARES
        for _ in range(100)
    ]
    rejected, covered = np.mean(runs, axis=0)
    # 2,400 rounds: a standard error of 0.0045 around 0.05 and 0.95.
    assert rejected < 0.064
    assert covered > 0.936


def test_pairs_do_not() -> None:
    rng = np.random.default_rng(2)
    rejected, covered = np.mean([pairs_of(rng, 4, 0.2, normal) for _ in range(150)], axis=0)
    assert rejected > 0.15
    assert covered < 0.7


def test_what_is_usual_is_a_prediction_interval() -> None:
    others = [0.1, 0.2, 0.3, 0.2]
    # Mean 0.2, deviation 0.0816; t(0.99, 3) = 4.541; one more of the same: sqrt(1 + 1/4).
    assert usual(others) == pytest.approx(0.2 + 4.5407 * 0.081650 * np.sqrt(1.25), abs=1e-4)
    assert usual(others[:2]) is None


def test_one_more_ordinary_class_is_beyond_in_one_of_a_hundred_cases() -> None:
    rng = np.random.default_rng(3)
    beyond = [one[0] > (usual(one[1:].tolist()) or 0.0) for one in rng.normal(5, 2, (4000, 10))]
    assert np.mean(beyond) == pytest.approx(0.01, abs=0.006)


def effect(change: float, low: float) -> Effect:
    return Effect(change, low, change + 0.1, 0.001, 0.5, 0.1, 12, 60)


@pytest.mark.parametrize(
    ("change", "low", "p", "verdict"),
    [
        (0.03, 0.02, 0.001, "shortcut"),  # 5 % of the range of 0.5 is 0.025
        (0.024, 0.02, 0.001, "none"),  # sure, but not relevant
        (0.03, 0.012, 0.001, "needs judgement"),  # reaches below half of what is relevant
        (0.3, 0.2, 0.06, "none"),  # chance
    ],
)
def test_a_detail_must_be_relevant_and_sure(
    change: float, low: float, p: float, verdict: str
) -> None:
    assert decide_verdict(effect(change, low), p, 0.5, "detail", None) == verdict


@pytest.mark.parametrize(
    ("change", "low", "bound", "verdict"),
    [
        (0.2, 0.15, 0.3, "shortcut"),  # beyond 0.3 of the range of 0.5
        (0.14, 0.12, 0.3, "needs judgement"),  # relevant, but usual
        (0.2, 0.07, 0.3, "needs judgement"),  # reaches below half of the bound
        (0.2, 0.15, None, "needs judgement"),  # nothing is known of what is usual
        (0.07, 0.06, 0.01, "none"),  # unusual, but below 0.15 of the range
    ],
)
def test_colours_must_do_more_than_is_usual(
    change: float, low: float, bound: float | None, verdict: str
) -> None:
    assert decide_verdict(effect(change, low), 0.001, 0.5, "colour", bound) == verdict


def test_the_graver_verdict_counts() -> None:
    assert more_severe("none", "needs judgement") == "needs judgement"
    assert more_severe("shortcut", "too few images") == "shortcut"
