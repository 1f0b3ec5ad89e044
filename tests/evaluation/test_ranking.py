"""Pairs of backbones over folds against SciPy, simulations, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from benchmarks.fold_tests import (
    Setting,
    accuracies,
    corrected,
    friedman,
    nearest_image,
    nearest_mean,
)
from seewhy.evaluation.ranking import corrected_t, over_folds
from seewhy.evaluation.significance import holm
from seewhy.storage.schemas.comparison import FoldComparison

FOLDS = [f"fold {k}" for k in range(1, 15)]


def test_every_pair_has_the_corrected_t_test_after_holm() -> None:
    rng = np.random.default_rng(0)
    scores = {name: rng.random(14).tolist() for name in "abc"}
    scores["b"][3] = scores["a"][3]
    found = over_folds("adaptation", scores, FOLDS, 0.1)
    assert (found.test, found.held_out_ratio) == ("corrected t", 0.1)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    apart = [np.subtract(scores[pair.first], scores[pair.second]) for pair in found.pairs]
    errors = [np.sqrt((1 / 14 + 0.1) * one.var(ddof=1)) for one in apart]
    by_hand = [
        2 * stats.t.sf(abs(one.mean()) / error, 13)
        for one, error in zip(apart, errors, strict=True)
    ]
    assert [pair.p for pair in found.pairs] == pytest.approx(by_hand)
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(holm(by_hand))
    for pair, one, error in zip(found.pairs, apart, errors, strict=True):
        assert pair.difference == pytest.approx(one.mean())
        ends = stats.t.interval(0.95, 13, one.mean(), error)
        assert (pair.low, pair.high) == pytest.approx(ends)
    # Of each fold's values the highest has rank 1, and equal ones share their ranks.
    assert np.mean(list(found.mean_ranks.values())) == pytest.approx(2)
    by_hand = [sum((o[3] > v[3]) + (o[3] == v[3]) / 2 for o in scores.values()) + 0.5
               for v in scores.values()]  # fmt: skip
    alone = over_folds("adaptation", {k: [v[3]] for k, v in scores.items()}, FOLDS[:1], 0.1)
    assert list(alone.mean_ranks.values()) == by_hand


def test_ranks_alone_make_no_claim() -> None:
    """One of three is best in all of ten folds: Friedman's p is 0.0005, and was called a finding.

    Its lead is small beside its spread, and folds share most of their training images.
    """
    rng = np.random.default_rng(1)
    worse = 0.8 + 0.02 * rng.random((2, 10))
    lead = np.array([0.0001] * 8 + [0.02, 0.03])
    scores = {"best": (worse.max(axis=0) + lead).tolist(), "b": [*worse[0]], "c": [*worse[1]]}
    assert stats.friedmanchisquare(*scores.values()).pvalue < 0.001
    found = over_folds("adaptation", scores, FOLDS[:10], 0.15)
    assert found.mean_ranks["best"] == 1
    assert min(pair.p_holm or 0 for pair in found.pairs) > 0.05
    assert not {"critical_difference", "groups", "p", "statistic"} & set(found.model_dump())


def test_equal_backbones_are_told_apart_seldom() -> None:
    """A few of the data sets behind the table in docs/statistics.md."""
    setting, said = Setting("nearest image", "folds", 5, 3), {"friedman": 0, "corrected": 0}
    for number in range(120):
        values, ratios = accuracies(np.random.default_rng(number), setting)
        assert (ratios == 24 / 87).all()  # 120 images: 24 held out, 3 × 3 stop the training
        said["friedman"] += friedman(values, 0.0)
        said["corrected"] += corrected(values, float(ratios.mean()))
    # At 5 % six of 120 are to be expected; twelve or more come about in 2 % of cases.
    assert said["corrected"] <= 11
    assert said["friedman"] > said["corrected"]


def test_the_simulated_classifiers_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    train, asked, labels = rng.random((30, 4)), rng.random((50, 4)), np.arange(30) % 3
    for ours, theirs in (
        (nearest_image, KNeighborsClassifier(1)),
        (nearest_mean, NearestCentroid()),
    ):
        assert (
            ours(train, labels, asked).tolist() == theirs.fit(train, labels).predict(asked).tolist()
        )


def test_two_backbones_have_a_corrected_t_test() -> None:
    """Differences 0.01 … 0.05 over five folds: mean 0.03, variance 0.00025."""
    first = [0.81, 0.82, 0.83, 0.84, 0.85]
    found = over_folds("finetuning", {"a": first, "b": [0.8] * 5}, FOLDS[:5], 0.25)
    assert found.test == "corrected t"
    expected = 0.03 / np.sqrt((1 / 5 + 1 / 4) * 0.00025)
    (pair,) = found.pairs
    assert pair.p == pair.p_holm == pytest.approx(2 * stats.t.sf(expected, 4))
    assert pair.difference == pytest.approx(0.03)
    assert found.backbones["a"].deviation == pytest.approx(np.sqrt(0.00025))


def test_without_the_correction_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.random(6), rng.random(6)
    theirs = stats.ttest_rel(one, two)
    assert corrected_t(one - two, 0.0) == pytest.approx((theirs.statistic, theirs.pvalue))
    seeds = [f"seed {k}" for k in range(6)]
    found = over_folds("adaptation", {"a": [*one], "b": [*two]}, seeds, 0.3, "seeds")
    assert (found.test, found.held_out_ratio) == ("paired t", None)
    assert found.pairs[0].p == pytest.approx(theirs.pvalue)


def test_a_pair_without_spread_is_not_tested_and_does_not_count() -> None:
    scores = {"a": [0.9] * 4, "b": [0.8] * 4, "c": [0.5, 0.6, 0.55, 0.7]}
    found = over_folds("adaptation", scores, FOLDS[:4], 0.4)
    level, *varying = found.pairs
    assert (level.difference, level.p, level.p_holm, level.low) == (pytest.approx(0.1), *[None] * 3)
    assert [pair.p_holm for pair in varying] == pytest.approx(
        holm([pair.p or 0 for pair in varying])
    )


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"a": [0.5, 0.6]}, "one backbone"),
        ({"a": [0.5], "b": [0.6]}, "no more than fold 1"),
        ({"a": [0.5, 0.6], "b": [0.5, 0.6], "c": [0.5, 0.6]}, "equally accurate"),
        ({"a": [0.5, 0.6], "b": [0.4, 0.5]}, "the same throughout"),
        ({"a": [0.5, 0.6], "b": [0.4, 0.5], "c": [0.3, 0.4]}, "the same throughout"),
    ],
)
def test_where_nothing_can_be_tested(scores: dict[str, list[float]], words: str) -> None:
    found = over_folds("adaptation", scores, FOLDS[: len(scores["a"])], 0.5)
    assert found.test is None
    assert all(pair.p is None for pair in found.pairs)
    assert words in (found.untested or "")
    assert found.backbones["a"].mean == pytest.approx(np.mean(scores["a"]))


def test_a_comparison_is_read_as_it_was_written() -> None:
    scores = {"a": [0.5, 0.6, 0.8], "b": [0.4, 0.6, 0.6]}
    found = over_folds("adaptation", scores, FOLDS[:3], 0.5)
    assert FoldComparison.model_validate_json(found.model_dump_json(exclude_none=True)) == found
