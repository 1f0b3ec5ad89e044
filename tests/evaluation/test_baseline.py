"""The baseline on made-up probabilities whose answer can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.config import BaselineConfig
from seewhy.errors import ConfigError
from seewhy.evaluation.baseline import as_shares, baseline, group_scores
from seewhy.models.imagenet import group_classes

# tench, tabby, lion, beagle, pug; the outputs of an imagined classifier
WNIDS = ("n01440764", "n02123045", "n02129165", "n02088364", "n02110958")
CLASSES = ("dog", "cat", "fish")
PROBABILITIES = np.array(
    [
        [0.10, 0.40, 0.00, 0.25, 0.25],  # largest: cat (0.40); sum: dog (0.50)
        [0.00, 0.30, 0.20, 0.45, 0.05],  # largest: dog (0.45); sum: cat (0.50) and dog (0.50)
        [0.50, 0.26, 0.24, 0.00, 0.00],  # largest: fish (0.50); sum: cat and fish (0.50)
        [0.35, 0.05, 0.20, 0.30, 0.10],  # largest: fish (0.35); sum: dog (0.40)
    ],
    dtype=np.float32,
)
LABELS = np.array([0, 0, 2, 2])


def test_largest_probability_worked_out_by_hand() -> None:
    record, shares = baseline(PROBABILITIES, LABELS, CLASSES, WNIDS, BaselineConfig())
    # predicted: cat, dog, fish, fish
    assert shares is not None
    np.testing.assert_allclose(shares[0], [5 / 15, 8 / 15, 2 / 15], rtol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert record.accuracy == 0.75
    assert record.per_class_recall == {"dog": 0.5, "cat": 0.0, "fish": 1.0}
    assert record.recall == pytest.approx(0.5)
    assert record.precision == pytest.approx(2 / 3)  # dog 1, cat 0, fish 1
    assert record.skipped is None
    assert record.grouping == "max"


def test_sum_worked_out_by_hand() -> None:
    rows = [0, 3]
    record, shares = baseline(
        PROBABILITIES[rows], LABELS[rows], CLASSES, WNIDS, BaselineConfig(grouping="sum")
    )
    # predicted: dog, dog
    assert shares is not None
    np.testing.assert_allclose(shares, [[0.5, 0.4, 0.1], [0.4, 0.25, 0.35]], rtol=1e-6)
    assert record.accuracy == 0.5
    assert record.per_class_recall == {"dog": 1.0, "cat": 0.0, "fish": 0.0}
    assert record.grouping == "sum"


def test_group_scores() -> None:
    grouping = group_classes(CLASSES, WNIDS, {})
    largest = group_scores(PROBABILITIES[:1], grouping, "max")
    total = group_scores(PROBABILITIES[:1], grouping, "sum")
    np.testing.assert_allclose(largest, [[0.25, 0.40, 0.10]])
    np.testing.assert_allclose(total, [[0.50, 0.40, 0.10]])


def test_an_image_that_no_group_knows_has_equal_shares() -> None:
    scores = np.array([[0, 0, 0, 0], [0, 1e-38, 0, 3e-38]], dtype=np.float32)
    shares = as_shares(scores)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, [[0.25] * 4, [0, 0.25, 0, 0.75]], rtol=1e-6)


def test_the_record_says_what_was_grouped() -> None:
    config = BaselineConfig(words={"cat": "true cat"})
    record, _ = baseline(PROBABILITIES, LABELS, CLASSES, WNIDS, config)
    assert {name: (group.word, group.members) for name, group in record.groups.items()} == {
        "dog": ("dog", 2),
        "cat": ("true cat", 1),
        "fish": ("fish", 1),
    }
    assert record.groups["cat"].synsets == ["n02121620"]


def test_without_a_classifier_it_is_skipped() -> None:
    record, shares = baseline(
        None, LABELS, CLASSES, WNIDS, BaselineConfig(), "no classifier in vgg16"
    )
    assert record.model_dump(exclude_defaults=True) == {"skipped": "no classifier in vgg16"}
    assert shares is None
    assert baseline(None, LABELS, CLASSES, None, BaselineConfig())[0].skipped


def test_without_wordnet_ids_it_is_skipped() -> None:
    record, shares = baseline(PROBABILITIES, LABELS, CLASSES, None, BaselineConfig())
    assert (record.accuracy, shares) == (None, None)
    assert record.skipped is not None
    assert "WordNet ids" in record.skipped


def test_a_class_without_a_word_skips_it_with_the_sentence() -> None:
    classes = ("dog", "cat", "deer")
    record, shares = baseline(PROBABILITIES, LABELS, classes, WNIDS, BaselineConfig())
    assert (record.accuracy, shares) == (None, None)
    assert record.skipped is not None
    assert "'deer'" in record.skipped
    assert "baseline.words.deer=bovid" in record.skipped


def test_wrong_shapes_and_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 5\), but got \(4, 4\)"):
        baseline(PROBABILITIES[:, :4], LABELS, CLASSES, WNIDS, BaselineConfig())
    with pytest.raises(ConfigError, match="horse"):
        baseline(PROBABILITIES, LABELS, CLASSES, WNIDS, BaselineConfig(words={"horse": "pony"}))
