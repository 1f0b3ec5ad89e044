"""Calibration: whether a classifier that says 80 % is right in 80 of 100 cases.

Expected calibration error, the bins of a reliability diagram, and temperature scaling. Pure
functions of probabilities and labels; this module knows nothing of classifiers.

References
----------
C. Guo, G. Pleiss, Y. Sun, K. Weinberger. On Calibration of Modern Neural Networks. ICML 2017
(equation 3: the error; section 4.2: temperature scaling).
J. Bröcker, L. Smith. Increasing the Reliability of Reliability Diagrams. Weather and Forecasting
22, 2007 (what a calibrated forecaster would show).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from seewhy.statistics.bootstrap import DRAWS, Weights, bootstrap, interval
from seewhy.storage.schemas.evaluation import Calibration, ReliabilityBin, TemperatureScaling
from seewhy.storage.schemas.predictions import Predictions

BINS = 15
# Temperatures are looked for between these; a minimum at an end is none.
COLDEST, HOTTEST = 0.01, 100.0
# float32 rounds a probability below this to nothing; its logarithm is then taken of this.
_TINY = float(np.finfo(np.float32).tiny)


def bin_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin (k / 15, (k + 1) / 15] that each confidence is in; 0 is in the first."""
    place = np.ceil(confidence * BINS) - 1
    return np.asarray(np.clip(place, 0, BINS - 1), dtype=np.int64)


def calibration(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32] | NDArray[np.float64],
    draws: int = DRAWS,
    seed: int = 0,
    clusters: NDArray[np.int64] | None = None,
) -> Calibration:
    """Measure calibration on images whose labels are known.

    The expected calibration error is the mean, over images, of |accuracy − confidence| of the
    bin that an image's confidence is in: ECE = Σ_b n_b / N · |acc(b) − conf(b)|, over 15 bins
    of equal width.

    Parameters
    ----------
    labels : ndarray of int64, (N,)
    probabilities : ndarray of float, (N, K)
        Rows that sum to 1.
    draws, seed, clusters
        As for `seewhy.statistics.bootstrap.weights`.

    Returns
    -------
    Calibration
        The error's interval is the basic one: a draw of the images always looks worse calibrated
        than the images themselves.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    confidence = np.clip(given.max(axis=1), 0, 1)
    right = (given.argmax(axis=1) == labels).astype(np.float64)
    (value,), drawn = bootstrap(weighted_error(confidence, right), labels, draws, seed, clusters)
    usual, high = _error_if_calibrated(confidence, draws, seed)
    return Calibration(
        error=interval(float(value), drawn[:, 0], "basic"),
        error_if_calibrated=usual,
        error_if_calibrated_high=high,
        confidence=float(confidence.mean()),
        nll=nll(labels, given),
        bins=_bins(confidence, right),
    )


def weighted_error(
    confidence: NDArray[np.float64], right: NDArray[np.float64]
) -> Callable[[Weights], NDArray[np.float64]]:
    """Return the function from weights (B, N) to the expected calibration error, (B, 1).

    Parameters
    ----------
    confidence : ndarray of float64, (N,)
    right : ndarray of float64, (N,)
        1 where the image is named rightly, else 0.
    """
    member = _members(bin_of(confidence), BINS)

    def error(weight: Weights) -> NDArray[np.float64]:
        off = member @ (weight * (right - confidence)).T  # (bins, B)
        return np.asarray(np.abs(off).sum(axis=0) / weight.sum(axis=1))[:, None]

    return error


def nll(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Return the mean negative log-likelihood of the labels, nats."""
    return float(log_losses(labels, probabilities).mean())


def log_losses(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return −log p of each image's label, (N,), for rows of probabilities p, (N, K)."""
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(own, _TINY)))


def calibrated(
    probabilities: NDArray[np.float32] | NDArray[np.float64], temperature: float | None
) -> NDArray[np.float64]:
    """Return probabilities (N, K) at a temperature; as they are where none was fitted."""
    if temperature is None:
        return np.asarray(probabilities, dtype=np.float64)
    return at_temperature(probabilities, temperature)


def at_temperature(
    probabilities: NDArray[np.float32] | NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Return softmax(z / T) for the logits z behind softmax probabilities, (N, K).

    The logits are known up to a constant an image, log p, and that constant does not matter.
    """
    return np.asarray(np.exp(_log_scaled(probabilities, 1 / temperature)))


def fit_temperature(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32] | NDArray[np.float64]
) -> float | None:
    """Return the temperature T at which softmax(z / T) makes these labels likeliest.

    The mean negative log-likelihood is convex in 1 / T, so there is one minimum; it is found to
    four digits (Brent's method on log T, between 0.01 and 100).

    Returns
    -------
    float or None
        None where the minimum is at an end, as it does where every image is named rightly
        (the surer the better) or the answers are no better than guesses.
    """
    rows = np.arange(len(labels))

    def loss(log_inverse: float) -> float:
        scaled = _log_scaled(probabilities, np.exp(log_inverse))
        return float(-scaled[rows, labels].mean())

    low, high = -np.log(HOTTEST), -np.log(COLDEST)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    at_an_end = found.x - low < 1e-3 or high - found.x < 1e-3
    return None if at_an_end else float(np.exp(-found.x))


def scale_temperature(
    test: Predictions, validation: Predictions | None, draws: int = DRAWS, seed: int = 0
) -> TemperatureScaling:
    """Fit a temperature on the validation images and measure it on the test images.

    Parameters
    ----------
    test, validation : Predictions
        `validation` is None where its predictions were not kept.
    draws, seed : int
        Of the bootstrap.
    """
    if validation is None or not len(validation.ids):
        return TemperatureScaling(images=0, skipped="there are no validation predictions")
    images = len(validation.ids)
    if (validation.predicted == validation.labels).all():
        reason = "every validation image is named rightly, so the surer the better"
        return TemperatureScaling(images=images, skipped=reason)
    temperature = fit_temperature(validation.labels, validation.probabilities)
    if temperature is None:
        reason = "no temperature makes the validation labels likeliest"
        return TemperatureScaling(images=images, skipped=reason)
    scaled = at_temperature(test.probabilities, temperature)
    return TemperatureScaling(
        images=images,
        temperature=temperature,
        scaled=calibration(test.labels, scaled, draws, seed, test.groups),
    )


def _log_scaled(
    probabilities: NDArray[np.float32] | NDArray[np.float64], inverse: float
) -> NDArray[np.float64]:
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _TINY))
    return np.asarray(log_softmax(logits * inverse, axis=1))


def _members(place: NDArray[np.int64], groups: int) -> sparse.csr_array:
    """Return (groups, N): 1 where an image is in a group."""
    ones, columns = np.ones(len(place)), np.arange(len(place))
    return sparse.csr_array((ones, (place, columns)), shape=(groups, len(place)))


def _error_if_calibrated(
    confidence: NDArray[np.float64], draws: int, seed: int
) -> tuple[float, float]:
    """Return mean and 95 % quantile of the error of answers as often right as they are sure."""
    member = _members(bin_of(confidence), BINS)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        off = member @ ((rng.random(len(confidence)) < confidence) - confidence)
        found.append(np.abs(off).sum() / len(confidence))
    return float(np.mean(found)), float(np.quantile(found, 0.95))


def _bins(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> list[ReliabilityBin]:
    place, found = bin_of(confidence), []
    for k in range(BINS):
        inside = place == k
        images = int(inside.sum())
        found.append(
            ReliabilityBin(
                low=k / BINS,
                high=(k + 1) / BINS,
                images=images,
                confidence=float(confidence[inside].mean()) if images else None,
                accuracy=float(right[inside].mean()) if images else None,
            )
        )
    return found
