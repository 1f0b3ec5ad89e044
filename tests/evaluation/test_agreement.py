"""Likeness of maps against PyTorch, SciPy, simulation, and places worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from seewhy.evaluation.agreement import (
    MapPair,
    agreement,
    centres,
    correlation,
    highest,
    movement,
    overlap,
    overlap_by_chance,
    resize,
)

CLASSES = ("cat", "dog")


def _pair(first: np.ndarray, second: np.ndarray) -> MapPair:
    ids = tuple(f"id{k}" for k in range(len(first)))
    return MapPair(ids, np.arange(len(first)) % 2, first, second)


def _maps(seed: int, count: int = 12, side: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((count, side, side)).astype(np.float16)


@pytest.mark.parametrize(
    ("size", "wanted"), [((2, 3), (7, 7)), ((7, 7), (14, 14)), ((4, 4), (4, 4))]
)
def test_resizing_is_pytorchs(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).random((3, *size))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], wanted, mode="bilinear", align_corners=False
    )[:, 0]
    np.testing.assert_allclose(resize(maps, *wanted), theirs.numpy(), atol=1e-12)


def test_correlations_are_scipys() -> None:
    first, second = _maps(0).astype(np.float64), _maps(1).astype(np.float64)
    second[:, :2] = 0  # maps are zero at many places
    found = agreement(_pair(first, second), CLASSES, draws=20)
    flat = [m.reshape(len(m), -1) for m in (first, second)]
    pearson = [stats.pearsonr(a, b).statistic for a, b in zip(*flat, strict=True)]
    spearman = [stats.spearmanr(a, b).statistic for a, b in zip(*flat, strict=True)]
    np.testing.assert_allclose(correlation(*flat), pearson)
    assert found.pearson is not None
    assert found.spearman is not None
    assert found.pearson.value == pytest.approx(np.mean(pearson))
    assert found.spearman.value == pytest.approx(np.mean(spearman))
    assert found.classes["cat"] == pytest.approx(np.mean(pearson[::2]))
    order = np.argsort(pearson)[:10]
    assert [one.id for one in found.least_alike] == [f"id{k}" for k in order]
    assert found.least_alike[0].spearman == pytest.approx(spearman[order[0]])


def test_the_highest_fifth_worked_out_by_hand() -> None:
    values = np.array([[9, 1, 8, 2, 3, 4, 5, 6, 7, 0.5], [0, 0, 3, 0, 0, 0, 0, 0, 0, 0]])
    marked = highest(values)
    assert np.flatnonzero(marked[0]).tolist() == [0, 2]
    # Where less than a fifth is positive, no zero is taken for a place it looks at.
    assert np.flatnonzero(marked[1]).tolist() == [2]
    assert overlap(marked, marked[::-1]).tolist() == [0.5, 0.5]
    assert overlap(np.zeros((1, 4), bool), np.zeros((1, 4), bool)).tolist() == [0]


@pytest.mark.parametrize(("first", "second", "places"), [(10, 10, 49), (3, 9, 10), (0, 4, 9)])
def test_chance_overlap_is_that_of_random_choices(first: int, second: int, places: int) -> None:
    rng = np.random.default_rng(0)
    shared = rng.hypergeometric(first, places - first, second, 20000)
    simulated = (shared / (first + second - shared)).mean()
    assert overlap_by_chance(first, second, places) == pytest.approx(simulated, abs=0.005)


def test_equal_maps_agree_and_unrelated_ones_agree_by_chance() -> None:
    first, second = _maps(0, count=400), _maps(1, count=400)
    same = agreement(_pair(first, first), CLASSES, draws=20)
    assert same.pearson is not None
    assert same.overlap is not None
    assert (same.pearson.value, same.overlap.value) == pytest.approx((1, 1))
    assert same.pearson_other_image == pytest.approx(0, abs=0.03)
    other = agreement(_pair(first, second), CLASSES, draws=20)
    assert other.pearson is not None
    assert other.overlap is not None
    assert other.pearson.value == pytest.approx(0, abs=0.03)
    assert other.overlap.value == pytest.approx(other.overlap_by_chance, abs=0.02)


def test_a_habit_of_looking_at_the_middle_shows_in_other_images() -> None:
    first, second = _maps(0).astype(np.float64), _maps(1).astype(np.float64)
    for maps in (first, second):
        maps[:, 2, 2] += 20
    found = agreement(_pair(first, second), CLASSES, draws=20)
    assert found.pearson_other_image is not None
    assert found.pearson_other_image > 0.9


def test_what_cannot_be_compared_is_left_out_and_counted() -> None:
    first, second = _maps(0), _maps(1, side=3)
    first[1] = 0
    second[2] = 1  # the same everywhere: nothing to correlate
    found = agreement(_pair(first, second), CLASSES, draws=20)
    assert (found.images, found.left_out, found.grid) == (10, 2, (5, 5))
    assert not {"id1", "id2"} & {one.id for one in found.least_alike}
    none = agreement(_pair(first * 0, second), CLASSES)
    assert (none.images, none.left_out, none.pearson, none.least_alike) == (0, 12, None, [])
    assert movement(_pair(first[:2] * 0, second[:2]), CLASSES).shift is None


def test_one_image_has_no_other() -> None:
    found = agreement(_pair(_maps(0, 1), _maps(1, 1)), CLASSES, draws=5)
    assert found.images == 1
    assert found.pearson_other_image is None


def test_centres_and_movement_worked_out_by_hand() -> None:
    """All weight at the upper left place of 4 × 4, then a quarter of the side right and down."""
    first, second = np.zeros((2, 4, 4)), np.zeros((2, 4, 4))
    first[:, 0, 0] = 1
    second[0, 0, 0] = second[1, 1, 1] = 3
    np.testing.assert_allclose(centres(first), [[0.125, 0.125]] * 2)
    np.testing.assert_allclose(centres(np.ones((1, 2, 4))), [[0.5, 0.5]])
    found = movement(_pair(first, second), CLASSES, draws=20)
    assert found.shift is not None
    assert found.shift.value == pytest.approx(np.hypot(0.25, 0.25) / 2)
    assert (found.right, found.down) == pytest.approx((0.125, 0.125))
    assert found.class_shift == {"cat": 0, "dog": pytest.approx(np.hypot(0.25, 0.25))}
    assert found.most_moved == ["id1", "id0"]
    wide = np.zeros((1, 2, 4))
    wide[0, 1, 0] = 1
    np.testing.assert_allclose(centres(wide), [[0.125, 0.75]])
