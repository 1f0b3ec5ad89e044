"""Abstention: curves, areas and thresholds worked out by hand, and against all thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seewhy.evaluation.abstention import (
    MOST_POINTS,
    abstain,
    abstention_threshold,
    kept_images,
    risk_coverage,
)
from seewhy.storage.schemas.predictions import Predictions

# From the surest on: right, right, wrong, right and wrong (equally sure), right.
CONFIDENCE = np.array([0.7, 0.99, 0.9, 0.6, 0.7, 0.8])
RIGHT = np.array([True, True, True, True, False, False])


def _predictions(confidence: np.ndarray, right: np.ndarray) -> Predictions:
    """Return predictions of the first of two classes, which is the label where it is right."""
    shares = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
    ids = tuple(f"id{k}" for k in range(len(right)))
    return Predictions(ids, (~right).astype(np.int64), shares)


def test_a_curve_by_hand() -> None:
    curve = risk_coverage(CONFIDENCE, RIGHT)
    assert curve.thresholds.tolist() == [0.99, 0.9, 0.8, 0.7, 0.6]
    assert curve.kept.tolist() == [1, 2, 3, 5, 6]
    assert curve.coverage == pytest.approx([1 / 6, 2 / 6, 3 / 6, 5 / 6, 1])
    assert curve.risk == pytest.approx([0, 0, 1 / 3, 2 / 5, 1 / 3])
    # Each image counts once, the two that are equally sure with what both of them keep.
    assert curve.area == pytest.approx((0 + 0 + 1 / 3 + 2 * 2 / 5 + 1 / 3) / 6)


def test_the_area_is_zero_without_errors_and_one_with_nothing_else() -> None:
    assert risk_coverage(CONFIDENCE, np.ones(6, bool)).area == 0
    assert risk_coverage(CONFIDENCE, np.zeros(6, bool)).area == 1


@pytest.mark.parametrize(
    ("error", "threshold"),
    [(0, 0.9), (0.3, 0.9), (1 / 3, 0.6), (0.35, 0.6), (1, 0.6)],
)
def test_the_lowest_threshold_with_at_most_an_error(error: float, threshold: float) -> None:
    """At 1/3 all six are kept, although 0.7 alone would keep 2 errors among 5."""
    assert abstention_threshold(CONFIDENCE, RIGHT, error) == threshold


def test_no_threshold_where_the_surest_are_wrong() -> None:
    wrong_first = np.array([True, False, True, True, True, True])
    assert abstention_threshold(CONFIDENCE, wrong_first, 0.1) is None


def test_no_other_threshold_is_lower() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        confidence, right = rng.integers(5, 15, 30) / 15, rng.random(30) < 0.8
        error = float(rng.choice([0.05, 0.1, 0.2]))
        fitting = [t for t in confidence if (~right[confidence >= t]).mean() <= error]
        assert abstention_threshold(confidence, right, error) == min(fitting, default=None)


def test_kept_images_by_hand() -> None:
    found = kept_images(CONFIDENCE, RIGHT, 0.7)
    assert (found.images, found.kept, found.coverage) == (6, 5, 5 / 6)
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(0.6)
    # Wilson's interval by its formula.
    z, n, p = stats.norm.ppf(0.975), 5, 0.6
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert found.accuracy.low == pytest.approx(middle - half)
    assert found.accuracy.high == pytest.approx(middle + half)
    assert kept_images(CONFIDENCE, RIGHT, 0.995).accuracy is None


def test_chosen_on_validation_and_measured_on_test() -> None:
    validation = _predictions(CONFIDENCE, RIGHT)
    test = _predictions(np.array([0.95, 0.91, 0.85, 0.6]), np.array([True, False, True, True]))
    found = abstain(test, validation, None, 0.1)
    assert found.threshold == pytest.approx(0.9)
    assert found.validation is not None
    assert (found.validation.kept, found.validation.images) == (2, 6)
    assert found.test is not None
    assert (found.test.kept, found.test.coverage) == (2, 0.5)
    assert found.test.accuracy is not None
    assert found.test.accuracy.value == 0.5
    assert [round(point.coverage, 2) for point in found.curve] == [0.25, 0.5, 0.75, 1]
    assert [round(point.risk, 2) for point in found.curve] == [0, 0.5, 0.33, 0.25]


def test_confidences_are_calibrated_first() -> None:
    """Of two classes, a temperature of 2 makes 0.8 = 4 : 1 to 2 : 1, which is 2/3."""
    sure = _predictions(np.array([0.8, 0.5]), np.array([True, False]))
    found = abstain(sure, sure, 2.0, 0.0)
    assert found.threshold == pytest.approx(2 / 3)
    assert found.temperature == 2
    assert found.test is not None
    assert found.test.kept == 1


@pytest.mark.parametrize(
    ("known", "words"), [(False, "no validation"), (True, "error at or below 0.1")]
)
def test_a_missing_threshold_has_a_reason(known: bool, words: str) -> None:
    predictions = _predictions(CONFIDENCE, RIGHT)
    wrong = _predictions(CONFIDENCE, np.zeros(6, bool))
    found = abstain(predictions, wrong if known else None, None, 0.1)
    assert (found.threshold, found.test) == (None, None)
    assert words in str(found.skipped)
    assert found.area > 0


def test_long_curves_are_thinned_between_their_ends() -> None:
    confidence = np.linspace(0.5, 1, 5 * MOST_POINTS)
    found = abstain(_predictions(confidence, confidence > 0.6), None, None, 0.1)
    assert len(found.curve) == MOST_POINTS
    assert (found.curve[0].threshold, found.curve[-1].coverage) == (1, 1)
