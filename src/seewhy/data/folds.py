"""The training and validation images in k folds, each held out once; and the same images again.

A fold is for scoring alone. What stops the training early is a share of the other folds, as in
the study itself: were it the fold, its score would be the best of many epochs. The draw depends
on labels, duplicates and the seed, never on a backbone: all of a study have the same folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from seewhy.errors import DataError
from seewhy.records import Dataset, Split

# Folds of the out-of-fold predictions where the configuration asks for none.
USUAL = 5


@dataclass(frozen=True)
class Repetition:
    """One training of the stages again.

    Attributes
    ----------
    name : str
        ``fold 1``, ``seed 7``.
    seed : int
        Of the head's first weights, the order of the images and dropout.
    data : Dataset
        The study's images, divided for this training; a fold that is held out counts as test
        images here.
    held_out : ndarray of int64, (M,)
        The fold's images, ascending; empty where another seed is all that is new.
    """

    name: str
    seed: int
    data: Dataset
    held_out: NDArray[np.int64]


def fold_repetitions(
    data: Dataset, folds: int, validation: float, seed: int
) -> tuple[Repetition, ...]:
    """Hold out each of k folds of the training and validation images once.

    Parameters
    ----------
    data : Dataset
    folds : int
        k; see `most_folds`.
    validation : float
        Share of each class's other images that stops the training early, at least one image.
    seed : int
        Of the draw and of the trainings: folds differ by their images alone.

    Raises
    ------
    DataError
        See `check_folds`.
    """
    check_folds(data, folds)
    pool = _pool(data)
    groups = _groups(data, pool, folds)
    fold_of = draw_folds(data.labels[pool], folds, seed, groups)
    found = []
    for k in range(folds):
        splits: list[Split] = list(data.splits)
        rest = np.flatnonzero(fold_of != k)
        stops = _draw_stopping(data.labels[pool][rest], groups[rest], validation, (seed, k))
        for place in pool[fold_of == k]:
            splits[place] = "test"
        for place, stop in zip(pool[rest], stops, strict=True):
            splits[place] = "validation" if stop else "train"
        divided = replace(data, splits=tuple(splits))
        found.append(Repetition(f"fold {k + 1}", seed, divided, pool[fold_of == k]))
    return tuple(found)


def seed_repetitions(data: Dataset, seeds: Sequence[int]) -> tuple[Repetition, ...]:
    """Train on the study's own division again, with other seeds."""
    nothing = np.zeros(0, dtype=np.int64)
    return tuple(Repetition(f"seed {seed}", seed, data, nothing) for seed in seeds)


def draw_folds(
    labels: NDArray[np.int64], folds: int, seed: int, groups: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give every image its fold, stratified by class.

    Parameters
    ----------
    labels : ndarray of int64, (M,)
    folds : int
    seed : int
    groups : ndarray of int64, (M,)
        Equal numbers for images that stay together, -1 for any other. A group counts once, as an
        image of its first member's class.

    Returns
    -------
    ndarray of int64, (M,)
        0 … folds − 1.
    """
    units, firsts = _units(groups)
    fold_of = np.empty(len(firsts), dtype=np.int64)
    draw = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for k, (_, held_out) in enumerate(draw.split(firsts, labels[firsts])):
        fold_of[held_out] = k
    return fold_of[units]


def check_folds(data: Dataset, folds: int) -> None:
    """Refuse more folds than the smallest class has images for.

    Raises
    ------
    DataError
        Where a training would be left with less than two images of a class, one to train on and
        one to stop by.
    """
    counts = _counts(data)
    name, count = min(counts.items(), key=lambda item: item[1])
    if folds and not _divisible(count, folds):
        raise DataError(
            f"{data.source}: class {name!r} has {count} training and validation images, too few "
            f"for data.folds = {folds}; {_at_most(count)}, or add some images"
        )


def most_folds(data: Dataset, wanted: int = USUAL) -> int:
    """Return the most folds, up to `wanted`, that every class has images for; 0 for none."""
    count = min(_counts(data).values())
    return next((k for k in range(wanted, 1, -1) if _divisible(count, k)), 0)


def division_key(repetitions: Sequence[Repetition]) -> str:
    """Return what is equal for equal folds of equal images: figures over them are paired."""
    parts = [
        (one.name, one.data.ids, one.data.labels.tolist(), one.data.splits, one.held_out.tolist())
        for one in repetitions
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _pool(data: Dataset) -> NDArray[np.int64]:
    return np.flatnonzero(np.asarray(data.splits) != "test").astype(np.int64)


def _counts(data: Dataset) -> dict[str, int]:
    """Return each class's training and validation images."""
    numbers = np.bincount(data.labels[_pool(data)], minlength=len(data.classes))
    return dict(zip(data.classes, numbers.tolist(), strict=True))


def _divisible(count: int, folds: int) -> bool:
    """Tell whether two of `count` images are left beside the largest fold."""
    return folds <= count and count - -(-count // folds) >= 2


def _at_most(count: int) -> str:
    most = next((k for k in range(count, 1, -1) if _divisible(count, k)), 0)
    return f"expected at most {most}" if most else "three are the fewest; take the class out"


def _groups(data: Dataset, pool: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Return the duplicates of the pool; a class that they leave indivisible is torn apart."""
    labels, alone = data.labels[pool], np.full(len(pool), -1, dtype=np.int64)
    groups = alone if data.groups is None else data.groups[pool].copy()
    while True:
        _, firsts = _units(groups)
        counts = np.bincount(labels[firsts], minlength=len(data.classes))
        lacking = [k for k, count in enumerate(counts.tolist()) if not _divisible(count, folds)]
        torn = np.unique(groups[np.isin(labels, lacking)])
        if not (torn >= 0).any():
            return groups
        groups[np.isin(groups, torn)] = -1


def _units(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of what each image moves with, (M,), and the first image of each."""
    own = -2 - np.arange(len(groups))
    keys = np.where(groups >= 0, groups, own)
    _, firsts, units = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(firsts), dtype=np.int64)
    rank[order] = np.arange(len(firsts))
    return rank[units], firsts[order].astype(np.int64)


def _draw_stopping(
    labels: NDArray[np.int64], groups: NDArray[np.int64], share: float, seed: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which images (M,) stop the training early: a share of each class, never all of it."""
    units, firsts = _units(groups)
    chosen = np.zeros(len(firsts), dtype=bool)
    for label in np.unique(labels[firsts]).tolist():
        mine = np.flatnonzero(labels[firsts] == label)
        count = min(max(1, round(share * len(mine))), len(mine) - 1)
        chosen[np.random.default_rng((*seed, label)).permutation(mine)[:count]] = True
    return chosen[units]
