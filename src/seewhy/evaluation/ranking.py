"""Several backbones over the same folds or seeds: whether they differ, and which of them.

Friedman's test with Nemenyi's post-hoc test and the numbers of a critical-difference diagram;
for two backbones a corrected resampled t-test. Pure functions of accuracies.

References
----------
J. Demšar. Statistical Comparisons of Classifiers over Multiple Data Sets. Journal of Machine
Learning Research 7, 2006 (section 3.2.2: Friedman, Nemenyi; table 5a; figure 1: the diagram).
C. Nadeau, Y. Bengio. Inference for the Generalization Error. Machine Learning 52, 2003 (section
3: the corrected resampled t-test).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from seewhy.evaluation_records import FoldDifference, FoldScores, Over, OverFolds
from seewhy.records import Stage

LEVEL = 0.05


def over_folds(
    stage: Stage,
    accuracies: Mapping[str, Sequence[float]],
    repetitions: Sequence[str],
    held_out_ratio: float,
    over: Over = "folds",
) -> OverFolds:
    """Compare backbones over folds or seeds.

    Parameters
    ----------
    stage : Stage
    accuracies : mapping of str to sequence of float
        Of each backbone, one for each of `repetitions`, in their order.
    repetitions : sequence of str, length n
    held_out_ratio : float
        Images scored over images trained on, in one repetition; k folds have 1 / (k − 1), seeds
        that share all images 0.
    over : {"folds", "seeds"}, default "folds"

    Returns
    -------
    OverFolds
        With three or more backbones Friedman's test and Nemenyi's, with two the corrected
        t-test, with one neither.
    """
    names = list(accuracies)
    values = np.array([accuracies[name] for name in names], dtype=np.float64).T  # (n, k)
    ranks = stats.rankdata(-values, axis=1).mean(axis=0)
    base = OverFolds(
        stage=stage,
        over=over,
        repetitions=list(repetitions),
        backbones={
            name: FoldScores(
                mean=float(column.mean()),
                deviation=float(column.std(ddof=1)) if len(column) > 1 else 0.0,
                values=column.tolist(),
            )
            for name, column in zip(names, values.T, strict=True)
        },
        mean_ranks=dict(zip(names, ranks.tolist(), strict=True)),
    )
    reason = _untested(values, repetitions)
    if reason:
        return base.model_copy(update={"untested": reason, "pairs": _differences(names, values)})
    if len(names) == 2:
        statistic, p = corrected_t(values[:, 0] - values[:, 1], held_out_ratio)
        pairs = _differences(names, values, [p])
        update = {"test": "corrected t", "statistic": statistic, "p": p, "pairs": pairs}
        return base.model_copy(update=update)
    statistic, p = (float(found) for found in stats.friedmanchisquare(*values.T))
    distance = critical_difference(len(names), len(values))
    return base.model_copy(
        update={
            "test": "Friedman",
            "statistic": statistic,
            "p": p,
            "critical_difference": distance,
            "groups": groups(base.mean_ranks, distance),
            "pairs": _differences(names, values, nemenyi(ranks, len(values))),
        }
    )


def critical_difference(backbones: int, repetitions: int, level: float = LEVEL) -> float:
    """Return how far two mean ranks must lie apart to differ, after Nemenyi.

    CD = q √(k (k + 1) / (6 n)), with q the upper quantile of the studentized range for k groups
    and infinite degrees of freedom, divided by √2.
    """
    quantile = float(stats.studentized_range.isf(level, backbones, np.inf)) / np.sqrt(2)
    return float(quantile * _rank_error(backbones, repetitions))


def nemenyi(mean_ranks: NDArray[np.float64], repetitions: int) -> list[float]:
    """Return Nemenyi's p for each pair of backbones, in the order of `itertools.combinations`."""
    count = len(mean_ranks)
    apart = [abs(mean_ranks[a] - mean_ranks[b]) for a, b in combinations(range(count), 2)]
    statistics = np.array(apart) / _rank_error(count, repetitions) * np.sqrt(2)
    found = stats.studentized_range.sf(statistics, count, np.inf)
    return [float(p) for p in np.clip(found, 0, 1)]


def groups(mean_ranks: Mapping[str, float], distance: float) -> list[list[str]]:
    """Return the largest runs of backbones whose mean ranks differ by less than `distance`.

    They are the bars of a critical-difference diagram: two or more backbones each, best first.
    """
    order = sorted(mean_ranks, key=lambda name: mean_ranks[name])
    found: list[list[str]] = []
    end = 0
    for start, first in enumerate(order):
        run = [name for name in order[start:] if mean_ranks[name] - mean_ranks[first] < distance]
        if len(run) > 1 and start + len(run) > end:
            found.append(run)
            end = start + len(run)
    return found


def corrected_t(differences: NDArray[np.float64], held_out_ratio: float) -> tuple[float, float]:
    """Test whether paired differences over folds have mean 0: the corrected resampled t-test.

    t = mean / √((1/n + r) s²) with n − 1 degrees of freedom, where r = images scored over images
    trained on. The training sets of folds share images, and without r the test finds differences
    far too often. (Wilcoxon's signed-rank test cannot reach p < 0.05 below 6 folds.)

    Parameters
    ----------
    differences : ndarray of float64, (n,)
        Not all the same, at least two.
    held_out_ratio : float

    Returns
    -------
    statistic, p : float
        Two-sided.
    """
    count = len(differences)
    error = np.sqrt((1 / count + held_out_ratio) * differences.var(ddof=1))
    statistic = float(differences.mean() / error)
    return statistic, float(2 * stats.t.sf(abs(statistic), count - 1))


def _rank_error(backbones: int, repetitions: int) -> float:
    return float(np.sqrt(backbones * (backbones + 1) / (6 * repetitions)))


def _untested(values: NDArray[np.float64], repetitions: Sequence[str]) -> str | None:
    """Say why there is nothing to test, or None."""
    count, backbones = values.shape
    if backbones < 2:
        return "there is one backbone alone"
    if count < 2:
        return f"there is no more than {repetitions[0]}"
    apart = values - values[:, :1]
    if not apart.any():
        return "all backbones are equally accurate throughout"
    if backbones == 2 and np.ptp(apart[:, 1]) < 1e-12:
        return "the difference is the same throughout, so its spread is unknown"
    return None


def _differences(
    names: Sequence[str], values: NDArray[np.float64], p_values: Sequence[float] | None = None
) -> list[FoldDifference]:
    means = values.mean(axis=0)
    return [
        FoldDifference(
            first=names[a],
            second=names[b],
            difference=float(means[a] - means[b]),
            p=p_values[k] if p_values else None,
        )
        for k, (a, b) in enumerate(combinations(range(len(names)), 2))
    ]
