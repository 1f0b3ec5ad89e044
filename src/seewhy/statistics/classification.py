"""Measures of a classifier's answers: what accuracy hides where one class is rare.

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

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seewhy.statistics.bootstrap import Weights

Measures = dict[str, NDArray[np.float64]]
# Of all other measures a higher value is better.
LOWER_IS_BETTER = ("log_loss", "mean_absolute_error")
OF_ORDERED_CLASSES = ("quadratic_kappa", "mean_absolute_error")


def measure(
    name: str,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    degrees: Sequence[int] = (),
) -> float:
    """Compute one measure, in which all images count alike.

    Parameters
    ----------
    name : str
        ``accuracy``, ``macro_f1``, or a measure of `measures` or `ordered_measures`.
    labels, predicted : ndarray of int64, (N,)
    probabilities : ndarray of float64, (N, K)
    degrees : sequence of int, length K
        The places of the classes in their order; for measures of ordered classes.

    Returns
    -------
    float
        NaN where it is not defined. Means over classes leave out those without any image.

    Examples
    --------
    >>> labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    >>> measure("accuracy", labels, predicted, np.eye(2)[predicted])
    0.75
    >>> round(measure("balanced_accuracy", labels, predicted, np.eye(2)[predicted]), 4)
    0.8333
    """
    if name == "accuracy":
        return float((labels == predicted).mean())
    classes, weight = probabilities.shape[1], np.ones((1, len(labels)))
    if name == "macro_f1":
        return _macro_f1(labels, predicted, classes)
    if name in OF_ORDERED_CLASSES:
        places = np.asarray(degrees)
        return float(ordered_measures(places[labels], places[predicted], weight)[name][0])
    if name == "log_loss":
        return float(log_loss(labels, probabilities, weight)[0])
    if name in ("auroc", "average_precision"):
        which = ("auroc", "average_precision").index(name)
        rows = [ranking(labels == k, probabilities[:, k], weight)[which] for k in range(classes)]
        return float(_defined_mean(np.stack(rows))[0])
    return float(_of_answers(labels, predicted, classes, weight, None)[name][0])


def measures(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    weight: Weights,
    positive: int | None = None,
) -> Measures:
    """Compute every measure for each row of weights.

    Parameters
    ----------
    labels, predicted : ndarray of int64, (N,)
    probabilities : ndarray of float64, (N, K)
    weight : ndarray of float64, (B, N)
        Whole numbers: how often each image counts.
    positive : int, optional

    Returns
    -------
    dict of str to ndarray of float64, (B,)
        NaN where a measure is not defined. The measures of class k are ``auroc k`` and
        ``average_precision k``.
    """
    classes = probabilities.shape[1]
    found = _of_answers(labels, predicted, classes, weight, positive)
    ranked = [ranking(labels == k, probabilities[:, k], weight) for k in range(classes)]
    for name, rows in zip(("auroc", "average_precision"), zip(*ranked, strict=True), strict=True):
        found[name] = _defined_mean(np.stack(rows))
        found |= {f"{name} {k}": row for k, row in enumerate(rows)}
    if np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        found["log_loss"] = log_loss(labels, probabilities, weight)
    return found


def log_loss(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], weight: Weights
) -> NDArray[np.float64]:
    """Return the mean of −log p for each row of weights, of each label's probability p.

    Parameters
    ----------
    labels : ndarray of int64, (N,)
    probabilities : ndarray of float64, (N, K)
        Divided by their sum; of a probability of 0 the smallest number above it is taken.
    weight : ndarray of float64, (B, N)
    """
    tiny = np.finfo(np.float64).eps
    own = probabilities[np.arange(len(labels)), labels] / probabilities.sum(axis=1)
    mean = -(weight @ np.log(np.clip(own, tiny, 1 - tiny))) / weight.sum(axis=1)
    return np.asarray(mean)


def _macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    """Return the mean of 2 TP / (2 TP + FP + FN) over classes that are labelled or predicted."""
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    both = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


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


def _defined_mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of (M, B) over the M rows that are not NaN; NaN where all are."""
    known = np.isfinite(rows)
    count = known.sum(axis=0).astype(np.float64)
    return np.where(count > 0, _ratio(np.where(known, rows, 0).sum(axis=0), count), np.nan)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
