"""Abstention: below which confidence a classifier should say "do not know", and what that gains.

Predictions are kept from the surest on. Coverage is the share of images that are kept, risk their
error rate. The threshold is chosen on the validation images. Pure functions of confidences,
labels and predictions; this module knows nothing of classifiers.

References
----------
Y. Geifman, R. El-Yaniv. Selective Classification for Deep Neural Networks. NeurIPS 2017 (coverage
and selective risk).
Y. Geifman, G. Uziel, R. El-Yaniv. Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers.
ICLR 2019 (the area under the risk-coverage curve).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.evaluation.calibration import at_temperature
from seewhy.statistics.bootstrap import share_interval
from seewhy.storage.schemas.abstention import KeptImages, RiskPoint, StageAbstention
from seewhy.storage.schemas.predictions import Predictions

# A curve in a record and a figure has at most so many points.
MOST_POINTS = 200


@dataclass(frozen=True)
class RiskCoverage:
    """The risk-coverage curve of N images with T different confidences.

    Attributes
    ----------
    thresholds : ndarray of float64, (T,)
        The confidences, from the highest on.
    kept : ndarray of int64, (T,)
        Images with at least this confidence.
    risk : ndarray of float64, (T,)
        Their error rate.
    area : float
        Area under the curve: the mean, over all N images, of the risk of the images that are
        kept at an image's own confidence.
    """

    thresholds: NDArray[np.float64]
    kept: NDArray[np.int64]
    risk: NDArray[np.float64]
    area: float

    @property
    def coverage(self) -> NDArray[np.float64]:
        """The share of images that are kept, (T,)."""
        return np.asarray(self.kept / self.kept[-1], dtype=np.float64)


def risk_coverage(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> RiskCoverage:
    """Return the error rate of the kept images for every number of them that a threshold can keep.

    Parameters
    ----------
    confidence : ndarray of float64, (N,)
        At least one. Images of equal confidence are kept together.
    right : ndarray of bool, (N,)
        Whether each prediction is correct.

    Examples
    --------
    Of four images the surest but one is wrong:

    >>> import numpy as np
    >>> right = np.array([True, False, True, True])
    >>> curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.7]), right)
    >>> curve.coverage, curve.risk
    (array([0.25, 0.5 , 1.  ]), array([0.  , 0.5 , 0.25]))
    >>> curve.area  # (0 + 0.5 + 0.25 + 0.25) / 4
    0.25
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    errors = np.cumsum(~right[order])
    last = np.append(np.flatnonzero(np.diff(sorted_confidence)), len(order) - 1)
    kept = (last + 1).astype(np.int64)
    risk = errors[last] / kept
    area = float((np.diff(kept, prepend=0) * risk).sum() / len(order))
    return RiskCoverage(sorted_confidence[last], kept, risk, area)


def abstention_threshold(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], error: float
) -> float | None:
    """Return the lowest confidence at which the kept images have at most this error rate.

    Parameters
    ----------
    confidence, right
        As for `risk_coverage`.
    error : float
        In 0 … 1.

    Returns
    -------
    float or None
        One of the confidences; images with at least as much are kept. None where even the surest
        images are wrong more often.

    Examples
    --------
    >>> import numpy as np
    >>> confidence, right = np.array([0.9, 0.8, 0.7]), np.array([True, True, False])
    >>> abstention_threshold(confidence, right, 0.1)
    0.8
    """
    curve = risk_coverage(confidence, right)
    fitting = np.flatnonzero(curve.risk <= error)
    return float(curve.thresholds[fitting[-1]]) if len(fitting) else None


def kept_images(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    threshold: float,
    groups: NDArray[np.int64] | None = None,
) -> KeptImages:
    """Count the images with at least a confidence, and their accuracy with its interval.

    `groups` (N,) as for `seewhy.statistics.bootstrap.share_interval`.
    """
    kept = confidence >= threshold
    return KeptImages(
        images=len(right),
        kept=int(kept.sum()),
        coverage=float(kept.mean()),
        accuracy=share_interval(right[kept], None if groups is None else groups[kept]),
    )


def abstain(
    test: Predictions, validation: Predictions | None, temperature: float | None, error: float
) -> StageAbstention:
    """Choose a threshold on the validation images and measure it on the test images.

    Parameters
    ----------
    test, validation : Predictions
        `test` of at least one image; `validation` is None where its predictions were not kept.
    temperature : float, optional
        Calibrates confidences before anything is chosen or measured.
    error : float
        As for `abstention_threshold`.
    """
    confidence, right = _answers(test, temperature)
    curve = risk_coverage(confidence, right)
    found = StageAbstention(temperature=temperature, area=curve.area, curve=_points(curve))
    if validation is None or not len(validation.ids):
        return found.model_copy(update={"skipped": "there are no validation predictions"})
    known, known_right = _answers(validation, temperature)
    threshold = abstention_threshold(known, known_right, error)
    if threshold is None:
        reason = f"no confidence keeps the validation error at or below {error:.4g}"
        return found.model_copy(update={"skipped": reason})
    return found.model_copy(
        update={
            "threshold": threshold,
            "validation": kept_images(known, known_right, threshold, validation.groups),
            "test": kept_images(confidence, right, threshold, test.groups),
        }
    )


def _answers(
    predictions: Predictions, temperature: float | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each image's confidence and whether its prediction is correct."""
    given = predictions.probabilities.astype(np.float64)
    scaled = given if temperature is None else at_temperature(given, temperature)
    return np.clip(scaled.max(axis=1), 0, 1), predictions.predicted == predictions.labels


def _points(curve: RiskCoverage) -> list[RiskPoint]:
    """Return the points of a curve, evenly thinned where there are many; both ends stay."""
    count = len(curve.kept)
    places = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))
    return [
        RiskPoint(
            threshold=float(curve.thresholds[k]),
            coverage=float(curve.coverage[k]),
            risk=float(curve.risk[k]),
        )
        for k in places
    ]
