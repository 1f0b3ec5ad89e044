"""How alike two maps of the same image are, and where their weight is.

Pure functions of arrays; this module knows no networks and no records on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from seewhy.statistics.bootstrap import DRAWS, Interval, mean_interval, mean_intervals
from seewhy.storage.schemas.comparison import MapAgreement, MapDifference, MapMovement

# The share of the places that counts as where a map looks.
HIGHEST = 0.2
SHOWN = 10
MapStack = NDArray[np.floating]


@dataclass(frozen=True)
class MapPair:
    """Two classifiers' maps (N, h, w) of the same images, each for the image's label.

    They are never negative, and the scale of an image's map does not matter.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    first: MapStack
    second: MapStack
    groups: NDArray[np.int64] | None = None  # (N,), see `Predictions`

    def clusters(self, kept: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the groups of some images, where there are groups."""
        return None if self.groups is None else self.groups[kept]

    def kept(self) -> NDArray[np.int64]:
        """Return the indices of the images that can be compared: neither map is flat."""
        kept = np.ones(len(self.ids), dtype=np.bool_)
        for maps in (self.first, self.second):
            flat = maps.reshape(len(maps), -1)
            kept &= flat.max(axis=1) > flat.min(axis=1)
        return np.flatnonzero(kept).astype(np.int64)


def resize(maps: MapStack, height: int, width: int) -> NDArray[np.float64]:
    """Resize maps (N, h, w) bilinearly, places as little squares (``align_corners=False``)."""
    down, across = _weights(maps.shape[1], height), _weights(maps.shape[2], width)
    return np.asarray(np.einsum("ih,nhw,jw->nij", down, maps.astype(np.float64), across))


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each row of two arrays (N, P) that are nowhere flat."""
    one, two = (values - values.mean(axis=1, keepdims=True) for values in (first, second))
    products = (one * two).sum(axis=1)
    lengths = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return np.asarray(np.clip(products / lengths, -1, 1))


def highest(maps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the highest fifth of each map's places, (N, P); never one at which it is 0.

    A map that is positive at fewer places has just those marked: which zeros came first would
    be an accident. Of equal values the earlier place counts as higher.
    """
    most = max(1, round(HIGHEST * maps.shape[1]))
    order = np.argsort(-maps, axis=1, kind="stable")[:, :most]
    marked = np.zeros(maps.shape, dtype=np.bool_)
    np.put_along_axis(marked, order, values=True, axis=1)
    return marked & (maps > 0)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return intersection over union of each row's marked places, (N,); 0 where none is."""
    both, either = (first & second).sum(axis=1), (first | second).sum(axis=1)
    return np.asarray(both / np.maximum(either, 1))


def overlap_by_chance(first: int, second: int, places: int) -> float:
    """Return what two random choices of places overlap on average.

    E[x / (a + b − x)], where the intersection x of a and b of M places is hypergeometric.
    """
    shared = np.arange(max(0, first + second - places), min(first, second) + 1)
    chance = stats.hypergeom.pmf(shared, places, first, second)
    return min(1.0, float((chance * shared / np.maximum(first + second - shared, 1)).sum()))


def agreement(
    pair: MapPair, classes: Sequence[str], seed: int = 0, draws: int = DRAWS
) -> MapAgreement:
    """Compare two classifiers' maps image by image, on the finer of their grids.

    Parameters
    ----------
    pair : MapPair
    classes : sequence of str
    seed, draws : int
        Of the bootstrap, and of the pairing of different images.
    """
    height, width = (max(pair.first.shape[k], pair.second.shape[k]) for k in (1, 2))
    kept = pair.kept()
    base = MapAgreement(
        images=len(kept),
        left_out=len(pair.ids) - len(kept),
        grid=(height, width),
    )
    if not len(kept):
        return base
    labels = pair.labels[kept]
    one, two = (
        resize(maps[kept], height, width).reshape(len(kept), -1)
        for maps in (pair.first, pair.second)
    )
    pearson = correlation(one, two)
    spearman = correlation(*(stats.rankdata(values, axis=1) for values in (one, two)))
    marked = highest(one), highest(two)
    shared = overlap(*marked)
    found = (pearson, spearman, shared)
    means = mean_intervals(found, labels, draws, seed, pair.clusters(kept))
    other = _other_images(one, two, marked, seed) if len(kept) > 1 else (None, None)
    return MapAgreement(
        images=base.images,
        left_out=base.left_out,
        grid=base.grid,
        pearson=means[0],
        spearman=means[1],
        overlap=means[2],
        overlap_by_chance=_mean_chance(*marked),
        pearson_other_image=other[0],
        overlap_other_image=other[1],
        classes=_class_means(pearson, labels, classes),
        least_alike=_least_alike(pair, kept, found, classes),
    )


def movement(
    pair: MapPair, classes: Sequence[str], seed: int = 0, draws: int = DRAWS
) -> MapMovement:
    """Say how maps moved from the first of a pair to the second.

    Parameters
    ----------
    pair : MapPair
    classes : sequence of str
    seed, draws : int
        Of the bootstrap.
    """
    base = MapMovement(agreement=agreement(pair, classes, seed, draws))
    kept = pair.kept()
    if not len(kept):
        return base
    labels = pair.labels[kept]
    moved = centres(pair.second[kept]) - centres(pair.first[kept])  # (N, 2)
    far = np.hypot(moved[:, 0], moved[:, 1])
    shift: Interval = mean_interval(far, labels, draws, seed, pair.clusters(kept))
    farthest = kept[np.argsort(-far, kind="stable")][:SHOWN]
    return base.model_copy(
        update={
            "shift": shift,
            "right": float(moved[:, 0].mean()),
            "down": float(moved[:, 1].mean()),
            "class_shift": _class_means(far, labels, classes),
            "most_moved": [pair.ids[k] for k in farthest],
        }
    )


def centres(maps: MapStack) -> NDArray[np.float64]:
    """Return the centre of mass of maps that are not empty, (N, 2).

    From the left and from the top, as shares of the image's width and height: a map that is the
    same everywhere has its centre at (0.5, 0.5).
    """
    mass = maps.astype(np.float64)
    height, width = mass.shape[1:]
    total = mass.sum(axis=(1, 2))
    left = mass.sum(axis=1) @ ((np.arange(width) + 0.5) / width)
    top = mass.sum(axis=2) @ ((np.arange(height) + 0.5) / height)
    return np.stack([left / total, top / total], axis=1)


def _weights(size: int, wanted: int) -> NDArray[np.float64]:
    """Return (wanted, size): how much each old place gives to each new one."""
    where = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    before = np.floor(where).astype(np.int64)
    after = np.minimum(before + 1, size - 1)
    found = np.zeros((wanted, size))
    rows = np.arange(wanted)
    np.add.at(found, (rows, before), 1 - (where - before))
    np.add.at(found, (rows, after), where - before)
    return found


def _mean_chance(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    sizes = np.stack([first.sum(axis=1), second.sum(axis=1)], axis=1)
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    chances = [overlap_by_chance(int(a), int(b), first.shape[1]) for a, b in kinds]
    return float(np.average(chances, weights=counts))


def _other_images(
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    marked: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    seed: int,
) -> tuple[float, float]:
    """Compare each image's first map with the second map of another image, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(one))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    pearson = correlation(one, two[other])
    return float(pearson.mean()), float(overlap(marked[0], marked[1][other]).mean())


def _class_means(
    values: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float]:
    return {
        name: float(values[labels == k].mean())
        for k, name in enumerate(classes)
        if (labels == k).any()
    }


def _least_alike(
    pair: MapPair,
    kept: NDArray[np.int64],
    found: tuple[NDArray[np.float64], ...],
    classes: Sequence[str],
) -> list[MapDifference]:
    pearson, spearman, shared = found
    lowest = np.argsort(pearson, kind="stable")[:SHOWN]
    return [
        MapDifference(
            id=pair.ids[kept[k]],
            label=classes[pair.labels[kept[k]]],
            pearson=float(pearson[k]),
            spearman=float(spearman[k]),
            overlap=float(shared[k]),
        )
        for k in lowest.tolist()
    ]
