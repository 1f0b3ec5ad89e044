"""One number for the maps beside the same for maps that know nothing: paired, with a verdict.

Plain numbers in, plain numbers out; knows nothing of maps, networks or PyTorch, so that a record
made of these can be written as JSON and read anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seewhy.statistics.bootstrap import Interval, mean_interval

Good = Literal["low", "high", "neither"]

# Below this many images a percentile interval is far too narrow to say anything.
FEWEST_IMAGES = 10


@dataclass(frozen=True)
class MapMeasure:
    """One number for the maps, beside the same number for maps that know nothing.

    Attributes
    ----------
    good : {"low", "high", "neither"}
        Which direction speaks for the maps.
    images : int
        Images it is a mean over.
    maps, random, gaussian : Interval
        For the maps, for random maps (a mean over several an image), for a centred Gaussian.
    versus_random, versus_gaussian : Interval
        Difference of the maps to these, paired image by image.
    verdict, gaussian_verdict : str
        ``better than random`` (``… than a centred Gaussian``) where the paired interval is
        wholly on the good side of zero, else ``no better than …``; ``too few images`` (or
        ``groups``, where whole groups are drawn) below ten; ``no good direction`` where neither
        is good.
    """

    good: Good
    images: int
    maps: Interval
    random: Interval
    gaussian: Interval
    versus_random: Interval
    versus_gaussian: Interval
    verdict: str
    gaussian_verdict: str


def compare(
    maps: ArrayLike,
    random: ArrayLike,
    gaussian: ArrayLike,
    good: Good,
    seed: int = 0,
    draws: int = 2000,
    strata: NDArray[np.int64] | None = None,
    clusters: NDArray[np.int64] | None = None,
) -> MapMeasure:
    """Set the maps' values beside those of random maps and of a centred Gaussian.

    Parameters
    ----------
    maps, gaussian : array-like of float, (N,)
    random : array-like of float, (N, R)
        R random maps an image.
    good : {"low", "high", "neither"}
    seed, draws, strata, clusters
        As for `seewhy.statistics.bootstrap.mean_interval`.
    """
    ours, centre = np.asarray(maps, np.float64), np.asarray(gaussian, np.float64)
    chance = np.asarray(random, np.float64).mean(axis=1)
    each = [
        mean_interval(values, strata, draws, seed, clusters)
        for values in (ours, chance, centre, ours - chance, ours - centre)
    ]
    units, unit = (len(ours), "images") if clusters is None else (len(set(clusters)), "groups")
    return MapMeasure(
        good=good,
        images=len(ours),
        maps=each[0],
        random=each[1],
        gaussian=each[2],
        versus_random=each[3],
        versus_gaussian=each[4],
        verdict=judge(each[3], good, units, "random", unit),
        gaussian_verdict=judge(each[4], good, units, "a centred Gaussian", unit),
    )


def judge(difference: Interval, good: Good, units: int, than: str, unit: str = "images") -> str:
    """Say whether a paired difference is wholly on the good side of zero.

    `units` are how many images, or groups of them, the interval was drawn from.
    """
    if good == "neither":
        return "no good direction"
    if units < FEWEST_IMAGES:
        return f"too few {unit}"
    better = difference.high < 0 if good == "low" else difference.low > 0
    return f"{'better' if better else 'no better'} than {than}"
