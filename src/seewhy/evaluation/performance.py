"""One backbone on the test images: every headline number with its interval.

Predictions in, `Evaluation` out. This module knows no network, no images and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seewhy.evaluation.calibration import calibration, scale_temperature
from seewhy.evaluation.metrics import places, score
from seewhy.statistics.bootstrap import DRAWS, Interval, Weights, bootstrap, interval
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.evaluation import (
    ClassScores,
    ConfusionCell,
    Evaluation,
    StageEvaluation,
)
from seewhy.storage.schemas.predictions import Predictions

TOP = (2, 3, 5)


def evaluate(
    predictions: Mapping[Stage, Predictions],
    validation: Mapping[Stage, Predictions],
    baseline: Predictions | None,
    classes: Sequence[str],
    seed: int = 0,
    draws: int = DRAWS,
) -> Evaluation:
    """Evaluate a backbone's baseline, adaptation and fine-tuning on the test images.

    Parameters
    ----------
    predictions, validation : mapping of Stage to Predictions
        Of the test and of the validation images; a stage may lack the latter.
    baseline : Predictions or None
        Of the test images, where there is a baseline.
    classes : sequence of str, length K
    seed, draws : int
        Of the bootstrap; the test images are drawn alike for all backbones and stages.
    """
    return Evaluation(
        draws=draws,
        seed=seed,
        baseline=evaluate_stage(baseline, classes, seed, draws) if baseline else None,
        stages={
            stage: evaluate_stage(found, classes, seed, draws).model_copy(
                update={"temperature": scale_temperature(found, validation.get(stage), draws, seed)}
            )
            for stage, found in predictions.items()
        },
    )


def evaluate_stage(
    predictions: Predictions, classes: Sequence[str], seed: int = 0, draws: int = DRAWS
) -> StageEvaluation:
    """Evaluate one set of predictions.

    Parameters
    ----------
    predictions : Predictions
        Of N test images, at least one. Where they have groups, whole groups are drawn.
    classes : sequence of str, length K
    seed, draws : int
        Of the bootstrap.

    Returns
    -------
    StageEvaluation
        Without temperature scaling; without calibration where the rows of probabilities do not
        sum to 1, as a baseline's group scores may not.
    """
    labels, probabilities = predictions.labels, predictions.probabilities
    scores = score(labels, predictions.predicted, classes)
    tops = [k for k in TOP if k < len(classes)]
    statistics = _statistics(predictions, len(classes), tops)
    values, drawn = bootstrap(statistics, labels, draws, seed, predictions.groups)
    found = [interval(float(v), d) for v, d in zip(values, drawn.T, strict=True)]
    heads, top, rest = found[:4], found[4 : 4 + len(tops)], found[4 + len(tops) :]
    sums_to_one = bool(np.allclose(probabilities.sum(axis=1, dtype=np.float64), 1, atol=1e-3))
    calibrated = (
        calibration(labels, probabilities, draws, seed, predictions.groups) if sums_to_one else None
    )
    return StageEvaluation(
        images=len(predictions.ids),
        accuracy=heads[0],
        precision=heads[1],
        recall=heads[2],
        f1=heads[3],
        top=dict(zip(tops, top, strict=True)),
        classes=_class_scores(scores.confusion, classes, rest),
        confusion=confusion_cells(scores.confusion, classes),
        calibration=calibrated,
    )


def confusion_cells(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[ConfusionCell]:
    """Return the cells of a confusion matrix (K, K) that are not empty, row by row."""
    totals = confusion.sum(axis=1)
    return [
        ConfusionCell(
            label=classes[row],
            predicted=classes[column],
            images=int(confusion[row, column]),
            rate=float(confusion[row, column] / totals[row]),
        )
        for row, column in np.argwhere(confusion).tolist()
    ]


def _statistics(
    predictions: Predictions, classes: int, tops: Sequence[int]
) -> Callable[[Weights], NDArray[np.float64]]:
    """Return the function from weights to accuracy, macro means, top-k and class scores.

    Its numbers are in this order: accuracy, macro precision, recall and F1, the top-k, then each
    class's precision, each class's recall, each class's F1.
    """
    labels, predicted = predictions.labels, predictions.predicted
    right = labels == predicted
    of_label = _indicator(labels, classes)
    of_predicted = _indicator(predicted, classes)
    hits = _indicator(labels, classes, right)
    among = np.stack([right, *(places(labels, predictions.probabilities) < k for k in tops)])

    def statistics(weight: Weights) -> NDArray[np.float64]:
        columns = weight.T  # (N, B)
        hit, images, answers = hits @ columns, of_label @ columns, of_predicted @ columns  # (K, B)
        recall, precision = _ratio(hit, images), _ratio(hit, answers)
        f1 = _ratio(2 * hit, images + answers)
        shares = among @ columns / weight.sum(axis=1)  # (1 + tops, B)
        macro = np.stack([precision.mean(axis=0), recall.mean(axis=0), f1.mean(axis=0)])
        return np.concatenate([shares[:1], macro, shares[1:], precision, recall, f1]).T

    return statistics


def _indicator(
    groups: NDArray[np.int64], count: int, counts: NDArray[np.bool_] | None = None
) -> sparse.csr_array:
    """Return (count, N): 1 where an image is in a group, and `counts`."""
    values = np.ones(len(groups)) if counts is None else counts.astype(np.float64)
    return sparse.csr_array((values, (groups, np.arange(len(groups)))), shape=(count, len(groups)))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _class_scores(
    confusion: NDArray[np.int64], classes: Sequence[str], found: Sequence[Interval]
) -> dict[str, ClassScores]:
    count = len(classes)
    precision, recall, f1 = found[:count], found[count : 2 * count], found[2 * count :]
    images, answers = confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist()
    return {
        name: ClassScores(
            images=images[k],
            predicted=answers[k],
            precision=precision[k],
            recall=recall[k],
            f1=f1[k],
        )
        for k, name in enumerate(classes)
    }
