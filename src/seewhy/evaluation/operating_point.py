"""An operating point for two classes: the threshold that reaches what a use demands.

A classifier of two classes answers "positive" from a probability of 0.5 on. Where a missed
positive costs more than a false alarm, another threshold is right. It is chosen on the validation
images and measured on the test images, which choose nothing.

References
----------
T. Fawcett. An introduction to ROC analysis. Pattern Recognition Letters 27, 2006.
E. B. Wilson. Probable Inference, the Law of Succession, and Statistical Inference. Journal of the
American Statistical Association 22, 1927.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from seewhy.config import OperatingTarget
from seewhy.statistics.bootstrap import share_interval
from seewhy.storage.schemas.imbalance import OperatingPoint, ThresholdRates
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import count, share

DEFAULT_THRESHOLD = 0.5
# A drawn curve has no more points than this.
MOST_POINTS = 400


@dataclass(frozen=True)
class RankingCurves:
    """The ROC and the precision-recall curve, and the share of positive images.

    All arrays are float64: `false_alarms` and `sensitivity` (P,), `recall` and `precision` (Q,).
    """

    false_alarms: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    prevalence: float


def operating_point(
    target: OperatingTarget,
    validation: Predictions | None,
    test: Predictions,
    classes: Sequence[str],
    positive: int,
) -> OperatingPoint:
    """Choose a threshold on the validation images and measure it on the test images.

    Parameters
    ----------
    target : OperatingTarget
        The measure and the value that it has to reach.
    validation : Predictions or None
    test : Predictions
    classes : sequence of str, length 2
    positive : int
        Index of the positive class.
    """
    images = len(validation.ids) if validation else 0
    threshold = None
    if validation is not None and images:
        threshold = choose_threshold(
            validation.labels == positive, _scores(validation, positive), target
        )
    of, scores = test.labels == positive, _scores(test, positive)
    found = OperatingPoint(
        measure=target.measure,
        target=target.value,
        validation_images=images,
        threshold=threshold,
        usual=rates(of, scores, DEFAULT_THRESHOLD, test.groups),
        chosen=None if threshold is None else rates(of, scores, threshold, test.groups),
        sentence="",
    )
    sentence = _sentence(found, classes[positive])
    return found.model_copy(update={"sentence": sentence})


def choose_threshold(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], target: OperatingTarget
) -> float | None:
    """Return the threshold nearest to 0.5 that reaches the target; None where none does.

    An image is predicted as positive if its score is at least the threshold. Thresholds are 0.5
    and the middles between neighbouring scores.

    Parameters
    ----------
    positive : ndarray of bool, (N,)
    scores : ndarray of float64, (N,)
        Probabilities of the positive class.
    target : OperatingTarget

    Examples
    --------
    >>> scores = np.array([0.2, 0.4, 0.6])
    >>> target = OperatingTarget("sensitivity", 1.0)
    >>> choose_threshold(np.array([False, True, True]), scores, target)
    0.30000000000000004
    """
    known = np.unique(scores)
    top = (known[-1] + 1) / 2 if known[-1] < 1 else np.nextafter(1.0, 2.0)
    middles = (known[1:] + known[:-1]) / 2
    candidates = np.concatenate([[DEFAULT_THRESHOLD, 0.0], middles, [top]])
    candidates = candidates[np.argsort(np.abs(candidates - DEFAULT_THRESHOLD), kind="stable")]
    of, others = np.sort(scores[positive]), np.sort(scores[~positive])
    hits = len(of) - np.searchsorted(of, candidates)
    rejected = np.searchsorted(others, candidates)
    part, whole = {
        "sensitivity": (hits, np.full(len(hits), len(of))),
        "specificity": (rejected, np.full(len(hits), len(others))),
        "precision": (hits, hits + len(others) - rejected),
    }[target.measure]
    reached = (whole > 0) & (part >= target.value * whole - 1e-9)
    return float(candidates[reached.argmax()]) if reached.any() else None


def rates(
    positive: NDArray[np.bool_],
    scores: NDArray[np.float64],
    threshold: float,
    groups: NDArray[np.int64] | None = None,
) -> ThresholdRates:
    """Return sensitivity, specificity and precision at a threshold, with intervals.

    `groups` (N,) as for `seewhy.statistics.bootstrap.share_interval`.
    """
    answered = scores >= threshold
    found = {
        "sensitivity": (answered, positive),
        "specificity": (~answered, ~positive),
        "precision": (positive, answered),
    }
    return ThresholdRates.model_validate(
        {
            name: share_interval(right[among], None if groups is None else groups[among])
            for name, (right, among) in found.items()
        }
    )


def ranking_curves(predictions: Predictions, positive: int) -> RankingCurves | None:
    """Return the curves of the probability of the positive class, thinned for drawing.

    None where no image, or every image, is positive.
    """
    of, scores = predictions.labels == positive, _scores(predictions, positive)
    if of.all() or not of.any():
        return None
    false_alarms, sensitivity, _ = roc_curve(of, scores)
    precision, recall, _ = precision_recall_curve(of, scores)
    return RankingCurves(
        false_alarms=_thinned(false_alarms),
        sensitivity=_thinned(sensitivity),
        recall=_thinned(recall),
        precision=_thinned(precision),
        prevalence=float(of.mean()),
    )


def _scores(predictions: Predictions, positive: int) -> NDArray[np.float64]:
    return predictions.probabilities[:, positive].astype(np.float64)


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) <= MOST_POINTS:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, MOST_POINTS).round().astype(int)])


def _sentence(found: OperatingPoint, positive: str) -> str:
    wanted = f"{found.measure} {found.target:g}"
    where = f"the {count(found.validation_images, 'validation image')}"
    if found.threshold is None or found.chosen is None:
        return (
            f"No threshold reaches {wanted} for class {positive!r} on {where}, so the usual "
            f"threshold {DEFAULT_THRESHOLD} stays."
        )
    measured = getattr(found.chosen, found.measure)
    usual = getattr(found.usual, found.measure)
    beside = f" instead of {share(usual.value)} at {DEFAULT_THRESHOLD}" if usual else ""
    there = (
        f"{share(measured.value)} (95 % CI {share(measured.low)} to {share(measured.high)})"
        if measured
        else "not defined"
    )
    return (
        f"Predict {positive!r} from a probability of {found.threshold:.3g} on: on {where} this "
        f"reaches {wanted}; on the test images {found.measure} is {there}{beside}."
    )
