"""How many labels are wrong, estimated from a classifier's probabilities alone.

A classifier that errs and a label that is wrong look the same in one image: the classifier
disagrees with the label. Over many images they differ. Errors of a classifier whose probabilities
are calibrated become rare as it becomes sure; wrong labels do not. So both are fitted at once, and
the fit tells for each image how probable it is that its label is correct.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

# With fewer labels the two cannot be told apart: of 36 clean draws of 100 to 400 images, ten got
# a share of 2 % wrong labels or more; of 12 with 800, none more than 1.2 % (docs/log.md).
LEAST = 500
# More labels make the fit no better, only slower.
MOST_FITTED = 20_000
_SMALL = 1e-12
# First guesses of the temperature and of the share of wrong labels.
_STARTS = ((1.0, 0.01), (1.0, 0.1), (2.0, 0.01), (0.5, 0.1))


@dataclass(frozen=True)
class LabelNoise:
    """How many labels are estimated to be wrong, and which."""

    share: float  # of labels that are wrong
    temperature: float  # that calibrates the probabilities
    correct: NDArray[np.float64]  # (N,), the probability that each label is correct


def estimate_label_noise(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> LabelNoise | None:
    r"""Estimate the share of wrong labels, by maximum likelihood.

    A label is the true class with probability :math:`1 - \varepsilon`, else one of the K - 1
    others; the true class is distributed as the classifier says, at one temperature for all
    images: :math:`q = softmax(\log(p) / T)` and

    .. math:: P(y_i) = (1 - \varepsilon) q_{i, y_i} + \varepsilon (1 - q_{i, y_i}) / (K - 1).

    Parameters
    ----------
    labels : ndarray of int64, (N,)
        In 0 … K - 1.
    probabilities : ndarray of float32, (N, K)
        Out of sample: of a classifier that was not trained on the image.

    Returns
    -------
    LabelNoise or None
        None for fewer than `LEAST` labels or two classes.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first = rng.beta(0.2, 0.2, 5000)
    >>> labels = (rng.random(5000) > first).astype(int)
    >>> labels[:250] = 1 - labels[:250]  # 5 % of them wrong
    >>> noise = estimate_label_noise(labels, np.stack([first, 1 - first], 1).astype(np.float32))
    >>> round(noise.share, 2), int((noise.correct < 0.5).sum())
    (0.05, 170)

    References
    ----------
    Guo et al. (2017), On calibration of modern neural networks, arXiv:1706.04599, for the
    temperature; Natarajan et al. (2013), Learning with noisy labels, for the labels.
    """
    count, classes = probabilities.shape
    if count < LEAST or classes < 2:
        return None
    every = -(-count // MOST_FITTED)
    logs = _relative_logs(labels, probabilities)
    some = logs[::every]

    def loss(point: NDArray[np.float64]) -> float:
        correct, wrong = _parts(point, some)
        return -float(np.log(correct + wrong + 1e-300).mean())

    fits = [
        minimize(loss, (-np.log(heat), logit(share)), method="Nelder-Mead")
        for heat, share in _STARTS
    ]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    correct, wrong = _parts(best, logs)
    sharpness, share = _bounded(best)
    return LabelNoise(share, 1 / sharpness, correct / np.maximum(correct + wrong, 1e-300))


def _relative_logs(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the logarithm of each class's probability relative to the label's (N, K)."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), _SMALL))
    return np.asarray(logs - logs[np.arange(len(labels)), labels][:, None])


def _bounded(point: NDArray[np.float64]) -> tuple[float, float]:
    """Return 1 / temperature and the share of wrong labels; a share of 0 has no finite logit."""
    sharpness, share = np.clip(point, (-4, -15), (4, 5))
    return float(np.exp(sharpness)), float(expit(share))


def _parts(
    point: NDArray[np.float64], logs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two terms of each label's probability: it is correct, it is wrong."""
    sharpness, share = _bounded(point)
    with np.errstate(over="ignore"):
        own = 1 / np.exp(logs * sharpness).sum(axis=1)
    return (1 - share) * own, share * (1 - own) / (logs.shape[1] - 1)
