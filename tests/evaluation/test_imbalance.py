"""Measures for classes of unequal sizes: against scikit-learn, and where nothing is defined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics

from seewhy.evaluation.imbalance import imbalance, imbalance_scores, rarer_class
from seewhy.statistics.classification import measures, ordered_measures, ranking
from seewhy.storage.schemas.predictions import Predictions
from tests.evaluation.conftest import answers

CLOSE = {"rel": 0, "abs": 1e-9}


def _tied(labels: list[int], classes: int, seed: int = 3) -> Predictions:
    """Answers with many equal probabilities."""
    found = answers(np.array(labels), classes, 1.0, seed)
    coarse = np.round(found.probabilities * 8) + 0.25
    shares = (coarse / coarse.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions(found.ids, found.labels, shares)


def _by_scikit_learn(found: Predictions, classes: int, weight: np.ndarray) -> dict[str, float]:
    labels, predicted = found.labels, found.predicted
    shares = found.probabilities.astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    given = {"sample_weight": weight}
    expected = {
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted, **given),
        "kappa": metrics.cohen_kappa_score(labels, predicted, **given),
        "matthews": metrics.matthews_corrcoef(labels, predicted, **given),
        "log_loss": metrics.log_loss(labels, shares, labels=range(classes), **given),
    }
    for name, function in (
        ("auroc", metrics.roc_auc_score),
        ("average_precision", metrics.average_precision_score),
    ):
        each = [
            function(labels == k, found.probabilities[:, k].astype(np.float64), **given)
            for k in range(classes)
        ]
        expected |= {f"{name} {k}": one for k, one in enumerate(each)}
        expected[name] = float(np.mean(each))
    return expected


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("make", [_tied, lambda labels, k: answers(np.array(labels), k, 1.0, 5)])
def test_every_measure_is_scikit_learns_whatever_the_weights(make, classes: int) -> None:  # type: ignore[no-untyped-def]
    labels = [k for k in range(classes) for _ in range(5 + 20 * k)]
    found = make(labels, classes)
    rng = np.random.default_rng(0)
    weight = np.stack([np.ones(len(labels)), rng.integers(0, 4, len(labels)).astype(float)])
    shares = found.probabilities.astype(np.float64)
    ours = measures(found.labels, found.predicted, shares, weight)
    for row, one in enumerate(weight):
        expected = _by_scikit_learn(found, classes, one)
        assert {name: values[row] for name, values in ours.items()} == pytest.approx(
            expected, **CLOSE
        )


def test_intervals_hold_their_values_and_depend_on_the_seed_alone() -> None:
    found = _tied([0] * 40 + [1] * 10, 2)
    scores = imbalance_scores(found, ("no", "yes"), positive=1, draws=200)
    assert scores == imbalance_scores(found, ("no", "yes"), positive=1, draws=200)
    for name in ("balanced_accuracy", "auroc", "average_precision", "log_loss", "kappa"):
        one = getattr(scores, name)
        assert one.low < one.value < one.high, name
    assert scores.classes["yes"].images == 10
    # The recalls of both classes, and their mean.
    right = found.predicted == found.labels
    assert scores.sensitivity is not None
    assert scores.specificity is not None
    assert scores.sensitivity.value == pytest.approx(right[40:].mean())
    assert scores.specificity.value == pytest.approx(right[:40].mean())
    other = imbalance_scores(found, ("no", "yes"), positive=0, draws=200)
    assert (other.sensitivity, other.specificity) == (scores.specificity, scores.sensitivity)


def test_a_class_without_test_images_has_none_and_is_left_out_of_the_mean() -> None:
    found = answers(np.array([0, 0, 0, 1, 1, 1]), 3, 1.0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = imbalance_scores(found, ("a", "b", "c"), draws=50)
    assert (scores.classes["c"].auroc, scores.classes["c"].average_precision) == (None, None)
    own = [scores.classes[name].auroc for name in "ab"]
    assert scores.auroc is not None
    assert scores.auroc.value == pytest.approx(np.mean([one.value for one in own if one]))
    assert scores.sensitivity is None


def test_images_of_one_class_alone_have_no_kappa_and_no_ranking() -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2]], dtype=np.float32)
    scores = imbalance_scores(
        Predictions(("x", "y"), np.zeros(2, np.int64), shares), ("a", "b"), 1, draws=20
    )
    assert (scores.kappa, scores.auroc, scores.sensitivity) == (None, None, None)
    assert scores.classes["a"].auroc is None
    assert scores.balanced_accuracy.value == 1
    assert scores.matthews.value == 0


def test_scores_that_are_no_probabilities_have_no_log_loss() -> None:
    found = answers(np.array([0, 0, 1, 1]), 2, 1.0, 2)
    halved = Predictions(found.ids, found.labels, found.probabilities / 2)
    scores = imbalance({"adaptation": found}, halved, ("a", "b"), draws=20)
    assert scores.baseline is not None
    assert scores.baseline.log_loss is None
    assert scores.stages["adaptation"].log_loss is not None
    assert scores.baseline.auroc == scores.stages["adaptation"].auroc


def test_draws_without_a_positive_image_are_not_defined() -> None:
    weight = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    auroc, precision = ranking(np.array([True, False, False]), np.array([3.0, 2, 1]), weight)
    np.testing.assert_array_equal(auroc, [1, np.nan])
    np.testing.assert_array_equal(precision, [1, np.nan])


def test_large_studies_draw_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answers(np.array([0, 0, 1, 1]), 2, 1.0, 2)
    assert imbalance({"adaptation": found}, None, ("a", "b")).draws == 1000
    monkeypatch.setattr("seewhy.evaluation.imbalance.MOST_PASSES", 8 * 300)
    assert imbalance({"adaptation": found}, None, ("a", "b")).draws == 300
    monkeypatch.setattr("seewhy.evaluation.imbalance.MOST_PASSES", 1)
    assert imbalance({"adaptation": found}, None, ("a", "b")).draws == 200


def test_the_rarer_of_two_classes_is_positive() -> None:
    assert rarer_class(np.array([0, 1, 1]), 2) == 0
    assert rarer_class(np.array([0, 0, 1]), 2) == 1
    assert rarer_class(np.array([0, 1]), 2) == 1
    assert rarer_class(np.array([0, 1, 2]), 3) is None


def test_ordered_measures_are_scikit_learns_whatever_the_weights() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 80)
    predicted = np.clip(labels + rng.integers(-1, 3, 80), 0, 4)
    weight = np.stack([np.ones(80), rng.integers(0, 4, 80).astype(float)])
    ours = ordered_measures(labels, predicted, weight)
    for row, one in enumerate(weight):
        kappa = metrics.cohen_kappa_score(labels, predicted, weights="quadratic", sample_weight=one)
        error = metrics.mean_absolute_error(labels, predicted, sample_weight=one)
        assert ours["quadratic_kappa"][row] == pytest.approx(kappa, **CLOSE)
        assert ours["mean_absolute_error"][row] == pytest.approx(error, **CLOSE)
    same = np.ones(4, np.int64)
    alone = ordered_measures(same, same, np.ones((1, 4)))
    assert np.isnan(alone["quadratic_kappa"][0])
    assert alone["mean_absolute_error"][0] == 0


def test_the_order_is_that_of_the_names() -> None:
    """One of three images is mild and predicted as none: neighbours in one of the orders."""
    shares = np.eye(3, dtype=np.float32)[[1, 1, 2]]
    found = Predictions(("x", "y", "z"), np.array([0, 1, 2]), shares)
    for order, error in ((("mild", "none", "severe"), 1 / 3), (("none", "severe", "mild"), 2 / 3)):
        made = imbalance(
            {"adaptation": found}, found, ("mild", "none", "severe"), draws=20, order=order
        )
        assert made.order == list(order)
        for one in (made.baseline, made.stages["adaptation"]):
            assert one is not None
            assert one.mean_absolute_error is not None
            assert one.mean_absolute_error.value == pytest.approx(error)
            assert one.quadratic_kappa is not None
    plain = imbalance({"adaptation": found}, None, ("mild", "none", "severe"), draws=20)
    assert plain.stages["adaptation"].quadratic_kappa is None
