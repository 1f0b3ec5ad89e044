"""Ranks over folds against published values, SciPy, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seewhy.evaluation.ranking import (
    corrected_t,
    critical_difference,
    groups,
    nemenyi,
    over_folds,
)

# Demšar 2006, below table 6: mean ranks of four variants of C4.5 on 14 data sets.
DEMSAR = {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
FOLDS = [f"fold {k}" for k in range(1, 15)]


@pytest.mark.parametrize(
    ("backbones", "published"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_values_are_demsars(backbones: int, published: float) -> None:
    """Table 5a, q at 0.05, cut after three digits; the square root is taken out."""
    scale = np.sqrt(backbones * (backbones + 1) / 6)
    assert critical_difference(backbones, 1) / scale == pytest.approx(published, abs=1e-3)


def test_demsars_example() -> None:
    """Differences of 1.25 at 5 % and 1.12 at 10 %, and the bars of the paper's figure 1."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, 0.1) == pytest.approx(1.12, abs=0.005)
    assert groups(DEMSAR, 1.25) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]]
    assert groups(DEMSAR, 1.12) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]


def test_three_backbones_have_friedmans_test() -> None:
    rng = np.random.default_rng(0)
    accuracies = {name: rng.random(14).tolist() for name in "abc"}
    accuracies["b"][3] = accuracies["a"][3]
    found = over_folds("adaptation", accuracies, FOLDS, 0.1)
    theirs = stats.friedmanchisquare(*accuracies.values())
    assert (found.test, len(found.pairs)) == ("Friedman", 3)
    assert (found.statistic, found.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    ranks = np.array(list(found.mean_ranks.values()))
    assert ranks.mean() == pytest.approx(2)
    # Of each fold's values the highest has rank 1, and equal ones share their ranks.
    by_hand = [sum((o[3] > v[3]) + (o[3] == v[3]) / 2 for o in accuracies.values()) + 0.5
               for v in accuracies.values()]  # fmt: skip
    alone = over_folds("adaptation", {k: [v[3]] for k, v in accuracies.items()}, FOLDS[:1], 0.1)
    assert list(alone.mean_ranks.values()) == by_hand
    for pair in found.pairs:
        apart = abs(found.mean_ranks[pair.first] - found.mean_ranks[pair.second])
        assert found.critical_difference is not None
        assert pair.p is not None
        assert (apart < found.critical_difference) == (pair.p > 0.05)


def test_nemenyis_p_is_the_level_at_the_critical_difference() -> None:
    distance = critical_difference(3, 10)
    (near, far, _) = nemenyi(np.array([1.0, 1.0 + distance, 3.0]), 10)
    assert near == pytest.approx(0.05, abs=1e-6)
    assert far < 0.05
    assert nemenyi(np.array([2.0, 2.0]), 5) == [1.0]


def test_groups_are_the_largest_runs() -> None:
    ranks = {"d": 4.0, "a": 1.0, "c": 2.4, "b": 1.6}
    assert groups(ranks, 1.5) == [["a", "b", "c"]]
    assert groups(ranks, 1.7) == [["a", "b", "c"], ["c", "d"]]
    assert groups(ranks, 0.1) == []
    assert groups(ranks, 9) == [["a", "b", "c", "d"]]


def test_two_backbones_have_a_corrected_t_test() -> None:
    """Differences 0.01 … 0.05 over five folds: mean 0.03, variance 0.00025."""
    first = [0.81, 0.82, 0.83, 0.84, 0.85]
    found = over_folds("finetuning", {"a": first, "b": [0.8] * 5}, FOLDS[:5], 0.25)
    assert found.test == "corrected t"
    expected = 0.03 / np.sqrt((1 / 5 + 1 / 4) * 0.00025)
    assert found.statistic == pytest.approx(expected)
    assert found.p == pytest.approx(2 * stats.t.sf(expected, 4))
    assert found.pairs[0].difference == pytest.approx(0.03)
    assert found.backbones["a"].deviation == pytest.approx(np.sqrt(0.00025))
    assert (found.critical_difference, found.groups) == (None, [])


def test_without_the_correction_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.random(6), rng.random(6)
    theirs = stats.ttest_rel(one, two)
    assert corrected_t(one - two, 0.0) == pytest.approx((theirs.statistic, theirs.pvalue))


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ({"a": [0.5, 0.6]}, "one backbone"),
        ({"a": [0.5], "b": [0.6]}, "no more than fold 1"),
        ({"a": [0.5, 0.6], "b": [0.5, 0.6], "c": [0.5, 0.6]}, "equally accurate"),
        ({"a": [0.5, 0.6], "b": [0.4, 0.5]}, "the same throughout"),
    ],
)
def test_where_nothing_can_be_tested(accuracies: dict[str, list[float]], words: str) -> None:
    folds = FOLDS[: len(accuracies["a"])]
    found = over_folds("adaptation", accuracies, folds, 0.5)
    assert (found.test, found.p, found.statistic) == (None, None, None)
    assert words in (found.untested or "")
    assert found.backbones["a"].mean == pytest.approx(np.mean(accuracies["a"]))
