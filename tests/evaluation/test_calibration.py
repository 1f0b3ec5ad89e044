"""Calibration worked out by hand, and temperatures that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.evaluation.calibration import (
    at_temperature,
    bin_of,
    calibration,
    fit_temperature,
    nll,
    scale_temperature,
)
from seewhy.storage.schemas.predictions import Predictions


def _two_classes(confidence: list[float]) -> np.ndarray:
    """Images that are all taken for class 0, this surely."""
    sure = np.array(confidence)
    return np.stack([sure, 1 - sure], axis=1)


def _predictions(labels: list[int], probabilities: np.ndarray) -> Predictions:
    ids = tuple(f"id{k}" for k in range(len(labels)))
    return Predictions(ids, np.array(labels), probabilities.astype(np.float32))


def test_worked_out_by_hand() -> None:
    """Bins of 1/15: 0.62 and 0.65 share (0.6, 0.667], 0.95 and 0.99 share (0.933, 1]."""
    labels = np.array([0, 1, 0, 0])
    given = _two_classes([0.62, 0.65, 0.95, 0.99])
    found = calibration(labels, given, draws=50)
    # |0.5 - 0.635| for two images of four, |1 - 0.97| for the other two.
    assert found.error.value == pytest.approx((2 * 0.135 + 2 * 0.03) / 4)
    assert found.confidence == pytest.approx(0.8025)
    assert found.nll == pytest.approx(-np.log([0.62, 0.35, 0.95, 0.99]).mean())
    assert len(found.bins) == 15
    filled = [one for one in found.bins if one.images]
    assert [(one.images, one.accuracy) for one in filled] == [(2, 0.5), (2, 1.0)]
    assert [one.confidence for one in filled] == [pytest.approx(0.635), pytest.approx(0.97)]
    assert found.bins[0].confidence is None


def test_bins_hold_their_upper_end() -> None:
    edges = np.arange(1, 16) / 15
    assert bin_of(edges).tolist() == list(range(15))
    assert bin_of(np.array([0.0, 1.0, 0.0667])).tolist() == [0, 14, 1]


def test_the_interval_of_a_calibrated_classifier_reaches_down() -> None:
    """Few images cannot show an error of 0; the interval and the note must not take it for one."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sure = rng.uniform(0.5, 1, 500)
        labels = (rng.random(500) > sure).astype(np.int64)
        found.append(calibration(labels, _two_classes(sure.tolist()), draws=200))
    errors = np.array([one.error.value for one in found])
    assert (errors > 0.015).all()
    assert errors.mean() == pytest.approx(found[0].error_if_calibrated, abs=0.006)
    assert np.median([one.error.low for one in found]) < 0.005


def test_the_error_of_calibrated_answers_is_the_mean_deviation_of_a_coin() -> None:
    """100 answers at 0.5: the share that is right is off by √(2/π)·0.05 on average."""
    found = calibration(np.zeros(100, dtype=np.int64), _two_classes([0.5] * 100))
    assert found.error_if_calibrated == pytest.approx(np.sqrt(2 / np.pi) * 0.05, rel=0.06)
    # In 95 of 100 cases it is off by less than 1.96 · 0.05, to whole images.
    assert found.error_if_calibrated_high == pytest.approx(0.1, abs=0.011)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_known_beforehand(temperature: float) -> None:
    """Answers of one confidence, 8 of 10 right: the best confidence is 0.8, whatever it was."""
    logit = np.log(0.8 / 0.2) * temperature
    given = _two_classes([1 / (1 + np.exp(-logit))] * 10)
    labels = np.array([0] * 8 + [1] * 2)
    found = fit_temperature(labels, given)
    assert found == pytest.approx(temperature, rel=1e-4)
    scaled = at_temperature(given, temperature)
    np.testing.assert_allclose(scaled, _two_classes([0.8] * 10))
    assert calibration(labels, scaled, draws=10).error.value == pytest.approx(0, abs=1e-12)


def test_scaling_is_softmax_of_divided_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (6, 4))

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(at_temperature(softmax(logits), 1.7), softmax(logits / 1.7))


def test_fitted_on_validation_and_measured_on_test() -> None:
    logit = 3 * np.log(4)
    sure = _two_classes([1 / (1 + np.exp(-logit))] * 10)
    validation = _predictions([0] * 8 + [1] * 2, sure)
    test = _predictions([0] * 9 + [1], sure)
    found = scale_temperature(test, validation, draws=10)
    assert (found.images, found.skipped) == (10, None)
    assert found.temperature == pytest.approx(3, rel=1e-3)
    assert found.scaled is not None
    assert found.scaled.error.value == pytest.approx(0.1, abs=1e-4)
    before = calibration(test.labels, test.probabilities, draws=10)
    assert found.scaled.nll < before.nll


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "no validation predictions"),
        ([0, 0, 0], "named rightly"),
        ([1, 1, 1], "no temperature"),
    ],
)
def test_where_no_temperature_can_be_fitted(labels: list[int] | None, words: str) -> None:
    given = _two_classes([0.9, 0.8, 0.7])
    validation = _predictions(labels, given) if labels else None
    found = scale_temperature(_predictions([0, 0, 1], given), validation, draws=10)
    assert found.temperature is None
    assert found.scaled is None
    assert words in (found.skipped or "")


def test_probabilities_that_were_rounded_to_nothing_stay_finite() -> None:
    given = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    labels = np.array([0, 1, 1])
    assert np.isfinite(nll(labels, given.astype(np.float64)))
    temperature = fit_temperature(labels, given)
    assert temperature is None or np.isfinite(temperature)
