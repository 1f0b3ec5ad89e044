"""Quality issues by hand, and planted among drawn pictures as a backbone sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from seewhy.config import BackboneConfig
from seewhy.data.pixels import to_input
from seewhy.data.quality.label_issues import (
    FENCE,
    find_quality_issues,
    label_issues,
    neighbour_distance,
    outliers_by_chance,
)
from seewhy.data.sources.demo.demo import draw_demo
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import pool
from seewhy.models.cut import cut_trunk
from seewhy.storage.schemas.dataset import Dataset, Split
from seewhy.storage.schemas.predictions import Predictions


@dataclass(frozen=True)
class Planted:
    """A set, what is known of it, and where the faults are."""

    data: Dataset
    features: np.ndarray
    judged: Predictions
    swapped: set[int]
    outliers: set[int]


def dataset(labels: np.ndarray, splits: list[Split], classes: tuple[str, ...]) -> Dataset:
    count = len(labels)
    return Dataset(
        source="here",
        classes=classes,
        ids=tuple(f"{i:06d}" for i in range(count)),
        paths=tuple(f"{i}.png" for i in range(count)),
        labels=labels,
        splits=tuple(splits),
        pixels=np.zeros((count, 1, 1, 3), dtype=np.uint8),
    )


def test_distances_by_hand_leave_an_image_itself_out() -> None:
    angles = np.radians([0, 0, 60, 90, 45])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    features *= np.array([[1], [7], [2], [3], [1]], dtype=np.float32)  # length does not count
    labels = np.array([0, 0, 1, 1, 0])
    distances, others = neighbour_distance(features, labels, np.array([0, 1, 2, 3]))
    away = 1 - np.cos(np.radians([0, 30, 45, 60, 90, 15]))
    same, thirty, half, sixty, right, near = away
    expected = [
        (same + sixty + right) / 3,  # image 0: its copy 1, and 2 and 3
        (same + sixty + right) / 3,
        (sixty + sixty + thirty) / 3,
        (right + right + thirty) / 3,
        (half + half + near + half) / 4 * 4 / 4,
    ]
    # A test image has the three nearest of four: 15°, 45°, 45°.
    expected[4] = (near + half + half) / 3
    assert distances == pytest.approx(expected, abs=1e-6)
    assert others[:4] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2 / 3])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.random((50, 6), dtype=np.float32), rng.integers(0, 3, 50)
    whole = neighbour_distance(features, labels, np.arange(0, 50, 2))
    monkeypatch.setattr("seewhy.data.quality.label_issues.BLOCK", 100)
    for one, again in zip(
        whole, neighbour_distance(features, labels, np.arange(0, 50, 2)), strict=True
    ):
        assert again == pytest.approx(one, abs=1e-6)


def test_label_issues_of_a_classifier_that_knows() -> None:
    labels = np.repeat([0, 1, 3], 20)
    shares = np.full((60, 4), 0.02, dtype=np.float32)
    shares[np.arange(60), labels] = 0.94
    given = labels.copy()
    given[[3, 25, 50]] = 3, 0, 1
    shares[25] = [0.03, 0.95, 0.01, 0.01]
    found, scores = label_issues(given, shares)
    assert sorted(found) == [3, 25, 50]
    assert found[-1] == 25
    assert scores == pytest.approx([0.98, 0.98, 0.97])
    assert label_issues(labels, shares)[0].tolist() == []
    # Of one class alone nothing can be said.
    assert label_issues(labels[:20], shares[:20])[0].tolist() == []


def test_a_fence_flags_normal_scores_as_often_as_stated() -> None:
    scores = np.random.default_rng(0).normal(size=200_000)
    low, high = np.percentile(scores, (25, 75))
    flagged = (scores > high + FENCE * (high - low)).sum()
    assert outliers_by_chance(200_000) == pytest.approx(flagged, rel=0.03)


def test_what_cannot_be_judged_says_so() -> None:
    data = dataset(np.arange(12) % 2, ["train"] * 8 + ["test"] * 4, ("a", "b"))
    none = Predictions((), np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.float32))
    found = find_quality_issues(data, np.ones((12, 3), dtype=np.float32), none)
    assert found.label_issues.skipped is not None
    assert "a classifier that was not trained on it" in found.label_issues.skipped
    assert found.outliers.skipped == "the study has no more than 10 training images to compare with"
    assert found.label_issues.first == found.outliers.first == []


@pytest.fixture(scope="module")
def planted() -> Planted:
    """The demo's pictures of four classes, 60 each; 20 labels swapped, 10 images replaced by noise,
    chequers and stripes. Features of tf_efficientnet_lite0 at 96 × 96."""
    listing = draw_demo(50, 10, 96, 0)
    kinds = [0, 2, 5, 7]
    places = np.flatnonzero(np.isin(listing.labels, kinds))
    rng = np.random.default_rng(0)
    pixels = np.stack([listing.load(i) for i in places])
    chosen = rng.permutation(len(pixels))
    swapped, outliers = chosen[:20], chosen[20:30]
    labels = np.searchsorted(kinds, listing.labels[places])
    labels[swapped] = (labels[swapped] + rng.integers(1, 4, 20)) % 4
    fine = rng.integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)
    coarse = np.kron(rng.integers(0, 256, (3, 12, 12, 3)), np.ones((1, 8, 8, 1)))
    stripes = np.kron(rng.integers(0, 256, (3, 1, 24, 3)), np.ones((1, 96, 4, 1)))
    pixels[outliers] = np.concatenate([fine, coarse.astype(np.uint8), stripes.astype(np.uint8)])
    backbone = load_backbone(BackboneConfig(name="tf_efficientnet_lite0"), 96, 0)
    cut = cut_trunk(backbone.model, 0.5, 96)
    with torch.inference_mode():
        parts = [
            pool(cut.tail.eval()(cut.prefix.eval()(to_input(part, backbone.preprocess, "cpu"))))
            for part in torch.from_numpy(pixels).split(48)
        ]
    features = torch.cat(parts).numpy()
    spread = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    shares = cross_val_predict(
        LogisticRegression(C=0.01, max_iter=100), spread, labels, cv=folds, method="predict_proba"
    )
    data = dataset(
        labels,
        [listing.splits[i] or "train" for i in places],
        tuple(listing.classes[k] for k in kinds),
    )
    judged = Predictions(data.ids, labels, shares.astype(np.float32))
    return Planted(data, features, judged, set(swapped.tolist()), set(outliers.tolist()))


def test_planted_label_issues_and_outliers_are_found(planted: Planted) -> None:
    found = find_quality_issues(planted.data, planted.features, planted.judged)
    errors = [int(one.id) for one in found.label_issues.first]
    outliers = [int(one.id) for one in found.outliers.first]
    # Of 240 images a few more are named than were planted, and most of these are found.
    assert found.label_issues.count == len(errors) <= 34
    assert len(planted.swapped & set(errors[:20])) >= 14
    assert found.outliers.count == len(outliers) <= 12
    assert len(planted.outliers & set(outliers)) >= 8
    assert found.label_issues.looked_at == found.outliers.looked_at == 240
    wrong = (planted.judged.predicted != planted.judged.labels).sum()
    assert found.label_issues.expected is None
    assert f"The classifier disagrees with {wrong} of 240 labels." in found.label_issues.expectation
    assert found.outliers.expectation.startswith("Expected by chance: about 5 of 240 images")


def test_quality_issues_name_the_image_and_say_why(planted: Planted) -> None:
    data = planted.data
    found = find_quality_issues(data, planted.features, planted.judged)
    for one in found.label_issues.first:
        shares = planted.judged.probabilities[int(one.id)]
        assert one.label == data.classes[data.labels[int(one.id)]] != one.suggested
        assert one.suggested == data.classes[int(shares.argmax())]
        assert one.score == pytest.approx(1 - shares[data.classes.index(one.label)], abs=1e-5)
        assert f"probability of {one.suggested} {shares.max():.3f}" in one.reason
        assert (one.path, one.split) == (f"{int(one.id)}.png", data.splits[int(one.id)])
    for some in (found.label_issues.first, found.outliers.first):
        scores = [one.score for one in some]
        assert scores == sorted(scores, reverse=True)
    assert all("10 nearest training images" in one.reason for one in found.outliers.first)
