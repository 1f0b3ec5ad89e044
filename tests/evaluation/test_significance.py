"""Tests of paired answers against values worked out by hand, SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from seewhy.evaluation.significance import compare_pair, equal_errors, holm, kappa, mcnemar
from seewhy.storage.schemas.predictions import Predictions

CLASSES = ("cat", "dog", "frog")


def test_few_discordant_images_are_tested_exactly() -> None:
    """Of 12 fair coins at most 2 heads: (1 + 12 + 66) / 4096, and as much on the other side."""
    found = mcnemar(10, 2)
    assert (found.test, found.statistic) == ("exact binomial", None)
    assert found.p == pytest.approx(2 * 79 / 4096)
    assert mcnemar(2, 10) == found


@pytest.mark.parametrize("split", [(0, 0), (3, 3), (0, 1), (5, 19), (12, 12), (0, 24)])
def test_the_exact_test_is_scipys_binomial_test(split: tuple[int, int]) -> None:
    if sum(split):
        expected = stats.binomtest(split[0], sum(split)).pvalue
        assert mcnemar(*split).p == pytest.approx(expected)
    else:
        assert mcnemar(*split).p == 1


def test_many_discordant_images_are_tested_with_chi_squared() -> None:
    """121 against 59 discordant: (|121 - 59| - 1)² / 180 = 3721 / 180."""
    found = mcnemar(121, 59)
    assert found.test == "chi-squared"
    assert found.statistic == pytest.approx(20.672, abs=1e-3)
    assert found.p == pytest.approx(5.45e-6, rel=1e-2)
    equal = mcnemar(20, 20)
    assert (equal.statistic, equal.p) == (0, 1)
    assert mcnemar(13, 12).test == "chi-squared"
    assert mcnemar(12, 12).test == "exact binomial"


def test_holm_worked_out_by_hand() -> None:
    """Sorted 0.005·4, 0.01·3, 0.03·2, then 0.04·1, which may not be smaller than 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_values_and_bonferronis(p_values: list[float]) -> None:
    found = np.array(holm(p_values))
    given_ = np.array(p_values)
    assert (found >= given_ - 1e-12).all()
    assert (found <= np.minimum(given_ * len(given_), 1) + 1e-12).all()
    order = np.argsort(given_, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_kappa_worked_out_by_hand() -> None:
    """Cohen's table as it is often shown: 20 and 15 alike, 5 and 10 apart, of 50."""
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    # Observed 0.7; by chance 0.5 · 0.6 + 0.5 · 0.4 = 0.5.
    assert kappa(first, second) == pytest.approx(0.4)
    assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    assert kappa(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)) is None
    assert kappa(np.array([0, 0]), np.array([0, 1])) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    found = kappa(first, second)
    if found is None:
        assert len({*first.tolist(), *second.tolist()}) == 1
    else:
        assert found == pytest.approx(cohen_kappa_score(first, second))


def _answers(predicted: list[int], confidence: list[float]) -> Predictions:
    rows = np.zeros((len(predicted), 3), dtype=np.float32)
    for row, best, sure in zip(rows, predicted, confidence, strict=True):
        row[:] = (1 - sure) / 2
        row[best] = sure
    ids = tuple(f"id{k}" for k in range(len(predicted)))
    return Predictions(ids, np.array([0, 0, 1, 1, 2, 2]), rows)


def test_a_pair_worked_out_by_hand() -> None:
    first = _answers([0, 0, 1, 1, 2, 0], [0.9, 0.95, 0.7, 0.9, 0.9, 0.6])  # 5 right
    second = _answers([0, 1, 1, 0, 2, 1], [0.9, 0.5, 0.7, 0.8, 0.9, 0.9])  # 3 right
    found = compare_pair("finetuning", ("a", "b"), (first, second), CLASSES)
    assert (found.both_right, found.first_only, found.second_only, found.both_wrong) == (3, 2, 0, 1)
    assert found.difference.value == pytest.approx(2 / 6)
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.p == found.p_holm == pytest.approx(0.5)
    assert found.agreement == pytest.approx(0.5)
    # Surest where the less sure of the two is surest: 0.8, 0.6, 0.5.
    assert [one.id for one in found.disagreements] == ["id3", "id5", "id1"]
    top = found.disagreements[0]
    assert (top.label, top.first, top.second) == ("dog", "dog", "cat")
    assert (top.first_confidence, top.second_confidence) == pytest.approx((0.9, 0.8))


def test_swapping_the_two_turns_the_difference_round() -> None:
    first = _answers([0, 0, 1, 1, 2, 0], [0.9] * 6)
    second = _answers([0, 1, 1, 0, 2, 1], [0.9] * 6)
    one = compare_pair("adaptation", ("a", "b"), (first, second), CLASSES)
    two = compare_pair("adaptation", ("b", "a"), (second, first), CLASSES)
    assert two.difference.value == -one.difference.value
    assert two.difference.low == pytest.approx(-one.difference.high)
    assert (two.p, two.kappa, two.agreement) == (one.p, one.kappa, one.agreement)


def test_other_images_cannot_be_paired() -> None:
    first = _answers([0] * 6, [0.9] * 6)
    for other in (
        Predictions(first.ids[::-1], first.labels, first.probabilities),
        Predictions(first.ids, first.labels[::-1], first.probabilities),
    ):
        with pytest.raises(ValueError, match="same images"):
            compare_pair("adaptation", ("a", "b"), (first, other), CLASSES)


def test_groups_change_sign_together() -> None:
    # Three patients of two images; the first classifier is right, the second wrong. Of the 8 ways
    # to exchange the two per patient, two are as far apart.
    right, wrong = np.ones(6, dtype=bool), np.zeros(6, dtype=bool)
    found = equal_errors(right, wrong, np.array([0, 0, 1, 1, 2, 2]))
    assert (found.test, found.p) == ("sign-flip", 0.25)
    assert equal_errors(right, wrong, np.arange(6)) == mcnemar(6, 0)
    assert equal_errors(right, right, np.zeros(6, dtype=np.int64)).p == 1


def test_equal_classifiers_on_groups_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(0)
    rejected = alone = 0
    for seed in range(300):
        groups = np.repeat(np.arange(20), 6)
        first, second = (rng.random(20)[groups] < 0.5 for _ in range(2))
        rejected += equal_errors(first, second, groups, seed).p < 0.05
        alone += equal_errors(first, second).p < 0.05
    assert rejected / 300 <= 0.08
    assert alone / 300 > 0.2
