"""Bootstrap intervals: how much a number depends on which images happen to be in the test set.

Images are drawn with replacement within each class, so that every draw has as many images of a
class as the test set: seewhy's test sets are drawn class by class, and so is the paper's. A
draw is a weight an image, how often it was drawn; whatever can be written with weights gets an
interval. The same labels and seed give the same draws, which keeps stages and backbones paired.
This module knows nothing of metrics or records on disk.

References
----------
B. Efron, R. Tibshirani. An Introduction to the Bootstrap. Chapman & Hall, 1993 (chapter 13: the
percentile interval; section 8.4 and chapter 10: resampling as the data were sampled, bias).
A. Davison, D. Hinkley. Bootstrap Methods and their Application. Cambridge, 1997 (section 5.2: the
basic interval).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seewhy.storage.schemas.base import Interval

DRAWS = 1000
# Draws are made in blocks of about so many weights, so that memory stays small.
_BLOCK = 4_000_000
Weights = NDArray[np.float64]
Kind = Literal["percentile", "basic"]


def weights(
    strata: NDArray[np.int64], draws: int = DRAWS, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """Draw images with replacement within each stratum; yield how often each was drawn.

    Parameters
    ----------
    strata : ndarray of int64, (N,)
        The class of each image.
    draws : int, default 1000
    seed : int, default 0

    Yields
    ------
    ndarray of float64, (B, N)
        Blocks of draws, `draws` in all; whole numbers.
    """
    rng = np.random.default_rng(seed)
    total = len(strata)
    order = np.argsort(strata, kind="stable")
    _, first, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    low, high = np.repeat(first, sizes), np.repeat(first + sizes, sizes)
    step = max(1, _BLOCK // max(1, total))
    for start in range(0, draws, step):
        block = min(step, draws - start)
        chosen = order[rng.integers(low, high, (block, total))]
        flat = chosen + total * np.arange(block)[:, None]
        counts = np.bincount(flat.ravel(), minlength=block * total)
        yield counts.reshape(block, total).astype(np.float64)


def bootstrap(
    statistics: Callable[[Weights], NDArray[np.float64]],
    strata: NDArray[np.int64],
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Work several numbers out for the test set itself and for every draw.

    Parameters
    ----------
    statistics : callable
        Takes weights (B, N) and returns (B, M): M numbers for each row of weights.
    strata, draws, seed
        As for `weights`.

    Returns
    -------
    values : ndarray of float64, (M,)
    drawn : ndarray of float64, (draws, M)
    """
    values = statistics(np.ones((1, len(strata))))[0]
    return values, np.concatenate([statistics(block) for block in weights(strata, draws, seed)])


def interval(value: float, drawn: ArrayLike, kind: Kind = "percentile") -> Interval:
    """Return a number with the 95 % interval of its draws.

    Parameters
    ----------
    value : float
    drawn : array-like of float, (draws,)
    kind : {"percentile", "basic"}, default "percentile"
        ``percentile``: the draws' 2.5 % and 97.5 % quantiles. ``basic``: these mirrored at the
        value, for numbers of at least 0 that every draw makes larger, such as a calibration
        error; it never goes below 0.
    """
    low, high = np.quantile(np.asarray(drawn, dtype=np.float64), (0.025, 0.975))
    if kind == "basic":
        low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
    return Interval(value=float(value), low=float(low), high=float(high))


def mean_interval(
    values: ArrayLike, strata: NDArray[np.int64], draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the mean over images with its 95 % percentile interval.

    Parameters
    ----------
    values : array-like of float, (N,)
        One an image; for a paired difference, the images' differences.
    strata, draws, seed
        As for `weights`.
    """
    return mean_intervals([values], strata, draws, seed)[0]


def mean_intervals(
    values: Sequence[ArrayLike], strata: NDArray[np.int64], draws: int = DRAWS, seed: int = 0
) -> list[Interval]:
    """Return `mean_interval` of several values an image, all from the same draws."""
    each = np.stack([np.asarray(one, dtype=np.float64) for one in values], axis=1)  # (N, M)
    means, drawn = bootstrap(lambda w: w @ each / len(each), strata, draws, seed)
    return [interval(float(mean), one) for mean, one in zip(means, drawn.T, strict=True)]
