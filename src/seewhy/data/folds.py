"""The training and validation images in k folds, each held out once; and the same images again.

A fold is for scoring alone. What stops the training early is a share of the other folds, as in
the study itself: were it the fold, its score would be the best of many epochs. The draw depends
on labels, duplicates and the seed, never on a backbone: all of a study have the same folds.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from seewhy.data.groups import column, group_folds, hold_out_groups
from seewhy.data.splits import fill, weightless_classes
from seewhy.errors import DataError
from seewhy.storage.schemas.dataset import Dataset, Split

# Folds of the out-of-fold predictions where the configuration asks for none.
USUAL = 5
# Values of a column that are left out one at a time, each a training of its own.
MOST_LEFT_OUT = 50
_OTHERWISE = "choose fewer with data.folds, or set data.keep_duplicates_together = false"


@dataclass(frozen=True)
class Repetition:
    """One training of the stages again."""

    name: str  # ``fold 1``, ``seed 7``
    seed: int  # of the head's first weights, the order of the images and dropout
    # The study's images, divided for this training; a fold that is held out counts as test
    # images here.
    data: Dataset
    # (M,): the fold's images, ascending; empty where another seed is all that is new.
    held_out: NDArray[np.int64]


def fold_repetitions(
    data: Dataset, folds: int, validation: float, seed: int
) -> tuple[Repetition, ...]:
    """Hold out each of k folds of the training and validation images once.

    `validation` is the share of each class's other images that stops the training early, at least
    one image. The seed is that of the draw and of the trainings: folds differ by their images
    alone. Raises DataError, see `check_folds`.
    """
    check_folds(data, folds, validation, seed)
    return _divided(data, folds, validation, seed)


def _divided(data: Dataset, folds: int, validation: float, seed: int) -> tuple[Repetition, ...]:
    pool = _pool(data)
    groups = _groups(data, pool)
    draw = group_folds if data.group_by else draw_folds
    fold_of = draw(data.labels[pool], groups=groups, folds=folds, seed=seed)
    return tuple(
        _hold_out(data, pool, groups, fold_of == k, f"fold {k + 1}", validation, (seed, k))
        for k in range(folds)
    )


def _hold_out(
    data: Dataset,
    pool: NDArray[np.int64],
    groups: NDArray[np.int64],
    held_out: NDArray[np.bool_],
    name: str,
    validation: float,
    seed: tuple[int, int],
) -> Repetition:
    """Hold out part of the pool; a share of the rest stops the training."""
    splits: list[Split] = list(data.splits)
    rest = np.flatnonzero(~held_out)
    labels = data.labels[pool][rest]
    stops = None
    if data.group_by:
        stops = hold_out_groups(labels, groups[rest], validation, seed[0] + seed[1])
    if stops is None:
        stops = _draw_stopping(labels, groups[rest], validation, seed)
    for place in pool[held_out]:
        splits[place] = "test"
    for place, stop in zip(pool[rest], stops, strict=True):
        splits[place] = "validation" if stop else "train"
    return Repetition(name, seed[0], replace(data, splits=tuple(splits)), pool[held_out])


def left_out_repetitions(
    data: Dataset, name: str, validation: float, seed: int
) -> tuple[Repetition, ...]:
    """Hold out all training and validation images of one value of a column at a time.

    Parameters
    ----------
    data : Dataset
    name : str
        A column of its metadata: each domain, hospital or camera is left out once.
    validation : float
        Share of each class's other images that stops the training early, at least one image.
    seed : int

    Raises
    ------
    DataError
        Where there is no such column, it has an empty cell or a single value, or where without
        one of the values a class has less than two images, one to train on and one to stop by, or
        none to train on with a weight above 0.
    """
    pool = _pool(data)
    cells = np.array(column(data.metadata, name, "data.leave_out", data.source))[pool]
    values = list(dict.fromkeys(cells.tolist()))
    if "" in values or len(values) < 2:
        has = "an empty cell" if "" in values else f"the single value {values[0]!r}"
        raise DataError(
            f"{data.source}: data.leave_out: column {name!r} has {has} among the training and "
            "validation images; expected at least two values, one for each image"
        )
    if len(values) > MOST_LEFT_OUT:
        raise DataError(
            f"{data.source}: data.leave_out: column {name!r} has {len(values):,} values; expected "
            f"at most {MOST_LEFT_OUT}, since each is a training (data.group with data.folds holds "
            "out several at a time)"
        )
    groups = _groups(data, pool)
    found = []
    for k, value in enumerate(sorted(values)):
        held_out = cells == value
        left = np.bincount(data.labels[pool][~held_out], minlength=len(data.classes))
        if left.min() < 2:
            raise DataError(
                f"{data.source}: data.leave_out: without {name} = {value!r} class "
                f"{data.classes[int(left.argmin())]!r} has {left.min()} training and validation "
                "images; expected at least two"
            )
        one = _hold_out(data, pool, groups, held_out, f"{name} {value}", validation, (seed, k))
        for lacking in weightless_classes(one.data):
            raise DataError(
                f"{data.source}: data.leave_out: without {name} = {value!r} class {lacking!r} has "
                "no training image with a weight above 0; choose another column, or change the "
                "weights"
            )
        found.append(one)
    return tuple(found)


def seed_repetitions(data: Dataset, seeds: Sequence[int]) -> tuple[Repetition, ...]:
    """Train on the study's own division again, with other seeds."""
    nothing = np.zeros(0, dtype=np.int64)
    return tuple(Repetition(f"seed {seed}", seed, data, nothing) for seed in seeds)


def draw_folds(
    labels: NDArray[np.int64], folds: int, seed: int, groups: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give every image its fold (M,), 0 … folds − 1, stratified by class.

    `groups` (M,) has equal numbers for images that stay together, -1 for any other. A group counts
    once, as an image of the rarest of its classes, and is never divided, however large it is.
    Raises DataError where groups across classes leave fewer units than folds of every class.
    """
    units, kinds = _units(labels, groups)
    fold_of = np.empty(len(kinds), dtype=np.int64)
    if np.bincount(kinds).max() < folds:
        raise DataError(
            f"duplicates across classes cannot stay in one of {folds} folds; {_OTHERWISE}"
        )
    draw = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class that is only in groups of another one has few units of its own.
        warnings.simplefilter("ignore", UserWarning)
        for k, (_, held_out) in enumerate(draw.split(kinds, kinds)):
            fold_of[held_out] = k
    return fold_of[units]


def check_folds(data: Dataset, folds: int, validation: float, seed: int) -> None:
    """Refuse more folds than the smallest class has images, or different pictures, for.

    The arguments are those of `fold_repetitions`; 0 folds are fine. Raises DataError where a fold
    would have no image of a class, or a training fewer than two: one to train on, one to stop by;
    and where all that a training has of a class weighs 0.
    """
    if not folds:
        return
    for (name, count), pictures in zip(_counts(data).items(), _pictures(data), strict=True):
        if _divisible(pictures, folds):
            continue
        has = f"{data.source}: class {name!r} has {count} training and validation images"
        way_out = f"{_at_most(pictures)}, or add some images"
        if pictures < count and data.group_by:
            has += f", but groups stay in one fold and it is in {pictures} of them"
            way_out = f"{_at_most(pictures)}, or other columns for data.group"
        elif pictures < count:
            has += ", but duplicates stay in one fold and they show "
            has += f"{pictures} different picture{'s'[: pictures != 1]}"
            way_out = f"{_at_most(pictures)}, or set data.keep_duplicates_together = false"
        raise DataError(f"{has}, too few for data.folds = {folds}; {way_out}")
    divided = _divided(data, folds, validation, seed)
    lacking = _lacking(data, divided)
    if lacking is not None and data.group_by:
        raise DataError(
            f"{data.source}: its groups leave class {lacking!r} out of one of {folds} folds; "
            "choose fewer with data.folds, or other columns with data.group"
        )
    if lacking is not None:
        raise DataError(
            f"{data.source}: its duplicates across classes leave class {lacking!r} out of one of "
            f"{folds} folds; {_OTHERWISE}"
        )
    for one in divided:
        for name in weightless_classes(one.data):
            raise DataError(
                f"{data.source}: without {one.name} of {folds} class {name!r} has no training "
                "image with a weight above 0; choose another number with data.folds, or change "
                "the weights"
            )


def most_folds(data: Dataset, validation: float, seed: int) -> int:
    """Return the most folds, up to `USUAL`, that every class has images for; 0 for none.

    Images count that are learned from, with a weight above 0.
    """
    for folds in range(USUAL, 1, -1):
        try:
            check_folds(data, folds, validation, seed)
        except DataError:
            continue
        return folds
    return 0


def training_folds(data: Dataset, rows: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """Give some training images a fold each, (n,), to choose something by cross-validation.

    Groups and duplicates stay in one fold. There are up to `USUAL` folds, as many as leave each
    class in every rest; None where no division does, because a class is a single picture.
    """
    labels, groups = data.labels[rows], _groups(data, rows)
    draw = group_folds if data.group_by else draw_folds
    for folds in range(USUAL, 1, -1):
        # Both libraries' and own refusal of more folds than there are pictures of any class.
        with suppress(DataError, ValueError):
            found = draw(labels, groups=groups, folds=folds, seed=seed)
            rests = (labels[found != k] for k in np.unique(found))
            if len(np.unique(found)) > 1 and all(
                set(np.unique(rest)) == set(np.unique(labels)) for rest in rests
            ):
                return found
    return None


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


def _pictures(data: Dataset) -> list[int]:
    """Return how many different pictures each class's training and validation images show."""
    pool = _pool(data)
    units, _ = _units(data.labels[pool], _groups(data, pool))
    return [len(np.unique(units[data.labels[pool] == k])) for k in range(len(data.classes))]


def _lacking(data: Dataset, divided: Sequence[Repetition]) -> str | None:
    """Name a class that a fold, its training or what stops that has no image of."""
    parts = [(data.labels[one.held_out]) for one in divided]
    for one in divided:
        splits = np.asarray(one.data.splits)
        parts += [data.labels[splits == split] for split in ("train", "validation")]
    return next(
        (
            name
            for k, name in enumerate(data.classes)
            if not all((part == k).any() for part in parts)
        ),
        None,
    )


def _groups(data: Dataset, pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which images of the pool are duplicates of each other."""
    if data.groups is None:
        return np.full(len(pool), -1, dtype=np.int64)
    return data.groups[pool]


def _units(
    labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of what each image moves with, (M,), and the class each counts as.

    A group across classes counts as the one that has the fewest images: it can spare them least.
    """
    own = -2 - np.arange(len(groups))
    keys = np.where(groups >= 0, groups, own)
    _, firsts, units = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(firsts), dtype=np.int64)
    rank[order] = np.arange(len(firsts))
    units = rank[units]
    rarity = np.bincount(labels)[labels]
    # Of each unit the first image of its rarest class.
    chosen = np.lexsort((np.arange(len(units)), rarity, units))
    _, place = np.unique(units[chosen], return_index=True)
    return units, labels[chosen[place]]


def _draw_stopping(
    labels: NDArray[np.int64], groups: NDArray[np.int64], share: float, seed: tuple[int, int]
) -> NDArray[np.bool_]:
    """Tell which images (M,) stop the training early: a share of each class, never all of it."""
    units, kinds = _units(labels, groups)
    chosen = np.zeros(len(kinds), dtype=bool)
    for label in np.unique(kinds).tolist():
        mine = np.flatnonzero(kinds == label)
        order = np.random.default_rng((*seed, label)).permutation(mine)
        sizes = np.bincount(units[labels == label], minlength=len(kinds))[order].tolist()
        wanted = min(max(1, round(share * sum(sizes))), sum(sizes) - 1)
        chosen[order[sorted(fill(sizes, wanted, 1))]] = True
    return chosen[units]
