"""Test results by the columns of a table: accuracy per value, the worst group, the gap.

A group is a value of a column among the images of one class, as in group-robust learning: a
shortcut helps some groups and harms others, and the accuracy of all images shows neither.

References
----------
S. Sagawa, P. W. Koh, T. Hashimoto, P. Liang. Distributionally Robust Neural Networks for Group
Shifts. ICLR 2020 (worst-group accuracy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from seewhy.evaluation.metrics import score
from seewhy.evaluation.statements import number
from seewhy.statistics.bootstrap import (
    DRAWS,
    Interval,
    Weights,
    bootstrap,
    interval,
    share_interval,
)
from seewhy.storage.schemas.breakdown import Breakdown, ColumnBreakdown, GroupScores
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import listing, p_value, share

# A column with more values in the test images than this is only broken down by its quarters.
MOST_VALUES = 20
# Groups with fewer test images are shown, but are not the worst group or part of the gap.
FEWEST = 10
PERMUTATIONS = 9999
BLOCK = 500  # of them at a time
SIGNIFICANT = 0.05
# From here on a column and the label are called associated (Cohen: a large effect for two classes).
ASSOCIATED = 0.5


def columns_to_show(
    metadata: Mapping[str, Sequence[str]], wanted: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Choose the columns by which results are broken down, and bring numbers into quarters.

    Parameters
    ----------
    metadata : mapping of str to sequence of str
        Of the test images.
    wanted : sequence of str, optional
        Names of columns; default: all with 2 to 20 values, at least half of which have ten images.

    Returns
    -------
    dict of str to list of str
        A value per image; empty text where nothing is.
    """
    if wanted is not None:
        return {name: _in_quarters(metadata[name]) for name in wanted}
    found = {}
    for name, cells in metadata.items():
        values, numbers = np.unique([cell for cell in cells if cell], return_counts=True)
        if 2 <= len(values) <= MOST_VALUES and np.median(numbers) >= FEWEST:
            found[name] = list(cells)
    return found


def break_down(
    predictions: Predictions,
    classes: Sequence[str],
    column: str,
    cells: Sequence[str],
    seed: int = 0,
    draws: int = DRAWS,
) -> ColumnBreakdown:
    """Break the results on test images down by one column.

    Parameters
    ----------
    predictions : Predictions
        Of N test images. Where they have groups, intervals draw whole groups.
    classes : sequence of str
    column : str
    cells : sequence of str, length N
        The column's value per image; images without one are left out.
    seed, draws : int

    Returns
    -------
    ColumnBreakdown
    """
    values, labels = np.asarray(cells, dtype=object), predictions.labels
    clusters = predictions.groups
    right = (predictions.predicted == labels).astype(np.float64)
    names = sorted({str(value) for value in values if value}, key=_by_number)
    found, groups = [], []
    for name in names:
        mine = values == name
        found.append(_value(predictions, classes, name, mine, clusters, seed, draws))
        for k, label in enumerate(classes):
            cell = mine & (labels == k)
            if cell.any():
                groups.append(
                    GroupScores(
                        value=name,
                        label=label,
                        images=int(cell.sum()),
                        accuracy=_accuracy(right, cell, clusters, seed, draws),
                    )
                )
    large = [one for one in groups if one.images >= FEWEST]
    known = values != ""
    p, untested = independence(
        1 - right[known], values[known].astype(str), labels[known], _of(clusters, known), seed
    )
    best, worst = _extremes(found)
    return ColumnBreakdown(
        column=column,
        values=found,
        cells=groups,
        worst=min(large, key=lambda one: one.accuracy.value, default=None),
        fewest=FEWEST,
        gap=_gap(right, labels, values, best, worst, clusters, seed, draws),
        best_value=best,
        worst_value=worst,
        p=p,
        untested=untested,
    )


def independence(
    errors: NDArray[np.float64],
    values: NDArray[np.str_],
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64] | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> tuple[float | None, str | None]:
    """Test whether errors depend on a column, within each class.

    The statistic is the sum, over classes, of χ² of errors against values. Its distribution under
    independence comes from permuting errors within each class: exact whatever the counts. Where
    images depend on each other, errors are permuted within each class and cluster. Where each
    cluster has one value, whole clusters exchange their values instead, with clusters of the same
    class (that of most of their images).

    Parameters
    ----------
    errors : ndarray of float64, (N,)
        1 for a wrong prediction, 0 for a right one.
    values : ndarray of str, (N,)
    labels : ndarray of int64, (N,)
    clusters : ndarray of int64, (N,), optional
        Images that depend on each other have equal numbers.
    seed, permutations : int

    Returns
    -------
    p : float or None
    untested : str or None
        Why there is no p.
    """
    rng = np.random.default_rng(seed)
    _, places = np.unique(values, return_inverse=True)
    strata, within = labels, "class"
    if clusters is not None and len(np.unique(clusters)) < len(clusters):
        if _distinct(clusters, places) == len(np.unique(clusters)):
            found = _exchanged(errors, places, labels, clusters, rng, permutations)
            if found is None:
                return None, "within each class every value is that of a single group of images"
            return _as_far(float(found[0]), found[1:]), None
        _, strata = np.unique(np.stack([labels, clusters]), axis=1, return_inverse=True)
        strata = strata.reshape(-1)  # NumPy 2.0 alone keeps an axis more
        within = "group of images of one class"
    observed, drawn, tested = 0.0, np.zeros(permutations), False
    for stratum in np.unique(strata):
        mine = strata == stratum
        _, own = np.unique(places[mine], return_inverse=True)
        totals = np.bincount(own)
        wrong = np.bincount(own, weights=errors[mine], minlength=len(totals)).astype(np.int64)
        if len(totals) < 2 or wrong.sum() in (0, totals.sum()):
            continue
        tested = True
        observed += float(_chi_squared(wrong[None], totals)[0])
        random = rng.multivariate_hypergeometric(totals, int(wrong.sum()), size=permutations)
        drawn += _chi_squared(random, totals)
    if not tested:
        return None, f"no {within} has both right and wrong predictions for several values"
    return _as_far(observed, drawn), None


def _exchanged(
    errors: NDArray[np.float64],
    places: NDArray[np.int64],
    labels: NDArray[np.int64],
    clusters: NDArray[np.int64],
    rng: np.random.Generator,
    permutations: int,
) -> NDArray[np.float64] | None:
    """Return the statistic, then those after clusters exchanged their values.

    `places` (N,) are the numbers of the values, equal within a cluster. None where no exchange can
    change the statistic.
    """
    _, first, members = np.unique(clusters, return_index=True, return_inverse=True)
    _, classes = np.unique(labels, return_inverse=True)
    shape = len(first), int(classes.max()) + 1
    images, wrong = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    np.add.at(images, (members, classes), 1)
    np.add.at(wrong, (members, classes), errors.astype(np.int64))
    own, kinds = places[first], images.argmax(axis=1)
    of_kind = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    # Values of equal numbers of alike clusters: any exchange gives the same table.
    is_pure = bool(((images > 0).sum(axis=1) == 1).all())
    distinct = [len(np.unique(own[some])) for some in of_kind]
    if all(
        number == 1 or (is_pure and number == len(some))
        for number, some in zip(distinct, of_kind, strict=True)
    ):
        return None
    found = [_table_statistics(own[None], wrong, images)]
    for start in range(0, permutations, BLOCK):
        orders = np.tile(np.arange(len(first)), (min(BLOCK, permutations - start), 1))
        for some in of_kind:
            orders[:, some] = rng.permuted(np.tile(some, (len(orders), 1)), axis=1)
        found.append(_table_statistics(own[orders], wrong, images))
    return np.concatenate(found)


def _table_statistics(
    values: NDArray[np.int64], wrong: NDArray[np.int64], images: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sum over classes of χ² for each way (B, C) to give values to clusters, (B,).

    `wrong` and `images` (C, K) are the counts of each cluster's classes.
    """
    total = images.sum(axis=0).astype(np.float64)
    rate = wrong.sum(axis=0) / np.maximum(total, 1)
    found = np.zeros(len(values))
    for value in range(int(values.max()) + 1):
        given = (values == value).astype(np.float64)
        expected = given @ images * rate  # (B, K)
        off = (given @ wrong - expected) ** 2
        found += (off / np.maximum(expected * (1 - rate), 1e-12)).sum(axis=1)
    return found


def _distinct(first: NDArray[np.int64], second: NDArray[np.int64]) -> int:
    """Return how many pairs of two columns there are."""
    return int(np.unique(np.stack([first, second]), axis=1).shape[1])


def _as_far(observed: float, drawn: NDArray[np.float64]) -> float:
    return float((1 + (drawn >= observed - 1e-9).sum()) / (1 + len(drawn)))


def association(cells: Sequence[str], labels: NDArray[np.int64]) -> float | None:
    """Return Cramér's V of a column and the label; None where either has a single value.

    0: independent; 1: the one can be told from the other. Not corrected for bias, so a column with
    many values is never quite 0.
    """
    known = np.array([bool(cell) for cell in cells], dtype=bool)
    if not known.any():
        return None
    _, rows = np.unique(np.asarray(cells)[known], return_inverse=True)
    _, columns = np.unique(labels[known], return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    if min(table.shape) < 2:
        return None
    return float(stats.contingency.association(table, method="cramer"))


def summarise_breakdown(columns: Sequence[ColumnBreakdown]) -> Breakdown:
    """Put columns together, with a sentence on each; the worst groups first."""
    order = sorted(columns, key=lambda one: one.worst.accuracy.value if one.worst else 2.0)
    return Breakdown(columns=order, sentences=[text for one in order for text in _sentences(one)])


def _sentences(one: ColumnBreakdown) -> list[str]:
    said = []
    if one.worst is not None:
        worst = one.worst
        others = [
            cell for cell in one.cells if cell.label == worst.label and cell.value != worst.value
        ]
        beside = listing(
            [f"{share(cell.accuracy.value)} with {cell.value!r}" for cell in others[:3]], "and"
        )
        said.append(
            f"Worst group by {one.column!r}: class {worst.label!r} with {worst.value!r}, accuracy "
            f"{share(worst.accuracy.value)} (95 % CI {share(worst.accuracy.low)} to "
            f"{share(worst.accuracy.high)}, {worst.images:,} test images)"
            f"{f'; the same class has {beside}' if beside else ''}."
        )
    if one.gap is not None and one.p is not None:
        depends = "depend" if one.p < SIGNIFICANT else "do not depend measurably"
        said.append(
            f"Errors {depends} on {one.column!r} ({p_value(one.p)}, permutation test within "
            f"classes); over all classes accuracy is {share(one.gap.value)} higher for "
            f"{one.best_value!r} than for {one.worst_value!r} (95 % CI {number(one.gap.low)} to "
            f"{number(one.gap.high)})."
        )
    if one.association is not None and one.association >= ASSOCIATED:
        said.append(
            f"The label can partly be told from {one.column!r} (Cramér's V "
            f"{share(one.association)}): a classifier that recognises it looks better than it is."
        )
    return said


def _value(
    predictions: Predictions,
    classes: Sequence[str],
    name: str,
    mine: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    seed: int,
    draws: int,
) -> GroupScores:
    labels, predicted = predictions.labels[mine], predictions.predicted[mine]
    right = (predictions.predicted == predictions.labels).astype(np.float64)
    scores = score(labels, predicted, classes)
    there = [classes[k] for k in np.unique(labels)]
    recall = np.array([scores.per_class_recall[k] for k in there])
    precision = np.array([scores.per_class_precision[k] for k in there])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return GroupScores(
        value=name,
        images=int(mine.sum()),
        accuracy=_accuracy(right, mine, clusters, seed, draws),
        recall=float(recall.mean()),
        precision=float(precision.mean()),
        f1=float(f1.mean()),
    )


def _accuracy(
    right: NDArray[np.float64],
    mine: NDArray[np.bool_],
    clusters: NDArray[np.int64] | None,
    seed: int,
    draws: int,
) -> Interval:
    """Return the accuracy of some images, at least one, with its interval."""
    found = share_interval(right[mine], _of(clusters, mine), draws, seed)
    assert found is not None
    return found


def _extremes(found: Sequence[GroupScores]) -> tuple[str | None, str | None]:
    large = [one for one in found if one.images >= FEWEST]
    if len(large) < 2:
        return None, None
    order = sorted(large, key=lambda one: one.accuracy.value)
    return order[-1].value, order[0].value


def _gap(
    right: NDArray[np.float64],
    labels: NDArray[np.int64],
    values: NDArray[np.object_],
    best: str | None,
    worst: str | None,
    clusters: NDArray[np.int64] | None,
    seed: int,
    draws: int,
) -> Interval | None:
    """Return the difference of two values' accuracies, each drawn with its classes' numbers."""
    if best is None or worst is None:
        return None
    high, low = (np.where(values == name, 1.0, 0.0) for name in (best, worst))

    def difference(weight: Weights) -> NDArray[np.float64]:
        accuracies = [
            (weight @ (right * mine)) / np.maximum(weight @ mine, 1e-12) for mine in (high, low)
        ]
        return (accuracies[0] - accuracies[1])[:, None]

    # A stratum per class and value: both accuracies keep their numbers of images.
    strata = labels * 3 + np.where(values == best, 1, np.where(values == worst, 2, 0))
    (value,), drawn = bootstrap(difference, strata.astype(np.int64), draws, seed, clusters)
    return interval(float(value), drawn[:, 0])


def _chi_squared(wrong: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return χ² of errors against values for each row of counts, (R, V)."""
    rate = wrong.sum(axis=1, keepdims=True) / totals.sum()
    expected = totals * rate
    off = (wrong - expected) ** 2
    return np.asarray((off / np.maximum(expected * (1 - rate), 1e-12)).sum(axis=1))


def _in_quarters(cells: Sequence[str]) -> list[str]:
    """Return a column as it is; of many numbers, the quarter that each is in."""
    if len({cell for cell in cells if cell}) <= MOST_VALUES:
        return list(cells)
    try:
        numbers = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return list(cells)
    edges = np.nanquantile(numbers, (0, 0.25, 0.5, 0.75, 1))
    names = [f"{low:g} … {high:g}" for low, high in pairwise(edges)]
    places = np.clip(np.searchsorted(edges[1:-1], numbers), 0, 3)
    return [names[k] if cell else "" for k, cell in zip(places, cells, strict=True)]


def _by_number(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _of(clusters: NDArray[np.int64] | None, mine: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    return None if clusters is None else clusters[mine]
