"""The measures that choose epochs and heads: each is scikit-learn's; what is not defined is NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from seewhy.config import Metric
from seewhy.statistics.classification import LOWER_IS_BETTER, OF_ORDERED_CLASSES, measure
from seewhy.storage.titles import METRIC_TITLES

Labels = NDArray[np.int64]
CLOSE = {"rel": 0, "abs": 1e-9}
ANSWERS: dict[str, Callable[[Labels, Labels], float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "macro_f1": lambda one, other: metrics.f1_score(one, other, average="macro"),
    "kappa": metrics.cohen_kappa_score,
    "matthews": metrics.matthews_corrcoef,
}
RANKINGS = {"auroc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}


def _random(classes: int, seed: int) -> tuple[Labels, Labels, NDArray[np.float64]]:
    """Labels of unequal classes, and probabilities that follow them a little; some are equal."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(classes))
    labels = np.concatenate([np.arange(classes), rng.choice(classes, 120, p=shares)])
    scores = rng.normal(size=(len(labels), classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(scores.round(1))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities.argmax(axis=1), probabilities


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_every_measure_is_scikit_learns(classes: int, seed: int) -> None:
    labels, predicted, probabilities = _random(classes, seed)
    order = np.random.default_rng(seed).permutation(classes)
    degrees = tuple(order.tolist())
    expected = {name: function(labels, predicted) for name, function in ANSWERS.items()}
    expected["log_loss"] = metrics.log_loss(labels, probabilities, labels=range(classes))
    for name, function in RANKINGS.items():
        each = [function(labels == k, probabilities[:, k]) for k in range(classes)]
        expected[name] = float(np.mean(each))
    places = order[labels], order[predicted]
    expected["quadratic_kappa"] = metrics.cohen_kappa_score(*places, weights="quadratic")
    expected["mean_absolute_error"] = metrics.mean_absolute_error(*places)
    assert set(expected) == set(get_args(Metric)) == set(METRIC_TITLES)
    found = {name: measure(name, labels, predicted, probabilities, degrees) for name in expected}
    assert found == pytest.approx(expected, **CLOSE)


def test_a_class_without_images_is_left_out_and_one_class_alone_has_no_ranking() -> None:
    labels, predicted, probabilities = _random(2, 0)
    wider = np.pad(probabilities, ((0, 0), (0, 1)))
    for name in ("balanced_accuracy", "macro_f1", "auroc", "average_precision", "log_loss"):
        alone = measure(name, labels, predicted, probabilities)
        assert measure(name, labels, predicted, wider) == pytest.approx(alone, **CLOSE)
    same = np.zeros(4, np.int64)
    for name in ("auroc", "average_precision", "kappa", "quadratic_kappa"):
        assert np.isnan(measure(name, same, same, np.eye(2)[same], (0, 1)))


def test_a_better_classifier_is_better_by_every_measure() -> None:
    labels, predicted, probabilities = _random(3, 1)
    perfect = 0.9 * np.eye(3)[labels] + 0.1 / 3
    for name in get_args(Metric):
        ours = measure(name, labels, labels, perfect, (0, 1, 2))
        worse = measure(name, labels, predicted, probabilities, (0, 1, 2))
        assert (ours < worse) == (name in LOWER_IS_BETTER), name
    assert set(OF_ORDERED_CLASSES) < set(get_args(Metric))
