"""Folds: every image held out once, classes in proportion, duplicates together, no leak."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seewhy.data.folds import (
    Repetition,
    check_folds,
    division_key,
    fold_repetitions,
    left_out_repetitions,
    most_folds,
    seed_repetitions,
)
from seewhy.errors import DataError
from seewhy.storage.schemas.dataset import Dataset


def dataset(counts: list[int], groups: np.ndarray | None = None, test: int = 2) -> Dataset:
    """Make as many training and validation images of each class as `counts` says, in turn."""
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.arange(test) % 2])
    count = len(labels)
    splits = ["train" if k % 5 else "validation" for k in range(count - test)] + ["test"] * test
    return Dataset(
        source="a test",
        classes=tuple("abcdef"[: len(counts)]),
        ids=tuple(f"id{k}" for k in range(count)),
        paths=tuple(f"{k}.png" for k in range(count)),
        labels=labels,
        splits=tuple(splits),
        pixels=np.zeros((count, 1, 1, 3), dtype=np.uint8),
        groups=groups,
    )


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    counts=st.lists(st.integers(6, 40), min_size=2, max_size=4),
    folds=st.integers(2, 5),
    seed=st.integers(0, 3),
)
def test_every_image_is_held_out_once_and_classes_keep_their_share(
    counts: list[int], folds: int, seed: int
) -> None:
    data = dataset(counts)
    found = fold_repetitions(data, folds, 0.1, seed)
    held_out = np.concatenate([one.held_out for one in found])
    assert sorted(held_out.tolist()) == list(range(sum(counts)))
    for one in found:
        mine = np.bincount(data.labels[one.held_out], minlength=len(counts))
        # As scikit-learn's StratifiedKFold promises: no class differs by more than an image.
        assert all(abs(n - count / folds) < 1 for n, count in zip(mine, counts, strict=True))
        splits = np.asarray(one.data.splits)
        # Neither trained on nor stopped by: to this training its fold is test images.
        assert (splits[one.held_out] == "test").all()
        assert (splits[sum(counts) :] == "test").all()
        left = np.setdiff1d(np.arange(sum(counts)), one.held_out)
        assert (splits[left] != "test").all()
        for label, count in enumerate(counts):
            stops = int((splits[left][data.labels[left] == label] == "validation").sum())
            assert stops == max(1, round(0.1 * (count - mine[label])))


def test_the_draw_hangs_on_the_seed_alone() -> None:
    data = dataset([20, 30])
    one, again, other = (fold_repetitions(data, 3, 0.1, seed) for seed in (0, 0, 1))
    assert division_key(one) == division_key(again) != division_key(other)
    assert all((a.held_out == b.held_out).all() for a, b in zip(one, again, strict=True))
    # The study's own division is no part of it, nor are the pixels.
    moved = replace(data, splits=tuple(s if s == "test" else "train" for s in data.splits))
    assert division_key(fold_repetitions(moved, 3, 0.1, 0)) == division_key(one)
    assert {one.seed for one in other} == {1}


def check_together(found: tuple[Repetition, ...], groups: np.ndarray) -> None:
    for one in found:
        splits = np.asarray(one.data.splits)
        for group in np.unique(groups[groups >= 0]):
            assert len(set(splits[groups == group])) == 1


def test_duplicates_stay_on_one_side_even_of_what_stops_the_training() -> None:
    groups = np.full(62, -1)
    groups[:30] = np.arange(30) // 3  # ten groups of three in the first class
    groups[[31, 40, 50]] = 10
    groups[[29, 33]] = 11  # one across two classes
    data = dataset([40, 20], groups)
    found = fold_repetitions(data, 4, 0.2, 0)
    check_together(found, groups)
    assert sorted(np.concatenate([one.held_out for one in found]).tolist()) == list(range(60))
    sizes = [np.bincount(data.labels[one.held_out], minlength=2).tolist() for one in found]
    # Ten groups and thirteen single images of the first class: five or six units a fold.
    assert all(3 <= first <= 18 and 3 <= second <= 8 for first, second in sizes)


@pytest.mark.parametrize(("others", "most"), [(1, 0), (2, 3), (3, 4), (4, 5), (20, 5)])
def test_ten_copies_of_one_picture_never_fall_into_several_folds(others: int, most: int) -> None:
    """With four further images they fell into all five folds, and nothing said so."""
    groups = np.full(12 + others + 40, -1)
    groups[:10] = 0
    data = dataset([10 + others, 40], groups)
    assert most_folds(data, 0.1, 0) == most
    for folds in range(2, 6):
        if folds <= most and (folds, others) != (2, 2):
            found = fold_repetitions(data, folds, 0.1, 0)
            check_together(found, groups)
            held = [int((data.labels[one.held_out] == 0).sum()) for one in found]
            # Larger than a fold's share, and whole all the same.
            assert sum(held) == 10 + others
            assert max(held) >= 10
            assert min(held) >= 1
        else:
            with pytest.raises(DataError):
                fold_repetitions(data, folds, 0.1, 0)


def test_more_folds_than_pictures_are_refused_with_what_to_do() -> None:
    groups = np.full(57, -1)
    groups[:10] = 0
    data = dataset([13, 42], groups)
    message = (
        "a test: class 'a' has 13 training and validation images, but duplicates stay in one "
        "fold and they show 4 different pictures, too few for data.folds = 5; expected at most 4, "
        "or set data.keep_duplicates_together = false"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        check_folds(data, 5, 0.1, 0)
    # As many folds as are asked for where duplicates do not count.
    assert most_folds(replace(data, groups=None), 0.1, 0) == 5


def test_a_class_of_one_picture_has_no_folds() -> None:
    groups = np.full(22, -1)
    groups[:8] = 0  # all of the first class
    data = dataset([8, 12], groups)
    assert most_folds(data, 0.1, 0) == 0
    with pytest.raises(DataError, match=r"show 1 different picture, too few .* three are the"):
        check_folds(data, 2, 0.1, 0)


def test_a_large_group_stops_no_training_where_others_do() -> None:
    groups = np.full(62, -1)
    groups[:10] = 0
    for seed in range(10):
        for one in fold_repetitions(dataset([30, 30], groups), 3, 0.1, seed):
            splits = np.asarray(one.data.splits)[:30]
            # A tenth of 20 images, or of those left beside the fold of the ten.
            assert 1 <= (splits == "validation").sum() <= 3
            assert (splits[:10] != "validation").all()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    counts=st.lists(st.integers(4, 14), min_size=2, max_size=3),
    folds=st.integers(2, 5),
    data=st.data(),
)
def test_any_duplicates_stay_together_or_the_folds_are_refused(
    counts: list[int], folds: int, data: st.DataObject
) -> None:
    total = sum(counts)
    groups = np.array(
        [*data.draw(st.lists(st.integers(-3, 6), min_size=total, max_size=total)), -1, -1]
    )
    groups[groups < 0] = -1  # some across classes
    images = dataset(counts, groups)
    try:
        found = fold_repetitions(images, folds, 0.2, 0)
    except DataError as error:
        assert "data.folds" in str(error)
        return
    check_together(found, np.append(groups[:total], [-1, -1]))
    for one in found:
        splits = np.asarray(one.data.splits)
        for label in range(len(counts)):
            assert (images.labels[one.held_out] == label).any()
            mine = set(splits[:total][images.labels[:total] == label].tolist())
            assert {"train", "validation"} <= mine


@pytest.mark.parametrize(("smallest", "most"), [(2, 0), (3, 3), (4, 4), (5, 5), (6, 5), (50, 5)])
def test_a_class_needs_two_images_beside_each_fold(smallest: int, most: int) -> None:
    data = dataset([60, smallest])
    assert most_folds(data, 0.1, 0) == most
    if most:
        for one in fold_repetitions(data, most, 0.1, 0):
            splits = np.asarray(one.data.splits)[data.labels == 1]
            assert {"train", "validation"} <= set(splits.tolist())


def test_however_many_stop_one_of_each_class_stays_for_training() -> None:
    for one in fold_repetitions(dataset([10, 12]), 2, 0.99, 0):
        splits = np.asarray(one.data.splits)[:22]
        trained = np.bincount(one.data.labels[:22][splits == "train"], minlength=2)
        assert trained.tolist() == [1, 1]


def test_too_many_folds_are_refused_with_the_most_there_can_be() -> None:
    message = r"class 'b' has 4 training and validation images, too few for data\.folds = 5; "
    with pytest.raises(DataError, match=message + "expected at most 4, or add some images"):
        fold_repetitions(dataset([60, 4]), 5, 0.1, 0)
    with pytest.raises(DataError, match="three are the fewest"):
        check_folds(dataset([60, 2]), 2, 0.1, 0)
    check_folds(dataset([60, 2]), 0, 0.1, 0)


def test_another_seed_trains_on_the_studys_own_division() -> None:
    data = dataset([8, 8])
    found = seed_repetitions(data, (4, 5))
    assert [(one.name, one.seed, one.held_out.size) for one in found] == [
        ("seed 4", 4, 0),
        ("seed 5", 5, 0),
    ]
    assert all(one.data is data for one in found)


def test_a_fold_without_which_a_class_is_not_learned_is_refused_by_name() -> None:
    data = dataset([30, 30])
    labels = data.labels
    # One image of b is learned from; the fold that holds it out would not learn b at all.
    weights = np.where(labels == 1, 0.0, 1.0)
    only = int(np.flatnonzero((labels == 1) & (np.asarray(data.splits) == "train"))[0])
    weights[only] = 2
    few = replace(data, weights=weights)
    holds = [k for k, one in enumerate(fold_repetitions(data, 3, 0.1, 0)) if only in one.held_out]
    with pytest.raises(DataError) as caught:
        check_folds(few, 3, 0.1, 0)
    assert str(caught.value) == (
        f"a test: without fold {holds[0] + 1} of 3 class 'b' has no training image with a weight "
        "above 0; choose another number with data.folds, or change the weights"
    )
    with pytest.raises(DataError, match="has no training image with a weight above 0"):
        fold_repetitions(few, 3, 0.1, 0)
    assert most_folds(few, 0.1, 0) == 0
    # With enough of them in every training the folds are those without weights.
    weights = np.where(np.arange(62) % 2, 1.0, 0.0)
    weighted = replace(data, weights=weights)
    assert most_folds(weighted, 0.1, 0) == most_folds(data, 0.1, 0) == 5
    folds = fold_repetitions(weighted, 3, 0.1, 0)
    assert division_key(folds) == division_key(fold_repetitions(data, 3, 0.1, 0))


def test_a_value_without_which_a_class_is_not_learned_is_refused_by_name() -> None:
    data = dataset([30, 30])
    site = tuple("north" if k % 2 else "south" for k in range(62))
    weights = np.array([float(k % 2 or k < 30) for k in range(62)])
    data = replace(data, metadata={"site": site})
    assert len(left_out_repetitions(data, "site", 0.1, 0)) == 2
    with pytest.raises(DataError) as caught:
        left_out_repetitions(replace(data, weights=weights), "site", 0.1, 0)
    assert str(caught.value) == (
        "a test: data.leave_out: without site = 'north' class 'b' has no training image with a "
        "weight above 0; choose another column, or change the weights"
    )
