"""Measures for classes of unequal sizes and costs: what accuracy hides where one class is rare.

Every measure is written with a weight per image, so that a bootstrap draw costs a few sums. With
equal weights each is scikit-learn's, which the tests hold it against.

References
----------
J. Cohen. A Coefficient of Agreement for Nominal Scales. Educational and Psychological Measurement
20, 1960 (kappa).
J. Gorodkin. Comparing two K-category assignments by a K-category correlation coefficient.
Computational Biology and Chemistry 28, 2004 (Matthews' correlation of more than two classes).
J. Davis, M. Goadrich. The Relationship Between Precision-Recall and ROC Curves. ICML 2006.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seewhy.statistics.bootstrap import DRAWS, Interval, Weights, bootstrap, interval
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.imbalance import ClassRanking, Imbalance, ImbalanceScores
from seewhy.storage.schemas.predictions import Predictions

# Ranking a class costs a pass over the images per draw: large studies draw less often.
FEWEST_DRAWS, MOST_PASSES = 200, 1_000_000_000
Measures = dict[str, NDArray[np.float64]]


def imbalance(
    predictions: Mapping[Stage, Predictions],
    baseline: Predictions | None,
    classes: Sequence[str],
    positive: int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    order: Sequence[str] | None = None,
) -> Imbalance:
    """Measure a backbone's baseline, adaptation and fine-tuning on the test images.

    Parameters
    ----------
    predictions : mapping of Stage to Predictions
        Of N test images.
    baseline : Predictions or None
        Of the test images, where there is a baseline.
    classes : sequence of str, length K
    positive : int, optional
        The positive class of two; default: no sensitivity and specificity.
    seed, draws : int
        Of the bootstrap; where N · K is large, at least 200 draws are made.
    order : sequence of str, optional
        The classes from the lowest to the highest, where they are ordered.
    """
    degrees = None if order is None else np.array([order.index(name) for name in classes])
    images = max((len(one.ids) for one in predictions.values()), default=0)
    draws = min(draws, max(FEWEST_DRAWS, MOST_PASSES // max(1, images * len(classes))))
    return Imbalance(
        draws=draws,
        seed=seed,
        positive=None if positive is None else classes[positive],
        order=None if order is None else list(order),
        baseline=(
            imbalance_scores(baseline, classes, positive, seed, draws, degrees)
            if baseline
            else None
        ),
        stages={
            stage: imbalance_scores(found, classes, positive, seed, draws, degrees)
            for stage, found in predictions.items()
        },
    )


def imbalance_scores(
    predictions: Predictions,
    classes: Sequence[str],
    positive: int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    degrees: NDArray[np.int64] | None = None,
) -> ImbalanceScores:
    """Measure one set of predictions of N test images, at least one.

    `degrees` (K,) are the places of the classes in their order, where they are ordered.

    Returns
    -------
    ImbalanceScores
        A measure that the images do not define is None.
    """
    names: list[str] = []

    def statistics(weight: Weights) -> NDArray[np.float64]:
        found = measures(predictions, len(classes), weight, positive)
        if degrees is not None:
            labels, predicted = degrees[predictions.labels], degrees[predictions.predicted]
            found |= ordered_measures(labels, predicted, weight)
        names[:] = found
        return np.stack(list(found.values()), axis=1)

    values, drawn = bootstrap(statistics, predictions.labels, draws, seed, predictions.groups)
    found = {
        name: _interval(float(value), column)
        for name, value, column in zip(names, values, drawn.T, strict=True)
    }
    images = np.bincount(predictions.labels, minlength=len(classes)).tolist()
    rankings = {
        name: ClassRanking(
            images=images[k],
            auroc=found.pop(f"auroc {k}"),
            average_precision=found.pop(f"average_precision {k}"),
        )
        for k, name in enumerate(classes)
    }
    return ImbalanceScores.model_validate(
        {"images": len(predictions.ids), "classes": rankings, **found}
    )


def rarer_class(labels: NDArray[np.int64], classes: int) -> int | None:
    """Return the class with fewer of two classes' images, the second of equal ones.

    None where there are not two classes.
    """
    if classes != 2:
        return None
    images = np.bincount(labels, minlength=2)
    return 0 if images[0] < images[1] else 1


def measures(
    predictions: Predictions, classes: int, weight: Weights, positive: int | None = None
) -> Measures:
    """Compute every measure for each row of weights.

    Parameters
    ----------
    predictions : Predictions
        Of N images.
    classes : int
        K.
    weight : ndarray of float64, (B, N)
        Whole numbers: how often each image counts.
    positive : int, optional

    Returns
    -------
    dict of str to ndarray of float64, (B,)
        NaN where a measure is not defined. The measures of class k are ``auroc k`` and
        ``average_precision k``.
    """
    labels, probabilities = predictions.labels, predictions.probabilities.astype(np.float64)
    found = _of_answers(labels, predictions.predicted, classes, weight, positive)
    ranked = [ranking(labels == k, probabilities[:, k], weight) for k in range(classes)]
    for name, rows in zip(("auroc", "average_precision"), zip(*ranked, strict=True), strict=True):
        found[name] = _defined_mean(np.stack(rows))
        found |= {f"{name} {k}": row for k, row in enumerate(rows)}
    sums = probabilities.sum(axis=1)
    if np.allclose(sums, 1, atol=1e-3):
        tiny = np.finfo(np.float64).eps
        own = probabilities[np.arange(len(labels)), labels] / sums
        found["log_loss"] = -(weight @ np.log(np.clip(own, tiny, 1 - tiny))) / weight.sum(axis=1)
    return found


def ordered_measures(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], weight: Weights
) -> Measures:
    """Compute quadratically weighted kappa and mean absolute error for each row of weights.

    Both come from moments: the disagreement that chance would show is the mean squared difference
    of a label and the prediction of another image.

    Parameters
    ----------
    labels, predicted : ndarray of int64, (N,)
        Places in the order of the classes.
    weight : ndarray of float64, (B, N)

    Examples
    --------
    >>> places = np.array([0, 1, 2])
    >>> ordered_measures(places, places, np.ones((1, 3)))["quadratic_kappa"]
    array([1.])
    """
    total, difference = weight.sum(axis=1), (labels - predicted).astype(np.float64)
    means = (weight @ labels) * (weight @ predicted) / total
    chance = weight @ (labels**2 + predicted**2) - 2 * means
    observed = weight @ difference**2
    # Whole numbers but for the division by the total.
    defined = chance > 1e-9 * total
    return {
        "quadratic_kappa": np.where(defined, 1 - _ratio(observed, chance), np.nan),
        "mean_absolute_error": weight @ np.abs(difference) / total,
    }


def ranking(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weight: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return area under the ROC curve and average precision for each row of weights.

    Parameters
    ----------
    positive : ndarray of bool, (N,)
    scores : ndarray of float64, (N,)
        Higher for images that are more likely positive; equal scores count half.
    weight : ndarray of float64, (B, N)

    Returns
    -------
    auroc, average_precision : ndarray of float64, (B,)
        NaN where there is no positive or no negative image.

    Examples
    --------
    >>> ranking(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), np.ones((1, 3)))[0]
    array([0.5])
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of equal scores
    columns = weight[:, order]
    hits = np.cumsum(columns * positive[order], axis=1)[:, last]  # (B, thresholds)
    answers = np.cumsum(columns, axis=1)[:, last]
    alarms = answers - hits
    before = np.zeros((len(weight), 1))
    rise, run = (np.diff(one, axis=1, prepend=before) for one in (hits, alarms))
    area = (run * (hits - rise / 2)).sum(axis=1)
    precision = (rise * _ratio(hits, answers)).sum(axis=1)
    positives, negatives = hits[:, -1], alarms[:, -1]
    both = (positives > 0) & (negatives > 0)
    return (
        np.where(both, _ratio(area, positives * negatives), np.nan),
        np.where(both, _ratio(precision, positives), np.nan),
    )


def _of_answers(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: int,
    weight: Weights,
    positive: int | None,
) -> Measures:
    """Compute what depends on the predicted classes alone, from each class's counts."""
    rows = np.arange(len(labels))
    ones = np.ones(len(labels))
    shape = (len(labels), classes)
    images = weight @ sparse.csr_array((ones, (rows, labels)), shape=shape)  # (B, K)
    answers = weight @ sparse.csr_array((ones, (rows, predicted)), shape=shape)
    right = (labels == predicted).astype(np.float64)
    hits = weight @ sparse.csr_array((right, (rows, labels)), shape=shape)
    recall = np.where(images > 0, _ratio(hits, images), np.nan)
    total, agreed = weight.sum(axis=1), hits.sum(axis=1)
    chance = (images * answers).sum(axis=1)
    spread = [total**2 - (one**2).sum(axis=1) for one in (images, answers)]
    possible = total**2 - chance
    found = {
        "balanced_accuracy": _defined_mean(recall.T),
        "kappa": np.where(possible > 0, _ratio(agreed * total - chance, possible), np.nan),
        "matthews": _ratio(agreed * total - chance, np.sqrt(spread[0] * spread[1])),
    }
    if positive is not None:
        found |= {"sensitivity": recall[:, positive], "specificity": recall[:, 1 - positive]}
    return found


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval | None:
    """Return a value with the interval of the draws that define it; None where it is NaN."""
    if not np.isfinite(value):
        return None
    return interval(value, drawn[np.isfinite(drawn)])


def _defined_mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of (M, B) over the M rows that are not NaN; NaN where all are."""
    known = np.isfinite(rows)
    count = known.sum(axis=0).astype(np.float64)
    return np.where(count > 0, _ratio(np.where(known, rows, 0).sum(axis=0), count), np.nan)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
