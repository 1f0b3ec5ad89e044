"""Thresholds: by hand, the nearest to 0.5; rates against SciPy; what cannot be reached."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seewhy.config import OperatingTarget
from seewhy.evaluation.operating_point import (
    MOST_POINTS,
    choose_threshold,
    operating_point,
    ranking_curves,
    rates,
)
from seewhy.storage.schemas.predictions import Predictions
from tests.evaluation.conftest import answers

#                      no   no   yes  no   yes  yes
SCORES = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
POSITIVE = np.array([False, False, True, False, True, True])


def _predictions(positive: np.ndarray, scores: np.ndarray) -> Predictions:
    shares = np.stack([1 - scores, scores], axis=1).astype(np.float32)
    ids = tuple(f"id{k}" for k in range(len(scores)))
    return Predictions(ids, positive.astype(np.int64), shares)


@pytest.mark.parametrize(
    ("measure", "value", "threshold"),
    [
        ("sensitivity", 0.6, 0.5),  # 2 of 3 at 0.5 already
        ("sensitivity", 2 / 3, 0.5),
        ("sensitivity", 0.7, 0.25),
        ("sensitivity", 1.0, 0.25),
        ("specificity", 0.6, 0.5),
        ("specificity", 0.7, 0.65),
        ("precision", 0.6, 0.5),
        ("precision", 0.7, 0.65),
    ],
)
def test_the_threshold_nearest_to_one_half_that_reaches_it(
    measure: str, value: float, threshold: float
) -> None:
    target = OperatingTarget(measure, value)  # type: ignore[arg-type]
    assert choose_threshold(POSITIVE, SCORES, target) == pytest.approx(threshold)


def test_thresholds_beyond_all_scores() -> None:
    high = np.array([0.6, 1.0])
    none = np.array([False, False])
    found = choose_threshold(none, high, OperatingTarget("specificity", 1.0))
    assert found is not None
    assert found > 1
    found = choose_threshold(none, np.array([0.6, 0.8]), OperatingTarget("specificity", 1.0))
    assert found == pytest.approx(0.9)
    assert choose_threshold(none, high, OperatingTarget("sensitivity", 0.5)) is None
    assert choose_threshold(~none, np.array([0.0, 0.9]), OperatingTarget("sensitivity", 1)) == 0
    # The surest image is negative: half of the answers are right at most.
    of = np.array([True, False])
    assert choose_threshold(of, np.array([0.6, 0.8]), OperatingTarget("precision", 0.9)) is None
    assert choose_threshold(of, np.array([0.6, 0.8]), OperatingTarget("precision", 0.5)) == 0.5


def test_precision_that_rises_and_falls_is_searched_from_one_half_outwards() -> None:
    rng = np.random.default_rng(4)
    for target in np.linspace(0.3, 1, 30).tolist():
        positive = rng.random(60) < 0.3
        scores = np.round(np.clip(rng.normal(0.35 + 0.2 * positive, 0.2), 0, 1), 2)
        known = np.unique(scores)
        reached = [
            threshold
            for threshold in [0.5, 0.0, *((known[1:] + known[:-1]) / 2)]
            if (scores >= threshold).any() and positive[scores >= threshold].mean() >= target
        ]
        nearest = min(reached, key=lambda threshold: abs(threshold - 0.5), default=None)
        found = choose_threshold(positive, scores, OperatingTarget("precision", target))
        assert found == (None if nearest is None else pytest.approx(nearest))


def test_rates_and_their_intervals() -> None:
    found = rates(POSITIVE, SCORES, 0.25)
    assert found.sensitivity is not None
    assert found.specificity is not None
    assert found.precision is not None
    assert (found.sensitivity.value, found.specificity.value, found.precision.value) == (
        1,
        2 / 3,
        3 / 4,
    )
    sure = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert (found.precision.low, found.precision.high) == (sure.low, sure.high)
    assert rates(POSITIVE, SCORES, 2.0).precision is None


def test_the_test_images_choose_nothing() -> None:
    validation, target = _predictions(POSITIVE, SCORES), OperatingTarget("sensitivity", 1.0)
    test = _predictions(POSITIVE, np.array([0.0, 0.3, 0.2, 0.9, 0.6, 0.7]))
    found = operating_point(target, validation, test, ("no", "yes"), 1)
    assert found.threshold == pytest.approx(0.25)
    assert found.chosen is not None
    assert found.chosen.sensitivity is not None
    assert found.chosen.sensitivity.value == pytest.approx(2 / 3)
    assert found.usual.specificity is not None
    assert found.usual.specificity.value == pytest.approx(2 / 3)
    assert found.sentence == (
        "Predict 'yes' from a probability of 0.25 on: on the 6 validation images this reaches "
        "sensitivity 1; on the test images sensitivity is 0.67 (95 % CI 0.21 to 0.94) instead of "
        "0.67 at 0.5."
    )


def test_what_cannot_be_reached_is_said() -> None:
    empty, target = _predictions(POSITIVE[:0], SCORES[:0]), OperatingTarget("precision", 0.99)
    test = _predictions(POSITIVE, SCORES)
    for validation in (None, empty):
        found = operating_point(target, validation, test, ("no", "yes"), 1)
        assert (found.threshold, found.chosen) == (None, None)
        assert found.sentence == (
            "No threshold reaches precision 0.99 for class 'yes' on the 0 validation images, so "
            "the usual threshold 0.5 stays."
        )


def test_curves_are_thinned_and_keep_their_ends() -> None:
    found = ranking_curves(answers(np.arange(3000) % 2, 2, 1.0, 1), 0)
    assert found is not None
    for x, y in ((found.false_alarms, found.sensitivity), (found.recall, found.precision)):
        assert len(x) == len(y) <= MOST_POINTS
    assert (found.false_alarms[0], found.false_alarms[-1]) == (0, 1)
    assert (found.recall[0], found.recall[-1]) == (1, 0)
    assert found.prevalence == 0.5
    assert ranking_curves(_predictions(POSITIVE[:2], SCORES[:2]), 1) is None
