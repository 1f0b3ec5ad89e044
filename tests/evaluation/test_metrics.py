"""Scores against values worked out by hand, and what must hold for any predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.evaluation.metrics import score

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def test_worked_out_by_hand() -> None:
    """Four cats, three dogs, one cow; cow is never predicted."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    scores = score(labels, predicted, ["cat", "dog", "cow"])
    assert scores.accuracy == 5 / 8
    assert scores.confusion.tolist() == [[3, 1, 0], [1, 2, 0], [0, 1, 0]]
    assert scores.confusion.dtype == np.int64
    # cat: 3 of 4 predicted are right; dog: 2 of 4; cow: none predicted, so 0.
    assert scores.per_class_precision == {"cat": 0.75, "dog": 0.5, "cow": 0.0}
    assert scores.per_class_recall == {"cat": 0.75, "dog": pytest.approx(2 / 3), "cow": 0.0}
    assert scores.precision == pytest.approx(1.25 / 3)
    assert scores.recall == pytest.approx((3 / 4 + 2 / 3) / 3)
    # F1 = 2 · right / (images + predicted): 6 of 8, 4 of 7, 0 of 1.


def test_a_class_without_images_still_counts_in_the_averages() -> None:
    scores = score(np.array([0, 0, 2]), np.array([0, 1, 2]), ["a", "b", "c"])
    assert scores.per_class_recall == {"a": 0.5, "b": 0.0, "c": 1.0}
    assert scores.recall == pytest.approx(0.5)
    assert scores.per_class_precision == {"a": 1.0, "b": 0.0, "c": 1.0}
    assert scores.confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@given(PAIRS)
def test_what_holds_for_any_predictions(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    classes = ["a", "b", "c", "d"]
    scores = score(labels, predicted, classes)
    counts = np.bincount(labels, minlength=4)
    assert scores.confusion.sum(axis=1).tolist() == counts.tolist()
    assert scores.confusion.sum(axis=0).tolist() == np.bincount(predicted, minlength=4).tolist()
    assert scores.accuracy == pytest.approx(np.trace(scores.confusion) / len(pairs))
    recall = np.array(list(scores.per_class_recall.values()))
    assert scores.accuracy == pytest.approx((recall * counts).sum() / len(pairs))
    assert scores.recall == pytest.approx(recall.mean())
    # Swapping truth and prediction swaps precision and recall.
    swapped = score(predicted, labels, classes)
    assert swapped.per_class_precision == pytest.approx(scores.per_class_recall)
    assert swapped.confusion.tolist() == scores.confusion.T.tolist()


@pytest.mark.parametrize(
    ("labels", "predicted", "words"),
    [
        ([0, 1], [0], "of one length"),
        ([], [], "of one length"),
        ([0, 2], [0, 1], "`labels` to hold indices below 2"),
        ([0, 1], [0, -1], "`predicted` to hold indices below 2"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    labels: list[int], predicted: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        score(np.array(labels, dtype=np.int64), np.array(predicted, dtype=np.int64), ["a", "b"])
