"""Groups of a table's columns: kept whole in splits and folds, joined with duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from seewhy.config import load_config
from seewhy.data.folds import check_folds, fold_repetitions, left_out_repetitions
from seewhy.data.groups import (
    column_groups,
    group_folds,
    groupings,
    hold_out_groups,
    join,
    straddling,
)
from seewhy.data.prepare import prepare_data
from seewhy.data.quality.duplicates import Duplicates
from seewhy.errors import ConfigError, DataError
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.dataset import Dataset


def test_columns_make_groups_by_all_their_values() -> None:
    metadata = {"patient": ("a", "a", "b", "", "a"), "side": ("l", "r", "l", "", "l")}
    assert column_groups(metadata, ("patient",), "t").tolist() == [0, 0, 1, -1, 0]
    assert column_groups(metadata, ("patient", "side"), "t").tolist() == [0, 1, 2, -1, 0]
    with pytest.raises(DataError, match=r"t: has no column 'patent', which data.group names; did"):
        column_groups(metadata, ("patent",), "t")
    with pytest.raises(DataError, match=r"only tables have columns"):
        column_groups({}, ("patent",), "t")


numbers = st.lists(st.integers(-1, 4), min_size=8, max_size=8).map(np.array)


@given(numbers, numbers)
def test_a_join_is_the_smallest_grouping_that_keeps_both(
    one: np.ndarray, other: np.ndarray
) -> None:
    joined = join(one, other)
    assert joined is not None
    # By hand: merge labels until nothing changes.
    expected = np.arange(8)
    for _ in range(8):
        for groups in (one, other):
            for group in set(groups.tolist()) - {-1}:
                expected[groups == group] = expected[groups == group].min()
    alone = (one < 0) & (other < 0)
    assert ((joined < 0) == alone).all()
    same = joined[:, None] == joined[None]
    grouped = ~alone[:, None] & ~alone[None]
    # Numbers merged by hand may need one more pass where chains are long: compare as relations.
    assert (same[grouped] == (expected[:, None] == expected[None])[grouped]).all()


def test_near_duplicates_link_groups_where_that_leaves_something_to_divide() -> None:
    by_column = np.array([0, 0, 1, 1, 2, 2])
    # A near pair links groups 0 and 1, an exact one groups 1 and 2.
    found = Duplicates(np.array([-1, 0, 0, 1, 1, -1]), np.array([0.8, 1.0]))
    strict, copies, plain = groupings(found, by_column)
    assert strict.tolist() == [0] * 6
    assert copies.tolist() == [0, 0, 1, 1, 1, 1]
    assert plain is by_column
    assert groupings(None, by_column) == [by_column]
    assert groupings(found, None) == [found.groups]
    assert groupings(None, None) == [None]


def test_group_folds_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 60), rng.integers(0, 15, 60)
    ours = group_folds(labels, groups, 4, seed=3)
    theirs = StratifiedGroupKFold(4, shuffle=True, random_state=3)
    for k, (_, held_out) in enumerate(theirs.split(labels, labels, groups)):
        assert np.flatnonzero(ours == k).tolist() == held_out.tolist()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.2, 0.3]))
def test_held_out_groups_are_whole_and_about_as_many_as_wanted(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, 40, 300)
    labels = rng.integers(0, 3, 300)
    held_out = hold_out_groups(labels, groups, share, seed)
    assert held_out is not None
    for group in range(40):
        assert len(set(held_out[groups == group].tolist())) <= 1
    for label in range(3):
        assert abs(held_out[labels == label].mean() - share) < 0.1


def test_fewer_and_larger_folds_where_classes_are_in_few_groups() -> None:
    # Two groups a class: a tenth cannot be held out, one group of each can.
    labels, groups = np.repeat([0, 1, 2], 20), np.repeat(np.arange(6), 10)
    held_out = hold_out_groups(labels, groups, 0.1, 0)
    assert held_out is not None
    assert [int(held_out[labels == k].sum()) for k in range(3)] == [10, 10, 10]


def test_groups_that_cannot_be_held_out() -> None:
    # Class 1 is in one group: it is either here or there.
    assert hold_out_groups(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), 0.3, 0) is None
    assert hold_out_groups(np.array([0, 1]), np.array([0, 0]), 0.3, 0) is None


def test_groups_in_several_splits_are_found() -> None:
    groups = np.array([0, 0, 1, 1, -1, -1, 2])
    splits = ("train", "test", "train", "train", "train", "test", "test")
    assert straddling(groups, splits) == {0: ("test", "train")}


def _table(folder: Path, sites: int, each: int, split: bool = False) -> Path:
    """Write pictures of noise, of two classes, at several sites."""
    rng = np.random.default_rng(0)
    lines = ["path,label,site,split"]
    for k in range(sites * each):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"{k}.png")
        part = ("train", "val", "test")[k % 3] if split else ""
        lines.append(f"{k}.png,{'ab'[k % 2]},site {k // each},{part}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def _prepare(source: Path, **settings: object) -> tuple[Dataset, RunDirectory]:
    named = {f"data.{key}": value for key, value in settings.items()}
    run = RunDirectory(source.parent / "run")
    return prepare_data(load_config(str(source), settings=named), 32, run, Silent()), run


def test_splits_and_folds_of_a_study_keep_groups_whole(tmp_path: Path) -> None:
    data, run = _prepare(_table(tmp_path, sites=12, each=6), group="site")
    splits, sites = np.array(data.splits), np.array(data.metadata["site"])
    assert all(len(set(splits[sites == site])) == 1 for site in set(sites))
    assert data.counts()["test"] == {"a": 6, "b": 6}  # 12 · 6 / 2 · 0.2 = 7.2: two sites of three
    assert data.group_by == ("site",)
    for fold in fold_repetitions(data, 3, 0.1, 0):
        parts = np.array(fold.data.splits)
        assert all(len(set(parts[sites == site])) == 1 for site in set(sites))
    findings = run.data.read_checks().findings
    assert findings is not None
    assert findings.notes[-2] == (
        "12 groups of 'site', 6 to 6 images each: 9 in training, 1 in validation and 2 in test."
    )
    # What a resumed study reads is what was written.
    read = run.data.read()
    assert read.metadata == data.metadata
    assert read.group_by == ("site",)
    assert read.groups is not None
    assert read.groups.tolist() == data.groups.tolist()


def test_given_splits_that_divide_groups_are_reported(tmp_path: Path) -> None:
    _, run = _prepare(_table(tmp_path, sites=3, each=6, split=True), group="site")
    findings = run.data.read_checks().findings
    assert findings is not None
    assert findings.sentences[-1] == (
        "3 groups of 'site' are in more than one split: site 0 (test, training and validation), "
        "site 1 (test, training and validation), site 2 (test, training and validation); test "
        "accuracy is too optimistic for these."
    )


def test_too_few_groups_are_named(tmp_path: Path) -> None:
    source = _table(tmp_path, sites=2, each=20)
    with pytest.raises(DataError, match=r"its groups cannot be divided .* class 'a' is in 1 "):
        _prepare(source, group="site")


def test_columns_are_checked_before_anything_is_decoded(tmp_path: Path) -> None:
    source = _table(tmp_path, sites=4, each=6)
    for key in ("group", "leave_out"):
        with pytest.raises(DataError, match=f"no column 'sit', which data.{key} names; did"):
            _prepare(source, **{key: "sit"})
    assert not (tmp_path / "run" / "data").exists()


def test_each_value_is_left_out_once(tmp_path: Path) -> None:
    data, _ = _prepare(_table(tmp_path, sites=4, each=12), leave_out="site")
    left_out = left_out_repetitions(data, "site", 0.1, 0)
    assert [one.name for one in left_out] == [f"site site {k}" for k in range(4)]
    sites, pool = np.array(data.metadata["site"]), np.array(data.splits) != "test"
    for k, one in enumerate(left_out):
        assert one.held_out.tolist() == np.flatnonzero(pool & (sites == f"site {k}")).tolist()
        parts = np.array(one.data.splits)
        assert set(parts[one.held_out]) == {"test"}
        for label in (0, 1):
            rest = parts[pool & (sites != f"site {k}") & (data.labels == label)]
            assert {"train", "validation"} == set(rest)


def test_what_cannot_be_left_out_is_named(tmp_path: Path) -> None:
    data, _ = _prepare(_table(tmp_path, sites=4, each=12))
    with pytest.raises(DataError, match=r"column 'split' has an empty cell among the training"):
        left_out_repetitions(data, "split", 0.1, 0)
    with pytest.raises(DataError, match=r"has no column 'sites', which data.leave_out names"):
        left_out_repetitions(data, "sites", 0.1, 0)


def test_folds_or_values_not_both() -> None:
    with pytest.raises(ConfigError, match="expected folds or leave_out, but got both"):
        load_config("x.csv", settings={"data.folds": 3, "data.leave_out": "site"})


def test_too_many_folds_for_the_groups_are_named(tmp_path: Path) -> None:
    data, _ = _prepare(_table(tmp_path, sites=6, each=12), group="site")
    with pytest.raises(DataError, match=r"groups stay in one fold and it is in \d of them"):
        check_folds(data, 8, 0.1, 0)
