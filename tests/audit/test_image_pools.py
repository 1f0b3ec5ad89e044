"""No image has two roles, and test images have none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seewhy.audit.image_pools import CONFIRMATION, DISCOVERY, EXTRA_DONORS, SCREENING, Role, divide
from seewhy.storage.schemas.dataset import Dataset, Split


def data(counts: list[tuple[int, int, int]]) -> Dataset:
    """Make classes with so many training, validation and test images."""
    labels: list[int] = []
    splits: list[Split] = []
    for label, (train, validation, test) in enumerate(counts):
        labels += [label] * (train + validation + test)
        splits += ["train"] * train + ["validation"] * validation + ["test"] * test
    names = tuple(map(str, range(len(labels))))
    pixels = np.zeros((len(labels), 1, 1, 3), np.uint8)
    classes = tuple(f"class {k}" for k in range(len(counts)))
    return Dataset("made", classes, names, names, np.array(labels, np.int64), tuple(splits), pixels)


@given(
    st.lists(st.tuples(*[st.integers(0, 300)] * 3), min_size=1, max_size=4),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_no_image_has_two_roles(counts: list[tuple[int, int, int]], seed: int) -> None:
    made = data(counts)
    pools = divide(made, seed)
    used = np.concatenate(list(pools.numbers.values()))
    assert len(np.unique(used)) == len(used)
    assert not np.isin(made.where("test"), used).any()
    for label, (train, validation, _) in enumerate(counts):
        splits = {role: np.asarray(made.splits)[pools.own(role, label)] for role in pools.numbers}
        assert set(splits["discovery"]) | set(splits["screening"]) <= {"train"}
        assert (splits["confirmation"] == "validation").sum() == min(validation, CONFIRMATION)
        assert (label in pools.joined) == ((splits["confirmation"] == "train").any())
        assert len(splits["discovery"]) <= DISCOVERY
        assert len(splits["screening"]) <= SCREENING
        assert len(splits["extra_donors"]) <= EXTRA_DONORS
        assert set(splits["extra_donors"]) <= {"train"}
        assert len(splits["discovery"]) >= min(train // 2, DISCOVERY)


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        # Forty of 180 training images give, 24 of the others screen.
        (180, 20, (116, 24, 40, 20)),
        (400, 60, (200, 24, 40, 48)),
        # Ten training images join two validation images, fifteen give; 24 of the rest screen.
        (100, 2, (51, 24, 15, 12)),
        # A quarter of 17 may join: 4. None is left to give. Of the other 13 a third screens.
        (17, 2, (9, 4, 0, 6)),
        (0, 5, (0, 0, 0, 5)),
    ],
)
def test_images_by_role(train: int, validation: int, expected: tuple[int, ...]) -> None:
    pools = divide(data([(train, validation, 7), (9, 9, 9)]), 0)
    roles: tuple[Role, ...] = ("discovery", "screening", "extra_donors", "confirmation")
    assert tuple(len(pools.own(role, 0)) for role in roles) == expected


def test_others_are_the_other_classes() -> None:
    pools = divide(data([(30, 20, 1), (30, 20, 1)]), 0)
    assert set(pools.labels[pools.others("confirmation", 0)]) == {1}
    assert set(pools.labels[pools.own("confirmation", 0)]) == {0}


def test_the_seed_decides() -> None:
    made = data([(50, 20, 1), (50, 20, 1)])
    one, same, other = (divide(made, seed) for seed in (0, 0, 1))
    assert all((one.numbers[role] == same.numbers[role]).all() for role in one.numbers)
    assert (one.numbers["discovery"] != other.numbers["discovery"]).any()
