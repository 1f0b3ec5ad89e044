"""Two classifiers on the same test images: whether one is better, and whether they err alike.

McNemar's test, Holm's correction over several pairs, Cohen's kappa, the difference in accuracy
with its interval, the images they disagree on. Pure functions of predictions.

References
----------
Q. McNemar. Note on the sampling error of the difference between correlated proportions or
percentages. Psychometrika 12, 1947.
T. Dietterich. Approximate statistical tests for comparing supervised classification learning
algorithms. Neural Computation 10, 1998 (section 3.1).
S. Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of
Statistics 6, 1979.
J. Cohen. A coefficient of agreement for nominal scales. Educational and Psychological
Measurement 20, 1960.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from seewhy.statistics.bootstrap import DRAWS, mean_interval
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.comparison import ClassifierPair, Disagreement, PairTest
from seewhy.storage.schemas.predictions import Predictions

# From so many discordant images on, chi-squared is close enough to the exact test.
FEWEST_DISCORDANT = 25
# Changes of sign that are tried where groups are too many for all of them.
SIGNS = 10_000
BLOCK = 500  # of them at a time
SHOWN = 10


@dataclass(frozen=True)
class PairedTest:
    """Whether two classifiers err equally often; `statistic` is None but for chi-squared."""

    test: PairTest
    statistic: float | None
    p: float


def mcnemar(first_only: int, second_only: int) -> PairedTest:
    """Test whether two classifiers err equally often on the same images; two-sided.

    Only the discordant images count, which one classifier alone predicts correctly: b by the first
    and c by the second. Below 25 of them the test is exact: under equality each is a fair coin.
    Else the statistic is (|b − c| − 1)² / (b + c), with Edwards' continuity correction, against
    chi-squared with one degree of freedom. p is 1 where there is no discordant image.
    """
    discordant = first_only + second_only
    if discordant < FEWEST_DISCORDANT:
        fewer = min(first_only, second_only)
        p = min(1.0, 2 * float(stats.binom.cdf(fewer, discordant, 0.5))) if discordant else 1.0
        return PairedTest("exact binomial", None, p)
    apart = max(abs(first_only - second_only) - 1, 0)
    statistic = apart**2 / discordant
    return PairedTest("chi-squared", statistic, min(1.0, float(stats.chi2.sf(statistic, 1))))


def equal_errors(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> PairedTest:
    """Test whether two classifiers are right equally often on the same images; two-sided.

    `mcnemar` where each image stands alone, and where all are of one group, which then says
    nothing about other groups. Else a sign-flip test: each group's difference keeps or changes its
    sign at random, since under equality the two classifiers could as well be exchanged, but only
    for a whole group at once.

    Parameters
    ----------
    first, second : ndarray of bool, (N,)
        Whether each classifier is right.
    groups : ndarray of int64, (N,), optional
    seed : int
        Of the signs.

    Examples
    --------
    Six images of which the first classifier alone is right are three patients:

    >>> import numpy as np
    >>> right, wrong = np.ones(6, bool), np.zeros(6, bool)
    >>> equal_errors(right, wrong).p, equal_errors(right, wrong, np.arange(6) // 2).p
    (0.03125, 0.25)
    """
    if groups is None or len(np.unique(groups)) in (0, 1, len(groups)):
        return mcnemar(int((first & ~second).sum()), int((~first & second).sum()))
    _, places = np.unique(groups, return_inverse=True)
    sums = np.bincount(places, weights=first.astype(np.float64) - second)
    sums = sums[sums != 0]
    far = abs(sums.sum()) - 1e-9
    if 2 ** len(sums) <= SIGNS:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        as_far = int((np.abs(signs @ sums) >= far).sum())
        return PairedTest("sign-flip", None, as_far / len(signs))
    rng, as_far = np.random.default_rng(seed), 1
    for _ in range(0, SIGNS, BLOCK):
        signs = rng.integers(0, 2, (BLOCK, len(sums)), dtype=np.int8) * 2 - 1
        as_far += int((np.abs(signs @ sums) >= far).sum())
    return PairedTest("sign-flip", None, as_far / (SIGNS + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number: the chance of any false finding stays below the level.

    The smallest of m is multiplied by m, the next by m − 1, …; none may be smaller than one before
    it, nor above 1. They are returned in the order given.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in corrected]


def kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float | None:
    """Return Cohen's kappa: agreement beyond what the two's class shares give by chance.

    κ = (p_o − p_e) / (1 − p_e), with p_o the share of images with the same predictions (N,) and p_e
    the sum over classes of the product of the two's shares. None where both always predict one and
    the same class.
    """
    count = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(one, minlength=count) / len(one) for one in (first, second)]
    expected = float(shares[0] @ shares[1])
    observed = float((first == second).mean())
    if expected >= 1:
        return None
    return min(1.0, max(-1.0, (observed - expected) / (1 - expected)))


def compare_pair(
    stage: Stage,
    names: tuple[str, str],
    predictions: tuple[Predictions, Predictions],
    classes: Sequence[str],
    seed: int = 0,
    draws: int = DRAWS,
) -> ClassifierPair:
    """Compare two classifiers' predictions of the same images.

    Parameters
    ----------
    stage : Stage
    names : tuple of str
        What the two are called in the record.
    predictions : tuple of Predictions
        With the same ids and labels, in the same order.
    classes : sequence of str
    seed, draws : int
        Of the bootstrap.

    Returns
    -------
    ClassifierPair
        Without maps; `p_holm` is `p`, since this function knows one pair alone.

    Raises
    ------
    ValueError
        Where ids or labels differ.
    """
    first, second = predictions
    if first.ids != second.ids or not np.array_equal(first.labels, second.labels):
        raise ValueError("expected predictions of the same images in the same order")
    one, two = (found.predicted == found.labels for found in predictions)
    first_only, second_only = int((one & ~two).sum()), int((~one & two).sum())
    tested = equal_errors(one, two, first.groups, seed)
    return ClassifierPair(
        stage=stage,
        first=names[0],
        second=names[1],
        images=len(first.ids),
        both_right=int((one & two).sum()),
        first_only=first_only,
        second_only=second_only,
        both_wrong=int((~one & ~two).sum()),
        difference=mean_interval(one.astype(float) - two, first.labels, draws, seed, first.groups),
        test=tested.test,
        statistic=tested.statistic,
        p=tested.p,
        p_holm=tested.p,
        agreement=float((first.predicted == second.predicted).mean()),
        kappa=kappa(first.predicted, second.predicted),
        disagreements=_disagreements(first, second, classes),
    )


def _disagreements(
    first: Predictions, second: Predictions, classes: Sequence[str]
) -> list[Disagreement]:
    apart = np.flatnonzero(first.predicted != second.predicted)
    both_sure = np.minimum(first.confidence, second.confidence)[apart]
    surest = apart[np.argsort(-both_sure, kind="stable")][:SHOWN]
    return [
        Disagreement(
            id=first.ids[k],
            label=classes[first.labels[k]],
            first=classes[first.predicted[k]],
            second=classes[second.predicted[k]],
            first_confidence=min(1.0, float(first.confidence[k])),
            second_confidence=min(1.0, float(second.confidence[k])),
        )
        for k in surest.tolist()
    ]
