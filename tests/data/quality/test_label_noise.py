"""The share of wrong labels: labels drawn as the model says, by hand, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seewhy.data.quality.label_issues import find_quality_issues, label_issues
from seewhy.data.quality.label_noise import LEAST, estimate_label_noise
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions


def drawn(
    seed: int, count: int, classes: int, share: float, temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Labels of known noise, what a classifier says at a temperature, and which are wrong."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (count, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    wrong = rng.random(count) < share
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, int(wrong.sum()))) % classes
    # The classifier is surer than it should be, by the temperature.
    said = np.exp(logits * temperature)
    return labels, (said / said.sum(axis=1, keepdims=True)).astype(np.float32), wrong


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(3, 8),
    st.sampled_from([0.0, 0.02, 0.05, 0.15]),
    st.floats(0.6, 2.0),
)
def test_share_and_temperature_are_found(
    seed: int, classes: int, share: float, temperature: float
) -> None:
    labels, said, wrong = drawn(seed, 3000, classes, share, temperature)
    found = estimate_label_noise(labels, said)
    assert found is not None
    assert found.share == pytest.approx(wrong.mean(), abs=0.015 + 0.05 * share)
    assert found.temperature == pytest.approx(temperature, rel=0.25)


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_the_number_of_correct_labels_in_a_list_is_found(share: float) -> None:
    labels, said, wrong = drawn(3, 6000, 5, share, 1.3)
    found = estimate_label_noise(labels, said)
    assert found is not None
    listed = np.argsort(said[np.arange(len(labels)), labels])[:400]
    correct = int((~wrong[listed]).sum())
    assert found.correct[listed].sum() == pytest.approx(correct, abs=3 * np.sqrt(correct))
    assert found.correct[~wrong].mean() > 0.95


def test_the_probability_of_a_label_by_hand() -> None:
    labels, said, _ = drawn(1, 3000, 3, 0.1, 1.0)
    found = estimate_label_noise(labels, said)
    assert found is not None
    raised = said.astype(np.float64) ** (1 / found.temperature)
    own = (raised / raised.sum(axis=1, keepdims=True))[np.arange(3000), labels]
    right, wrong = (1 - found.share) * own, found.share * (1 - own) / 2
    np.testing.assert_allclose(found.correct, right / (right + wrong), rtol=1e-6, atol=1e-9)


def test_a_certain_classifier_that_is_contradicted() -> None:
    """Probabilities of exactly 0 and 1 have no finite logits."""
    labels = np.arange(1000) % 4
    said = np.eye(4, dtype=np.float32)[labels]
    labels[:40] = (labels[:40] + 1) % 4
    found = estimate_label_noise(labels, said)
    assert found is not None
    assert found.share == pytest.approx(0.04, abs=0.005)
    assert found.correct[:40].max() < 0.01 < 0.99 < found.correct[40:].min()


@pytest.mark.parametrize(("count", "classes"), [(LEAST - 1, 3), (LEAST, 1), (0, 3)])
def test_too_little_to_tell(count: int, classes: int) -> None:
    labels = np.zeros(count, dtype=np.int64)
    said = np.full((count, classes), 1 / classes, dtype=np.float32)
    assert estimate_label_noise(labels, said) is None


def test_the_list_says_how_many_of_it_are_expected_to_be_correct() -> None:
    labels, said, wrong = drawn(2, 1000, 4, 0.06, 1.0)
    ids = tuple(f"{i:04d}" for i in range(1000))
    data = Dataset(
        source="here",
        classes=("a", "b", "c", "d"),
        ids=ids,
        paths=ids,
        labels=labels,
        splits=("train",) * 1000,
        pixels=np.zeros((1000, 1, 1, 3), dtype=np.uint8),
    )
    judged = Predictions(ids, labels, said)
    found = find_quality_issues(data, np.ones((1000, 2), np.float32), judged).label_issues
    listed = label_issues(labels, said)[0]
    correct = int((~wrong[listed]).sum())
    assert found.count == len(listed) > 40
    assert found.expected == pytest.approx(correct, abs=3 * np.sqrt(correct))
    assert found.expectation.startswith(
        f"Expected by chance: about {found.expected:.0f} of the {found.count}, errors of the"
    )
    assert "a share of 0.0" in found.expectation
