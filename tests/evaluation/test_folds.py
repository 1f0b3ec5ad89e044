"""Folds and seeds scored, against means and deviations worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.data.folds import Repetition
from seewhy.evaluation.folds import out_of_fold, own_repeat, score_repeat, spread
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Rates
from seewhy.storage.schemas.repetitions import RepetitionPredictions, RepetitionScores
from seewhy.storage.schemas.summary import StageSummary

DATA = Dataset(
    source="a test",
    classes=("a", "b"),
    ids=tuple("uvwxyz"),
    paths=tuple("uvwxyz"),
    labels=np.array([0, 1, 0, 1, 0, 1]),
    splits=("test", "test", "train", "validation", "test", "test"),
    pixels=np.zeros((6, 1, 1, 3), dtype=np.uint8),
)


def said(*predicted: int) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[list(predicted)] * 0.5 + 0.25


def test_out_of_fold_predictions_come_in_the_order_of_the_data() -> None:
    one = np.array([[0.1, 0.9], [0.2, 0.8]], dtype=np.float32)
    other = np.array([[0.3, 0.7]], dtype=np.float32)
    found = out_of_fold([(np.array([1, 4]), one), (np.array([2]), other)], DATA)
    assert (found.ids, found.labels.tolist()) == (("v", "w", "y"), [1, 0, 0])
    np.testing.assert_array_equal(found.probabilities, [one[0], other[0], one[1]])


def test_a_fold_is_scored_where_it_was_held_out_and_on_the_test_images() -> None:
    repetition = Repetition("fold 1", 7, DATA, np.array([0, 1]))
    answers = RepetitionPredictions(9, said(0, 0), said(0, 1))
    found = score_repeat(repetition, answers, np.array([4, 5]))
    assert (found.name, found.seed, found.epochs) == ("fold 1", 7, 9)
    assert (found.train, found.validation) == (1, 1)
    # Both taken for a: one of two right, precision 1/2 and 0, recall 1 and 0.
    assert found.held_out == Rates(accuracy=0.5, precision=0.25, recall=0.5)
    assert found.test == Rates(accuracy=1, precision=1, recall=1)
    nothing = np.zeros(0, dtype=np.int64)
    seed = Repetition("seed 8", 8, DATA, nothing)
    found = score_repeat(seed, RepetitionPredictions(2, said()[:0], said(1, 1)), np.array([4, 5]))
    assert (found.held_out, found.test.accuracy) == (None, 0.5)


def repeat(accuracy: float, held_out: float | None = None) -> RepetitionScores:
    return RepetitionScores(
        name="x",
        seed=0,
        train=1,
        validation=1,
        epochs=1,
        held_out=None
        if held_out is None
        else Rates(accuracy=held_out, precision=held_out, recall=held_out),
        test=Rates(accuracy=accuracy, precision=0.5, recall=0.25),
    )


def test_mean_and_sample_deviation() -> None:
    found = spread([repeat(0.2, 0.5), repeat(0.4, 0.5), repeat(0.9, 0.8)])
    assert found.test["accuracy"].mean == pytest.approx(0.5)
    # ((0.3² + 0.1² + 0.4²) / 2)½
    assert found.test["accuracy"].deviation == pytest.approx(0.13**0.5)
    assert found.test["recall"].deviation == 0
    assert found.held_out["precision"].mean == pytest.approx(0.6)
    assert found.held_out["precision"].deviation == pytest.approx(0.03**0.5)
    one = spread([repeat(0.2)])
    assert (one.held_out, one.test["accuracy"].deviation) == ({}, None)


def test_the_studys_own_training_is_one_of_the_seeds() -> None:
    stage = StageSummary(
        accuracy=0.5, precision=0.25, recall=0.75, per_class_recall={}, epochs=3, seconds=1
    )
    found = own_repeat(7, DATA, stage)
    assert (found.name, found.seed, found.epochs, found.train) == ("seed 7", 7, 3, 1)
    assert found.test == Rates(accuracy=0.5, precision=0.25, recall=0.75)
