"""Several backbones over the same folds or seeds: which of them differ.

Every pair has the corrected resampled t-test, corrected for the number of pairs after Holm. There
is no test of ranks over folds (Friedman's, Nemenyi's): they were made for independent data sets,
and over folds of one they call equal backbones different too often (docs/statistics.md has a
simulation). Pure functions of accuracies.

References
----------
C. Nadeau, Y. Bengio. Inference for the Generalization Error. Machine Learning 52, 2003 (section
3: the corrected resampled t-test).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from seewhy.evaluation.significance import holm
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.comparison import FoldComparison, FoldDifference, FoldScores, Over

# Differences that spread less than this are equal but for rounding.
EQUAL = 1e-12


def over_folds(
    stage: Stage,
    accuracies: Mapping[str, Sequence[float]],
    repetitions: Sequence[str],
    held_out_ratio: float,
    over: Over = "folds",
) -> FoldComparison:
    """Compare backbones over folds or seeds.

    Parameters
    ----------
    stage : Stage
    accuracies : mapping of str to sequence of float
        Of each backbone, one for each of `repetitions`, in their order.
    repetitions : sequence of str, length n
    held_out_ratio : float
        Images scored over images trained on, in one repetition; not used for seeds.
    over : {"folds", "seeds"}, default "folds"
        Every pair is tested: over folds with the corrected resampled t-test, over seeds with the
        paired t-test.
    """
    names = list(accuracies)
    values = np.array([accuracies[name] for name in names], dtype=np.float64).T  # (n, k)
    ranks = stats.rankdata(-values, axis=1).mean(axis=0)
    reason = _untested(values, repetitions)
    ratio = held_out_ratio if over == "folds" else 0.0
    return FoldComparison(
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
        test=None if reason else "corrected t" if over == "folds" else "paired t",
        untested=reason,
        held_out_ratio=held_out_ratio if over == "folds" else None,
        mean_ranks=dict(zip(names, ranks.tolist(), strict=True)),
        pairs=_pairs(names, values, ratio),
    )


def corrected_t(differences: NDArray[np.float64], held_out_ratio: float) -> tuple[float, float]:
    """Test whether paired differences over folds have mean 0: the corrected resampled t-test.

    t = mean / √((1/n + r) s²) with n − 1 degrees of freedom, where r = images scored over images
    trained on. The training sets of folds share images, and without r the test finds differences
    far too often. (Wilcoxon's signed-rank test cannot reach p < 0.05 below 6 folds.)

    Two-sided; there are at least two `differences`, not all the same.
    """
    statistic = float(differences.mean() / _error(differences, held_out_ratio))
    return statistic, min(1.0, float(2 * stats.t.sf(abs(statistic), len(differences) - 1)))


def _error(differences: NDArray[np.float64], held_out_ratio: float) -> float:
    """Return the standard error of the mean difference."""
    spread = (1 / len(differences) + held_out_ratio) * differences.var(ddof=1)
    return float(np.sqrt(spread))


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
    if not any(_varies(one - two) for one, two in combinations(values.T, 2)):
        return "the differences are the same throughout, so their spread is unknown"
    return None


def _varies(differences: NDArray[np.float64]) -> bool:
    return len(differences) > 1 and bool(np.ptp(differences) > EQUAL)


def _pairs(
    names: Sequence[str], values: NDArray[np.float64], held_out_ratio: float
) -> list[FoldDifference]:
    """Return every pair, tested where its differences vary."""
    found: list[FoldDifference] = []
    tested: list[int] = []
    for number, (a, b) in enumerate(combinations(range(len(names)), 2)):
        apart = values[:, a] - values[:, b]
        mean = float(apart.mean())
        pair = FoldDifference(first=names[a], second=names[b], difference=mean)
        if _varies(apart):
            reach = float(stats.t.isf(0.025, len(apart) - 1)) * _error(apart, held_out_ratio)
            _, p = corrected_t(apart, held_out_ratio)
            pair = pair.model_copy(update={"low": mean - reach, "high": mean + reach, "p": p})
            tested.append(number)
        found.append(pair)
    corrected = holm([found[number].p or 0.0 for number in tested])
    for number, p in zip(tested, corrected, strict=True):
        found[number] = found[number].model_copy(update={"p_holm": p})
    return found
