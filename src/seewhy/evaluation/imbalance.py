"""Measures for classes of unequal sizes and costs on the test images, with their intervals.

The measures are in `seewhy.statistics.classification`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.statistics.bootstrap import DRAWS, Interval, Weights, bootstrap, interval
from seewhy.statistics.classification import measures, ordered_measures
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.imbalance import ClassRanking, Imbalance, ImbalanceScores
from seewhy.storage.schemas.predictions import Predictions

# Ranking a class costs a pass over the images per draw: large studies draw less often.
FEWEST_DRAWS, MOST_PASSES = 200, 1_000_000_000


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
    predicted = predictions.predicted
    probabilities = predictions.probabilities.astype(np.float64)

    def statistics(weight: Weights) -> NDArray[np.float64]:
        found = measures(predictions.labels, predicted, probabilities, weight, positive)
        if degrees is not None:
            found |= ordered_measures(degrees[predictions.labels], degrees[predicted], weight)
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


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval | None:
    """Return a value with the interval of the draws that define it; None where it is NaN."""
    if not np.isfinite(value):
        return None
    return interval(value, drawn[np.isfinite(drawn)])
