from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.data.sources.listing import Listing
from seewhy.data.splits import TornGroup, check_classes, divide, draw_sample
from seewhy.errors import DataError
from seewhy.storage.schemas.dataset import Split


def listing(labels: list[int], splits: list[Split | None] | None = None, k: int = 0) -> Listing:
    def load(index: int) -> np.ndarray:
        raise AssertionError("splits are drawn without looking")

    return Listing(
        source="here",
        classes=tuple("abcdefghij"[: k or max(labels) + 1]),
        paths=tuple(map(str, range(len(labels)))),
        labels=np.array(labels, dtype=np.int64),
        splits=tuple(splits or [None] * len(labels)),
        load=load,
    )


def draw_splits(*given: Any, **named: Any) -> tuple[Split, ...]:
    return divide(*given, **named).splits


def counts(labels: list[int], splits: tuple[Split, ...]) -> dict[tuple[int, str], int]:
    return dict(Counter(zip(labels, splits, strict=True)))


def test_the_papers_division() -> None:
    labels = [k for k in range(10) for _ in range(1200)]
    given_splits: list[Split | None] = (["train"] * 1000 + ["test"] * 200) * 10
    splits = draw_splits(listing(labels, given_splits), 0.1, 0.2, seed=0)
    expected = {"train": 900, "validation": 100, "test": 200}
    assert counts(labels, splits) == {(k, s): n for k in range(10) for s, n in expected.items()}
    assert all(s == "test" for s, g in zip(splits, given_splits, strict=True) if g == "test")


def test_test_images_are_held_out_first() -> None:
    labels = [0] * 50 + [1] * 25
    splits = draw_splits(listing(labels), 0.1, 0.2, seed=3)
    # 50: ten for the test, a tenth of forty for validation; 25: five, and two of twenty.
    assert counts(labels, splits) == {
        (0, "test"): 10,
        (0, "validation"): 4,
        (0, "train"): 36,
        (1, "test"): 5,
        (1, "validation"): 2,
        (1, "train"): 18,
    }


def test_given_splits_are_kept_and_nothing_is_drawn() -> None:
    given_splits: list[Split | None] = ["train", "validation", "test"] * 2
    drawn = draw_splits(listing([0, 0, 0, 1, 1, 1], given_splits), 0.5, 0.5, 0)
    assert list(drawn) == given_splits


def test_only_the_test_is_drawn_where_validation_is_given() -> None:
    given_splits: list[Split | None] = ["train"] * 5 + ["validation"]
    drawn = draw_splits(listing([0] * 6 + [1] * 6, given_splits * 2), 0.5, 0.2, 0)
    assert Counter(drawn) == {"train": 8, "validation": 2, "test": 2}
    assert drawn[5] == drawn[11] == "validation"


shares = st.floats(0.01, 0.99)


@given(
    sizes=st.lists(st.integers(3, 40), min_size=2, max_size=5),
    validation=shares,
    held_out=shares,
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_every_class_has_its_share_of_every_split(
    sizes: list[int], validation: float, held_out: float, seed: int, data: st.DataObject
) -> None:
    labels = data.draw(st.permutations([k for k, n in enumerate(sizes) for _ in range(n)]))
    splits = draw_splits(listing(labels), validation, held_out, seed)
    assert splits == draw_splits(listing(labels), validation, held_out, seed)
    for k, n in enumerate(sizes):
        found = Counter(s for s, label in zip(splits, labels, strict=True) if label == k)
        test = min(max(1, round(held_out * n)), n - 2)
        rest = n - test
        expected = min(max(1, round(validation * rest)), rest - 1)
        assert (found["test"], found["validation"]) == (test, expected)
        assert found["train"] == rest - expected >= 1


def test_seeds_differ_and_the_draw_is_no_prefix() -> None:
    labels = [0] * 100 + [1] * 100
    draws = {draw_splits(listing(labels), 0.1, 0.2, seed) for seed in range(20)}
    assert len(draws) == 20
    hit = np.array([[s == "test" for s in draw] for draw in draws]).mean(axis=0)
    # Twenty draws of a fifth: every image is somewhere in, none is always in.
    assert hit.max() < 0.8
    assert (hit > 0).mean() > 0.95


def test_a_further_class_leaves_the_others_alone() -> None:
    two = draw_splits(listing([0] * 30 + [1] * 30), 0.1, 0.2, 0)
    three = draw_splits(listing([0] * 30 + [1] * 30 + [2] * 9), 0.1, 0.2, 0)
    assert three[:60] == two


@pytest.mark.parametrize(
    ("labels", "splits", "k", "message"),
    [
        ([0, 0, 0], None, 1, "here: holds the single class 'a'; expected at least two"),
        ([0] * 9 + [1] * 2, None, 2, "class 'b' has 2 images .* needs at least 3;"),
        ([0] * 9 + [1], None, 2, "class 'b' has 1 image for training and validation and test"),
        ([0] * 9, None, 2, "class 'b' has 0 images"),
        ([0, 0, 0, 1, 1], ["train", "train", "test", "train", "test"], 2, "'b' has 1 image for tr"),
        ([0, 0, 0, 1, 1], ["train", "train", "test", "train", "train"], 2, "'b' has no test imag"),
        ([0, 0, 0, 1], ["train", "train", "test", "test"], 2, "'b' has 0 images for training"),
        ([0, 0, 0, 1], ["train", "train", "validation", "train"], 2, "'b' has no validation"),
        ([0] * 9 + [1, 2], None, 3, r"2 classes \('b', 'c'\) have fewer than 3 images for train"),
        (
            [0, 0, 0, 1, 1, 2, 2],
            ["train", "train", "test", "train", "train", "train", "train"],
            3,
            r"2 classes \('b', 'c'\) have no test images, though other classes have; add some",
        ),
    ],
)
def test_a_class_that_cannot_be_divided_is_named(
    labels: list[int], splits: list[Split | None] | None, k: int, message: str
) -> None:
    for check in (
        lambda: check_classes(listing(labels, splits, k)),
        lambda: draw_splits(listing(labels, splits, k), 0.1, 0.2, 0),
    ):
        with pytest.raises(DataError, match=message):
            check()


def test_images_that_were_set_aside_are_counted() -> None:
    with pytest.raises(DataError, match=r"'b' has 2 images .* at least 3 \(4 of its images were s"):
        draw_splits(listing([0] * 9 + [1] * 2), 0.1, 0.2, 0, set_aside=[1, 0, 1, 1, 1])
    with pytest.raises(DataError, match=r"needs at least 3; add some"):
        draw_splits(listing([0] * 9 + [1] * 2), 0.1, 0.2, 0, set_aside=[0])


def test_the_smallest_listing_that_does() -> None:
    splits = draw_splits(listing([0, 0, 0, 1, 1, 1]), 0.9, 0.9, 0)
    assert Counter(splits) == {"train": 2, "validation": 2, "test": 2}


def apart(groups: np.ndarray, splits: tuple[Split, ...]) -> list[int]:
    """Name the groups that are in more than one split."""
    return [
        int(group)
        for group in np.unique(groups[groups >= 0])
        if len({splits[i] for i in np.flatnonzero(groups == group)}) > 1
    ]


def test_the_draw_without_duplicates_is_the_one_it_always_was() -> None:
    labels = [k for k in range(3) for _ in range(40 + k)]
    drawn = draw_splits(listing(labels), 0.1, 0.2, 7, groups=np.full(len(labels), -1))
    # As drawn before there were groups: r a training image, a validation, e test.
    assert "".join(split[1] for split in drawn[:40]) == "errrerrrraererarrrraerrrrrrrerererrrrrrr"
    assert drawn == draw_splits(listing(labels), 0.1, 0.2, 7)


@given(
    sizes=st.lists(st.integers(8, 40), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_duplicates_stay_together_and_classes_keep_their_shares(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    labels = [k for k, n in enumerate(sizes) for _ in range(n)]
    pairs = data.draw(st.integers(0, min(sizes) // 3))
    order = np.array(data.draw(st.permutations(range(len(labels)))))
    groups = np.full(len(labels), -1)
    groups[order[: 2 * pairs]] = np.repeat(np.arange(pairs), 2)  # across classes too
    splits = draw_splits(listing(labels), 0.1, 0.2, seed, groups=groups)
    assert splits == draw_splits(listing(labels), 0.1, 0.2, seed, groups=groups)
    assert apart(groups, splits) == []
    for k, n in enumerate(sizes):
        found = Counter(s for s, label in zip(splits, labels, strict=True) if label == k)
        assert min(found["train"], found["validation"], found["test"]) >= 1
        # A pair of another class may bring an image more than its share, never half of the class.
        assert found["train"] >= n / 2


def test_a_group_is_never_torn_where_its_class_has_enough_others() -> None:
    labels = [0] * 30 + [1] * 30
    groups = np.full(60, -1)
    groups[:12], groups[[20, 40]], groups[50:53] = 0, 1, 2
    for seed in range(30):
        splits = draw_splits(listing(labels), 0.1, 0.2, seed, groups=groups)
        assert apart(groups, splits) == []
        found = counts(labels, splits)
        # 30 images: 6 for the test, 2 of 24 for validation; a group of 12 fits neither.
        assert set(splits[:12]) == {"train"}
        assert found[0, "test"] in (6, 7)
        assert found[1, "test"] in (6, 7)


def test_a_class_of_one_picture_is_divided_all_the_same() -> None:
    labels = [0] * 10 + [1] * 10
    groups = np.array([0] * 10 + [-1] * 10)
    splits = draw_splits(listing(labels), 0.1, 0.2, 0, groups=groups)
    assert splits == draw_splits(listing(labels), 0.1, 0.2, 0)


def test_only_what_must_be_is_divided_and_named() -> None:
    """Two pictures for three splits: the larger group is divided, the smaller one stays whole."""
    labels = [0] * 13 + [1] * 20
    groups = np.full(33, -1)
    groups[:10], groups[10:13], groups[20:24] = 0, 1, 2
    for seed in range(10):
        division = divide(listing(labels), 0.1, 0.2, seed, groups=groups)
        assert division.torn == (TornGroup(group=0, label=0),)
        assert apart(groups, division.splits) == [0]
    enough = divide(listing(labels), 0.1, 0.2, 0, groups=np.where(groups == 1, -1, groups))
    assert (enough.torn, apart(groups, enough.splits)[:1]) == ((), [1])


def test_what_is_like_a_given_test_image_is_not_drawn_for_validation() -> None:
    given_splits: list[Split | None] = ["train"] * 9 + ["test"]
    groups = np.full(20, -1)
    groups[[0, 9]], groups[[1, 2, 19]] = 0, 1
    for seed in range(20):
        drawn = draw_splits(
            listing([0] * 10 + [1] * 10, given_splits * 2), 0.3, 0.2, seed, (), groups
        )
        assert set(drawn[:3]) == {"train"}
        assert drawn[9] == drawn[19] == "test"
        assert counts([0] * 10 + [1] * 10, drawn)[0, "validation"] == 3


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 60), st.integers(0, 9))
def test_a_sample_has_each_class_share(sizes: list[int], count: int, seed: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    drawn = draw_sample(labels, count, seed)
    assert len(drawn) == min(count, len(labels))
    assert (np.diff(drawn) > 0).all()
    shares = np.array(sizes) * len(drawn) / len(labels)
    # One image from rounding, one from where the last class's turn ends.
    assert (abs(np.bincount(labels[drawn], minlength=len(sizes)) - shares) <= 2).all()
    np.testing.assert_array_equal(drawn, draw_sample(labels, count, seed))


def test_another_seed_draws_another_sample_and_equal_classes_equal_numbers() -> None:
    labels = np.arange(800) % 8
    one, other = (draw_sample(labels, 32, seed) for seed in (0, 1))
    assert np.bincount(labels[one]).tolist() == [4] * 8
    assert len(set(one) & set(other)) < 8
