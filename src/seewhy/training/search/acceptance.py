"""Whether what a search found is better than what is configured, beyond chance.

Validation images have chosen it, so they cannot say: the best of many on a hundred images is often
the luckiest. Both are trained on folds of the training and validation images, and judged on what
the folds hold out. What is trained, the caller says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.config import Metric
from seewhy.errors import DataError, first_line
from seewhy.statistics.bootstrap import Interval, bootstrap, interval
from seewhy.statistics.classification import measure
from seewhy.storage.schemas.search import FoldComparison
from seewhy.storage.titles import METRIC_TITLES
from seewhy.training.trainer import goodness
from seewhy.wording import signed

FOLDS = 3
# Draws of the interval; each computes the metric of all images again.
DRAWS = 400


@dataclass(frozen=True)
class HeldOut:
    """What two classifiers say of the same images, neither trained on them.

    Attributes
    ----------
    labels : ndarray of int64, (N,)
    configured, best : ndarray of float, (N, K)
        Probabilities.
    clusters : ndarray of int64, (N,), optional
        Images that depend on each other have equal numbers.
    degrees : tuple of int
        The places of ordered classes.
    """

    labels: NDArray[np.int64]
    configured: NDArray[np.float64]
    best: NDArray[np.float64]
    clusters: NDArray[np.int64] | None = None
    degrees: tuple[int, ...] = ()


def judge(compare: Callable[[], HeldOut], metric: Metric, seed: int, what: str) -> FoldComparison:
    """Accept what a search found only if it is better than what is configured, beyond chance.

    Parameters
    ----------
    compare : callable
        Trains both on the folds. Where it raises DataError, since the images cannot be divided
        into folds, what is configured stays.
    metric : str
        What "better" means.
    seed : int
        Of the bootstrap.
    what : str
        What was searched, for the reason: ``settings`` or ``head``.
    """
    stay = f"the configured {what} {'stay' if what.endswith('s') else 'stays'}"
    try:
        held_out = compare()
    except DataError as error:
        reason = f"{stay}, since no folds could judge the best candidate: {first_line(error)}"
        return FoldComparison(accepted=False, reason=reason)
    images = len(held_out.labels)
    difference = metric_difference(held_out, metric, seed)
    by = (
        f"{signed(difference.value, 3)} ({signed(difference.low, 3)} to "
        f"{signed(difference.high, 3)}) in {METRIC_TITLES[metric]} on {images:,} images "
        f"that {FOLDS} folds held out"
    )
    accepted = difference.low > 0
    if accepted:
        reason = f"the best candidate was better than the configured {what}: {by}"
    else:
        reason = f"the best candidate was not better beyond chance, so {stay}: {by}"
    return FoldComparison(
        accepted=accepted, difference=difference, folds=FOLDS, images=images, reason=reason
    )


def metric_difference(held_out: HeldOut, metric: Metric, seed: int) -> Interval:
    """Return by how much the best candidate is better, with a 95 % bootstrap interval.

    Whole clusters are drawn where there are any. Positive: better, whatever the metric.
    """

    def better(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = []
        for row in weights:
            drawn = np.repeat(np.arange(len(row)), row.astype(np.int64))
            values = [
                goodness(metric, _value(metric, held_out, each[drawn], drawn))
                for each in (held_out.configured, held_out.best)
            ]
            found.append(values[1] - values[0])
        return np.array(found)[:, None]

    values, drawn = bootstrap(better, held_out.labels, DRAWS, seed, held_out.clusters)
    return interval(float(values[0]), drawn[:, 0])


def _value(
    metric: Metric, held_out: HeldOut, shares: NDArray[np.float64], drawn: NDArray[np.int64]
) -> float:
    predicted = shares.argmax(axis=1)
    return measure(metric, held_out.labels[drawn], predicted, shares, held_out.degrees)
