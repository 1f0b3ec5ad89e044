"""How good test predictions are: one function for all peers, on NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15


def score(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Return accuracy, macro recall, log loss and expected calibration error.

    Parameters
    ----------
    labels : ndarray of int, (N,)
    probabilities : ndarray, (N, K)
        A row adds up to 1, as far as single precision allows.

    Raises
    ------
    ValueError
        For probabilities that are none, or not one row per label.
    """
    shares = np.asarray(probabilities, np.float64)
    if shares.ndim != 2 or len(shares) != len(labels):
        raise ValueError(f"{len(labels)} labels, but probabilities of shape {shares.shape}")
    if not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise ValueError("probabilities that are negative or no numbers")
    if not np.allclose(shares.sum(axis=1), 1, atol=1e-3):
        raise ValueError("probabilities that do not add up to 1")
    shares = shares / shares.sum(axis=1, keepdims=True)
    right = shares.argmax(axis=1) == labels
    own = np.maximum(shares[np.arange(len(labels)), labels], np.finfo(np.float64).eps)
    return {
        "accuracy": float(right.mean()),
        "macro_recall": float(np.mean([right[labels == k].mean() for k in np.unique(labels)])),
        "log_loss": float(-np.log(own).mean()),
        "ece": calibration_error(shares.max(axis=1), right),
    }


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error, in `BINS` bins of equal width (a, b]."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(place, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(right))
