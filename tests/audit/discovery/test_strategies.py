"""Groups of evidence vectors, against vectors whose groups are known."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.audit.discovery.strategies import cluster_evidence

# Another class's images, so that the mean of all is the origin.
EAST, NORTH, SOUTH_WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, -1.0)


def test_two_directions_are_two_groups() -> None:
    vectors = np.array([EAST] * 6 + [NORTH] * 4 + [SOUTH_WEST] * 5, np.float32)
    # The mean of all is (1/15, -1/15): seen from there the two are no right angle.
    labels = np.array([0] * 10 + [1] * 5)
    east, north = cluster_evidence(vectors, labels, 0)
    assert east.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert north.rows.tolist() == [6, 7, 8, 9]
    assert (east.alike, east.apart) == pytest.approx((1, 1))
    assert (north.alike, north.apart) == pytest.approx((1, 1))


def test_how_alike_is_the_mean_cosine() -> None:
    # Two of the class, at 90° seen from the mean of all, which is the origin.
    vectors = np.array([EAST, NORTH, SOUTH_WEST], np.float32)
    (found,) = cluster_evidence(vectors, np.array([0, 0, 1]), 0)
    assert found.alike == pytest.approx(0, abs=1e-6)
    assert found.apart is None
    (alone,) = cluster_evidence(vectors, np.array([0, 0, 1]), 1)
    assert (alone.rows.tolist(), alone.alike) == ([2], 1)


def test_the_silhouette_is_that_of_its_own_images() -> None:
    # Five at the same place; three others 30° and 60° apart from each other.
    turns = np.deg2rad([0.0] * 5 + [90.0, 120.0, 150.0])
    own = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    vectors = np.concatenate([own, np.repeat(-own.sum(axis=0)[None] / 8, 8, axis=0)])
    labels = np.array([0] * 8 + [1] * 8)
    first, second = cluster_evidence(vectors.astype(np.float32), labels, 0)
    assert first.apart == pytest.approx(1)
    inside = [(1 - np.cos(np.deg2rad([a, b]))).mean() for a, b in ((30, 60), (30, 30), (60, 30))]
    outside = 1 - np.cos(np.deg2rad([90, 120, 150]))
    by_hand = np.mean((outside - inside) / np.maximum(outside, inside))
    assert second.apart == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_one_cloud_and_few_images_are_one_group(count: int) -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal((count, 40)) + 1
    vectors = np.concatenate([own, rng.standard_normal((50, 40)) - 1]).astype(np.float32)
    (found,) = cluster_evidence(vectors, np.array([0] * count + [1] * 50), 0)
    assert len(found.rows) == count
    assert found.apart is None


def test_two_odd_images_are_no_group() -> None:
    vectors = np.array([EAST] * 8 + [NORTH] * 2 + [SOUTH_WEST] * 5, np.float32)
    (found,) = cluster_evidence(vectors, np.array([0] * 10 + [1] * 5), 0)
    assert len(found.rows) == 10


def test_a_class_without_images_has_no_group() -> None:
    assert cluster_evidence(np.ones((3, 2), np.float32), np.zeros(3, np.int64), 1) == []
