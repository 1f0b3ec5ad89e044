"""A whole evaluation against scikit-learn and against the records it must agree with."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, top_k_accuracy_score

from seewhy.evaluation.metrics import places
from seewhy.evaluation.performance import evaluate, evaluate_stage
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.storage.schemas.predictions import Predictions

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")


def _answers(seed: int = 0, count: int = 300, classes: int = 6, skill: float = 2.0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(0, 1, (count, classes))
    logits[np.arange(count), labels] += skill
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = tuple(f"id{k}" for k in range(count))
    return Predictions(ids, labels.astype(np.int64), shares.astype(np.float32))


def test_every_number_is_scikit_learns() -> None:
    given = _answers()
    found = evaluate_stage(given, CLASSES, draws=200)
    labels, predicted = given.labels, given.predicted
    assert found.images == 300
    assert found.accuracy.value == pytest.approx((labels == predicted).mean())
    for ours, theirs in (
        (found.precision, precision_score),
        (found.recall, recall_score),
        (found.f1, f1_score),
    ):
        assert ours.value == pytest.approx(theirs(labels, predicted, average="macro"))
        assert ours.low < ours.value < ours.high
    each = f1_score(labels, predicted, average=None)
    assert [one.f1.value for one in found.classes.values()] == pytest.approx(each.tolist())
    assert list(found.top) == [2, 3, 5]
    for k, share in found.top.items():
        expected = top_k_accuracy_score(labels, given.probabilities, k=k)
        assert share.value == pytest.approx(expected)
    assert found.top[2].value <= found.top[3].value <= found.top[5].value
    assert found.matrix().sum() == 300
    assert np.trace(found.matrix()) / 300 == pytest.approx(found.accuracy.value)
    for cell in found.confusion:
        assert cell.rate == pytest.approx(cell.images / found.classes[cell.label].images)


def test_intervals_are_as_wide_as_the_classes_spread() -> None:
    given = _answers(count=600)
    found = evaluate_stage(given, CLASSES, draws=4000)
    right = given.labels == given.predicted
    of_bee = right[given.labels == 1]
    width = 2 * 1.96 * np.sqrt(of_bee.var() / len(of_bee))
    recall = found.classes["bee"].recall
    assert recall.high - recall.low == pytest.approx(width, rel=0.1)


def test_ties_are_ordered_as_the_prediction_is() -> None:
    shares = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4]], dtype=np.float32)
    assert places(np.array([0, 1, 2]), shares).tolist() == [0, 1, 1]


def test_a_class_without_images_or_answers_is_no_error() -> None:
    given = Predictions(
        ("x", "y"), np.array([0, 0]), np.array([[0.9, 0.1, 0], [0.2, 0.8, 0]], dtype=np.float32)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate_stage(given, ("a", "b", "c"), draws=20)
    assert (found.classes["c"].images, found.classes["c"].predicted) == (0, 0)
    assert found.classes["c"].f1.value == found.classes["c"].f1.high == 0
    assert list(found.top) == [2]
    assert found.top[2].value == 1


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    given = _answers()
    halves = Predictions(given.ids, given.labels, given.probabilities / 2)
    assert evaluate_stage(halves, CLASSES, draws=5).calibration is None
    assert evaluate_stage(given, CLASSES, draws=5).calibration is not None


def test_the_whole_record_survives_json() -> None:
    stages = {"adaptation": _answers(1, skill=1.0), "finetuning": _answers(1, skill=3.0)}
    validation = {"finetuning": _answers(2, 60)}
    found = evaluate(stages, validation, None, CLASSES, draws=20)  # type: ignore[arg-type]
    assert found.baseline is None
    first, second = found.stages["adaptation"].temperature, found.stages["finetuning"].temperature
    assert first is not None
    assert second is not None
    assert first.skipped == "there are no validation predictions"
    assert second.images == 60
    assert Evaluation.model_validate_json(found.model_dump_json(exclude_none=True)) == found
    again = evaluate(stages, validation, None, CLASSES, draws=20)  # type: ignore[arg-type]
    assert again == found
    assert evaluate(stages, {}, stages["adaptation"], CLASSES, draws=5).baseline is not None  # type: ignore[arg-type]


def test_groups_widen_every_interval() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20) % 2, 10)
    right = np.repeat(rng.random(20) < 0.7, 10)
    sure = np.where(right, labels, 1 - labels)
    probabilities = np.where(np.eye(2)[sure] > 0, 0.8, 0.2).astype(np.float32)
    ids = tuple(f"{k}" for k in range(200))
    alone = Predictions(ids, labels, probabilities)
    grouped = replace(alone, groups=np.repeat(np.arange(20), 10))
    apart = replace(alone, groups=np.arange(200))
    found = [evaluate_stage(one, ("a", "b"), draws=300) for one in (alone, grouped, apart)]
    width = [one.accuracy.high - one.accuracy.low for one in found]
    assert width[1] > 2 * width[0]
    assert width[2] == pytest.approx(width[0], rel=0.2)
    errors = [one.calibration.error for one in found if one.calibration]
    assert errors[1].high - errors[1].low > 1.5 * (errors[0].high - errors[0].low)
    assert found[0].accuracy.value == found[1].accuracy.value
