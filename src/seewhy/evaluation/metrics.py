"""How accurate a classifier is: accuracy, precision, recall, the confusion matrix, top-k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True)
class ClassificationScores:
    """What `score` finds; all rates are shares in 0 … 1.

    `precision` and `recall` are macro averages: each class counts the same, however many images it
    has. A class that is never predicted has precision 0, one that has no images recall 0.
    `confusion` (K, K) counts images; rows are true classes, columns predicted ones.
    """

    accuracy: float
    precision: float
    recall: float
    per_class_precision: dict[str, float]
    per_class_recall: dict[str, float]
    confusion: NDArray[np.int64]


def score(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> ClassificationScores:
    """Compare predictions with labels.

    Parameters
    ----------
    labels, predicted : ndarray of int64, (N,)
        Indices into `classes`, one per image; N at least 1.
    classes : sequence of str, length K

    Raises
    ------
    ValueError
        Where the two do not have the same length, are empty, or hold what is no index into
        `classes`.
    """
    if labels.shape != predicted.shape or labels.ndim != 1 or not labels.size:
        raise ValueError(
            "expected `labels` and `predicted` to be of one length, at least 1, "
            f"but got shapes {labels.shape} and {predicted.shape}"
        )
    indices = np.arange(len(classes))
    for name, values in (("labels", labels), ("predicted", predicted)):
        if not np.isin(values, indices).all():
            raise ValueError(
                f"expected `{name}` to hold indices below {len(classes)}, "
                f"but got {values.min()} … {values.max()}"
            )
    precision, recall, _, _ = precision_recall_fscore_support(
        labels, predicted, labels=indices, average=None, zero_division=0
    )
    return ClassificationScores(
        accuracy=float(accuracy_score(labels, predicted)),
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        per_class_precision=dict(zip(classes, precision.tolist(), strict=True)),
        per_class_recall=dict(zip(classes, recall.tolist(), strict=True)),
        confusion=confusion_matrix(labels, predicted, labels=indices).astype(np.int64),
    )


def places(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each image's label's place among its probabilities, 0 for the likeliest class.

    An image counts among the top k where its place is below k. Of equal probabilities the class
    with the lower index comes first, as in `numpy.argmax`.
    """
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & before)  # (N, K)
    return np.asarray(ahead.sum(axis=1), dtype=np.int64)
