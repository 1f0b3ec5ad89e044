"""Images that belong together by a column of their table: patients, cameras, bursts.

It turns columns into group numbers, joins them with duplicates, and holds whole groups out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from seewhy.data.quality.duplicates import Duplicates
from seewhy.errors import DataError, near_names
from seewhy.storage.schemas.dataset import Dataset
from seewhy.wording import count, listing, some

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}

# Draws of which the one is taken whose held-out share of every class is nearest to what is wanted.
_DRAWS = 10


def column(metadata: Mapping[str, Sequence[str]], name: str, key: str, source: str) -> list[str]:
    """Return a column of a table that the configuration names.

    Raises
    ------
    DataError
        Where there is none of that name.
    """
    if name not in metadata:
        there = f"its columns are {some([repr(one) for one in metadata], 12)}" if metadata else ""
        raise DataError(
            f"{source}: has no column {name!r}, which {key} names{near_names(name, metadata)}; "
            f"{there or 'only tables have columns'}"
        )
    return list(metadata[name])


def column_groups(
    metadata: Mapping[str, Sequence[str]], names: Sequence[str], source: str
) -> NDArray[np.int64]:
    """Give every combination of values of several columns a number.

    Parameters
    ----------
    metadata : mapping of str to sequence of str
    names : sequence of str
        Columns, at least one.
    source : str
        For messages.

    Returns
    -------
    ndarray of int64, (N,)
        Equal for images with equal values; -1 where all are empty: such an image is alone.
    """
    columns = [column(metadata, name, "data.group", source) for name in names]
    values = list(zip(*columns, strict=True))
    number = {value: k for k, value in enumerate(dict.fromkeys(values))}
    return np.array([number[one] if any(one) else -1 for one in values], dtype=np.int64)


def join(
    first: NDArray[np.int64] | None, second: NDArray[np.int64] | None
) -> NDArray[np.int64] | None:
    """Join two groupings: images are together if either puts them together, also by way of others.

    Parameters
    ----------
    first, second : ndarray of int64, (N,), optional
        Equal numbers for images of one group, -1 for any other.

    Examples
    --------
    >>> import numpy as np
    >>> join(np.array([0, 0, -1, -1, -1]), np.array([-1, 7, 7, 5, -1]))
    array([ 0,  0,  0,  1, -1])
    """
    if first is None or second is None:
        return first if second is None else second
    count = len(first)
    links: list[NDArray[np.int64]] = []
    for groups in (first, second):
        mine = np.flatnonzero(groups >= 0)
        _, firsts, places = np.unique(groups[mine], return_index=True, return_inverse=True)
        links.append(np.stack([mine, mine[firsts][places]]))
    # SciPy 1.11 takes no larger indices here.
    rows, columns = np.concatenate(links, axis=1).astype(np.int32)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, found = connected_components(graph, directed=False)
    grouped = (first >= 0) | (second >= 0)
    _, numbers = np.unique(found[grouped], return_inverse=True)
    joined = np.full(count, -1, dtype=np.int64)
    joined[grouped] = numbers
    return joined


def groupings(
    duplicates: Duplicates | None, by_column: NDArray[np.int64] | None
) -> list[NDArray[np.int64] | None]:
    """Return what may keep images together, the strictest first.

    Near duplicates can link all groups of a column to a single one (views of one scene by several
    cameras). Where that leaves nothing to divide, only exact copies link groups, then nothing.

    Parameters
    ----------
    duplicates : Duplicates, optional
    by_column : ndarray of int64, (N,), optional
        See `column_groups`.
    """
    if duplicates is None or by_column is None:
        return [by_column if duplicates is None else duplicates.groups]
    exact = np.append(duplicates.similarity == 1, False)[duplicates.groups]
    copies = np.where(exact, duplicates.groups, -1)
    return [join(duplicates.groups, by_column), join(copies, by_column), by_column]


def units(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number per image that is equal within a group; an image without one has its own."""
    return np.where(groups >= 0, groups, groups.max(initial=-1) + 1 + np.arange(len(groups)))


def group_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """Give every image its fold, whole groups at a time, classes about equal in each.

    scikit-learn's ``StratifiedGroupKFold``.

    Parameters
    ----------
    labels, groups : ndarray of int64, (M,)
    folds, seed : int

    Returns
    -------
    ndarray of int64, (M,)
        0 … folds − 1.
    """
    found = np.empty(len(labels), dtype=np.int64)
    draw = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds
        for k, (_, held_out) in enumerate(draw.split(labels, labels, units(groups))):
            found[held_out] = k
    return found


def hold_out_groups(
    labels: NDArray[np.int64], groups: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_] | None:
    """Hold out whole groups: about a share of the images, and of each class.

    One of 1 / `share` folds is taken; of ten draws the fold whose classes are nearest to the
    share. Where a class is in too few groups for so many folds, fewer and larger ones are drawn.
    Returns a bool per image, or None where no draw leaves images of each class on both sides.
    """
    _, places = np.unique(labels, return_inverse=True)
    totals = np.bincount(places)
    most = min(len(np.unique(units(groups))), int(totals.max()))
    for folds in range(min(max(2, round(1 / share)), most), 1, -1):
        best: tuple[float, NDArray[np.bool_]] | None = None
        for draw in range(_DRAWS):
            fold_of = group_folds(labels, groups, folds, (seed + draw) % 2**32)
            for k in range(folds):
                held_out = fold_of == k
                mine = np.bincount(places[held_out], minlength=len(totals))
                if (mine == 0).any() or (mine == totals).any():
                    continue
                off = float(np.abs(mine / totals - share).sum())
                if best is None or off < best[0]:
                    best = off, held_out
        if best is not None:
            return best[1]
    return None


def straddling(groups: NDArray[np.int64], splits: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Return the groups whose images are in several splits, with these."""
    found: dict[int, set[str]] = {}
    for group, split in zip(groups.tolist(), splits, strict=True):
        if group >= 0:
            found.setdefault(group, set()).add(split)
    return {group: tuple(sorted(there)) for group, there in found.items() if len(there) > 1}


def group_notes(data: Dataset, groups: NDArray[np.int64] | None) -> list[str]:
    """Say how many groups there are, how large, and how many are in each split."""
    if groups is None:
        return []
    members, splits = units(groups), np.asarray(data.splits)
    _, sizes = np.unique(members, return_counts=True)
    parts = [
        f"{len(np.unique(members[splits == split])):,} in {word}" for split, word in _SPLITS.items()
    ]
    return [
        f"{count(len(sizes), 'group')} of {listing([repr(one) for one in data.group_by])}, "
        f"{sizes.min():,} to {sizes.max():,} images each: {listing(parts)}."
    ]


def straddling_sentences(data: Dataset, groups: NDArray[np.int64] | None) -> list[str]:
    """Name the groups of the table that a given split divides."""
    torn = {} if groups is None else straddling(groups, data.splits)
    if groups is None or not torn:
        return []
    names = []
    for group, splits in torn.items():
        place = int(np.flatnonzero(groups == group)[0])
        values = ", ".join(data.metadata[name][place] for name in data.group_by)
        names.append(f"{values} ({listing([_SPLITS[split] for split in splits])})")
    tested = any("test" in splits for splits in torn.values())
    end = "; test accuracy is too optimistic for these" if tested else ""
    return [
        f"{count(len(torn), 'group')} of {listing([repr(one) for one in data.group_by])} "
        f"{'is' if len(torn) == 1 else 'are'} in more than one split: {some(names, 5)}{end}."
    ]
