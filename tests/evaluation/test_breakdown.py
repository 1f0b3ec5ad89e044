"""Results by a column: by hand, against SciPy, and against rates that are known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from seewhy.evaluation.breakdown import (
    association,
    break_down,
    columns_to_show,
    independence,
    summarise_breakdown,
)
from seewhy.storage.schemas.predictions import Predictions

CLASSES = ("benign", "malignant")


def _predictions(labels: list[int], predicted: list[int]) -> Predictions:
    ids = tuple(f"id{k}" for k in range(len(labels)))
    return Predictions(ids, np.array(labels), np.eye(2, dtype=np.float32)[predicted])


def _skin() -> tuple[Predictions, list[str]]:
    """40 images each of benign and malignant, with a ruler and without; 2, 4, 8 and 24 wrong."""
    labels, predicted, cells = [], [], []
    for label, value, wrong in ((0, "ruler", 2), (0, "none", 4), (1, "none", 8), (1, "ruler", 24)):
        labels += [label] * 40
        predicted += [1 - label] * wrong + [label] * (40 - wrong)
        cells += [value] * 40
    return _predictions(labels, predicted), cells


def test_worked_out_by_hand() -> None:
    predictions, cells = _skin()
    found = break_down(predictions, CLASSES, "artefact", cells)
    assert [(one.value, one.images, one.accuracy.value) for one in found.values] == [
        ("none", 80, 1 - 12 / 80),
        ("ruler", 80, 1 - 26 / 80),
    ]
    assert [(one.value, one.label, one.accuracy.value) for one in found.cells] == [
        ("none", "benign", 0.9),
        ("none", "malignant", 0.8),
        ("ruler", "benign", 0.95),
        ("ruler", "malignant", 0.4),
    ]
    assert found.worst == found.cells[3]
    # With a ruler: recall 0.95 and 0.4; precision 38 / 62 and 16 / 18.
    assert found.values[1].recall == pytest.approx(0.675)
    assert found.values[1].precision == pytest.approx((38 / 62 + 16 / 18) / 2)
    assert found.gap is not None
    assert found.gap.value == pytest.approx(14 / 80)
    assert (found.best_value, found.worst_value) == ("none", "ruler")
    wilson = stats.binomtest(16, 40).proportion_ci(method="wilson")
    assert (found.worst.accuracy.low, found.worst.accuracy.high) == (wilson.low, wilson.high)
    assert found.p is not None
    assert found.p < 0.001


def test_its_sentences() -> None:
    predictions, cells = _skin()
    found = break_down(predictions, CLASSES, "artefact", cells)
    found = found.model_copy(update={"association": 0.62})
    assert summarise_breakdown([found]).sentences == [
        "Worst group by 'artefact': class 'malignant' with 'ruler', accuracy 0.40 (95 % CI 0.26 to "
        "0.55, 40 test images); the same class has 0.80 with 'none'.",
        "Errors depend on 'artefact' (p < 0.001, permutation test within classes); over all "
        "classes accuracy is 0.17 higher for 'none' than for 'ruler' (95 % CI 0.05 to 0.29).",
        "The label can partly be told from 'artefact' (Cramér's V 0.62): a classifier that "
        "recognises it looks better than it is.",
    ]


def test_errors_that_cancel_over_classes_are_still_found() -> None:
    """With a ruler benign images are right more often and malignant ones less: equal in sum."""
    labels = np.repeat([0, 0, 1, 1], 50)
    values = np.repeat(["ruler", "none", "ruler", "none"], 50)
    errors = np.concatenate([np.arange(50) < wrong for wrong in (5, 20, 20, 5)]).astype(float)
    p, _ = independence(errors, values, labels)
    assert p is not None
    assert p < 0.001
    assert stats.chi2_contingency([[25, 75], [25, 75]]).pvalue == 1


def test_one_class_gives_scipys_exact_test() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        errors, values = rng.integers(0, 2, 30).astype(float), rng.choice(["a", "b"], 30)
        table = [
            [int(errors[values == name].sum()), int((1 - errors[values == name]).sum())]
            for name in ("a", "b")
        ]
        p, _ = independence(errors, values, np.zeros(30, dtype=np.int64), permutations=40_000)
        # Fisher's test orders tables by their probability, χ² by their distance: alike for 2 × 2.
        assert p == pytest.approx(stats.fisher_exact(table).pvalue, abs=0.08)


def test_independent_errors_are_rarely_called_dependent() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for seed in range(200):
        labels, values = rng.integers(0, 2, 80), rng.choice(["a", "b", "c"], 80)
        errors = (rng.random(80) < np.where(labels == 0, 0.1, 0.4)).astype(float)
        p, _ = independence(errors, values, labels, seed=seed, permutations=400)
        assert p is not None
        rejected += p < 0.05
    assert rejected / 200 <= 0.09


def test_where_nothing_can_be_tested() -> None:
    labels, values = np.zeros(6, dtype=np.int64), np.array(["a", "b"] * 3)
    assert independence(np.zeros(6), values, labels) == (
        None,
        "no class has both right and wrong predictions for several values",
    )
    clusters = np.array([0, 0, 1, 1, 2, 2])
    assert independence(np.ones(6), values, labels, clusters)[1] == (
        "no group of images of one class has both right and wrong predictions for several values"
    )
    two = np.array(["a", "a", "b", "b"])
    assert independence(np.ones(4), two, labels[:4], clusters[:4])[1] == (
        "within each class every value is that of a single group of images"
    )


def test_clusters_of_one_value_exchange_it_as_a_whole() -> None:
    # Four clusters of three images: those with "a" wrong, those with "b" right. Of the six ways to
    # give two of four clusters an "a", two are as far apart: p = 1/3, where 12 images alone would
    # give 2 / C(12, 6).
    clusters = np.repeat(np.arange(4), 3)
    errors = (clusters < 2).astype(float)
    values, labels = np.where(clusters < 2, "a", "b"), np.zeros(12, dtype=np.int64)
    assert independence(errors, values, labels, clusters)[0] == pytest.approx(1 / 3, abs=0.02)
    assert independence(errors, values, labels)[0] == pytest.approx(2 / 924, abs=0.002)


def test_clusters_with_several_values_are_permuted_within() -> None:
    # In each of two clusters two images with "a" are wrong, two with "b" right: one of the six
    # ways in each, or both mirrored, so 2 of 36 are as far. (χ² of each cluster is at its highest
    # either way round, so all four of those count.)
    clusters, values = np.repeat([0, 1], 4), np.array(["a", "a", "b", "b"] * 2)
    errors = (values == "a").astype(float)
    p, _ = independence(errors, values, np.zeros(8, dtype=np.int64), clusters)
    assert p == pytest.approx(4 / 36, abs=0.015)


@pytest.mark.parametrize("constant", [True, False])
def test_independent_errors_of_clusters_are_rarely_called_dependent(constant: bool) -> None:
    rng = np.random.default_rng(0)
    rejected = alone = 0
    for seed in range(200):
        clusters = np.repeat(np.arange(12), 8)
        labels = (clusters % 2).astype(np.int64)
        values = (
            rng.choice(["a", "b", "c"], 12)[clusters] if constant else rng.choice(["a", "b"], 96)
        )
        errors = (rng.random(96) < rng.choice([0.1, 0.8], 12)[clusters]).astype(float)
        p, _ = independence(errors, values, labels, clusters, seed=seed, permutations=300)
        rejected += p is not None and p < 0.05
        p, _ = independence(errors, values, labels, seed=seed, permutations=300)
        alone += p is not None and p < 0.05
    assert rejected / 200 <= 0.09
    # Images of one cluster are alike: taken one by one they call most columns a cause.
    assert alone / 200 > 0.3 or not constant


def test_clusters_widen_the_intervals() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(20) < 0.7, 10)
    labels = np.zeros(200, dtype=int)
    predictions = _predictions(labels.tolist(), np.where(right, 0, 1).tolist())
    grouped = replace(predictions, groups=np.repeat(np.arange(20), 10))
    alone = break_down(predictions, CLASSES, "c", ["a"] * 200)
    together = break_down(grouped, CLASSES, "c", ["a"] * 200)
    width = [one.values[0].accuracy.high - one.values[0].accuracy.low for one in (alone, together)]
    assert width[1] > 2 * width[0]


def test_a_negative_end_of_an_interval_has_a_minus_sign() -> None:
    labels = [0] * 80 + [1] * 80
    wrong = [k % 4 == 0 for k in range(160)]
    predictions = _predictions(
        labels, [1 - k if bad else k for k, bad in zip(labels, wrong, strict=True)]
    )
    cells = ["a" if k % 3 else "b" for k in range(160)]
    found = summarise_breakdown([break_down(predictions, CLASSES, "c", cells)])
    (said,) = [one for one in found.sentences if "do not depend" in one]
    assert "95 % CI \u22120." in said


def test_small_groups_are_shown_but_are_not_the_worst() -> None:
    predictions, cells = _skin()
    labels = [*predictions.labels.tolist(), 0, 0]
    more = _predictions(labels, [*predictions.predicted.tolist(), 1, 1])
    found = break_down(more, CLASSES, "artefact", [*cells, "hair", "hair"])
    assert [one.images for one in found.cells if one.value == "hair"] == [2]
    assert found.worst is not None
    assert found.worst.value == "ruler"
    # Images without a value are in no group.
    found = break_down(more, CLASSES, "artefact", [*cells, "", ""])
    assert sum(one.images for one in found.values) == 160


def test_cramers_v_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    assert association(["a", "a", "b", "b"], labels) == pytest.approx(1)
    assert association(["a", "b", "a", "b"], labels) == pytest.approx(0)
    assert association(["a", "a", "a", ""], labels) is None
    # χ² of [[30, 10], [10, 30]] is 20, over 80 images: V = 0.5.
    cells, rows = ["a"] * 40 + ["b"] * 40, [0] * 30 + [1] * 10 + [0] * 10 + [1] * 30
    assert association(cells, np.array(rows)) == pytest.approx(0.5)


def test_columns_with_few_values_are_chosen() -> None:
    metadata = {
        "site": ["a", "b"] * 30,
        "patient": [str(k) for k in range(60)],
        "constant": ["x"] * 60,
        "empty": [""] * 60,
        "age": [str(k / 2) for k in range(60)],
    }
    assert columns_to_show(metadata) == {"site": metadata["site"]}
    age = columns_to_show(metadata, ["age"])["age"]
    assert list(dict.fromkeys(age)) == [
        "0 … 7.375",
        "7.375 … 14.75",
        "14.75 … 22.125",
        "22.125 … 29.5",
    ]
    assert np.unique(age, return_counts=True)[1].tolist() == [15] * 4
    assert columns_to_show(metadata, ["patient"]) != {"patient": metadata["patient"]}
