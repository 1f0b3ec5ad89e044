"""From what was measured to records and sentences: a set with every fault planted in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.config import load_config
from seewhy.data.prepare import prepare_data
from seewhy.data.quality.checks import check_data
from seewhy.data.quality.duplicates import Duplicates
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.data_checks import DataFindings
from seewhy.storage.schemas.dataset import Dataset, SetAside, Split


def dataset(splits: list[Split], labels: list[int], set_aside: int = 0) -> Dataset:
    count = len(labels)
    return Dataset(
        source="here",
        classes=("cat", "dog"),
        ids=tuple(f"{i:06d}" for i in range(count)),
        paths=tuple(f"{i}.png" for i in range(count)),
        labels=np.array(labels, dtype=np.int64),
        splits=tuple(splits),
        pixels=np.zeros((count, 8, 8, 3), dtype=np.uint8),
        set_aside=(SetAside("x", "is empty"),) * set_aside,
    )


def duplicates(groups: list[int], similarity: list[float]) -> Duplicates:
    return Duplicates(np.array(groups, dtype=np.int64), np.array(similarity))


def test_nothing_wrong_has_no_sentences() -> None:
    data = dataset(["train"] * 20 + ["validation", "test"] * 2, [0, 1] * 12)
    found = check_data(data, (), duplicates([-1] * 24, []), 0.75, drawn=True)
    assert found.sentences == []
    assert found.duplicates.groups == found.duplicates.kept_together == 0
    assert (found.balance.ratio, found.balance.few) == (1, [])


def test_groups_leaks_and_conflicts_are_counted() -> None:
    splits: list[Split] = ["train"] * 6 + ["validation"] * 3 + ["test"] * 4
    labels = [0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1]
    #          train             | validation | test
    groups = [0, 0, -1, 1, 2, 3, 1, -1, 4, 2, 2, 3, 4]
    found = check_data(
        dataset(splits, labels, set_aside=2),
        (),
        duplicates(groups, [1, 0.8, 0.9, 1, 0.99]),
        0.75,
        drawn=True,
    ).duplicates
    assert (found.images, found.groups, found.exact, found.near) == (11, 5, 2, 3)
    assert (found.leaking, found.conflicting, found.kept_together) == (4, 2, 1)
    # Image 6 has its duplicate 3 in training; 9, 10, 11 theirs there, 12 in validation.
    assert found.seen == {"validation": 1, "test": 4}
    assert [group.similarity for group in found.first] == [0.8, 0.9, 1, 0.99, 1]
    first = found.first[0]
    assert (first.kind, first.size, first.labels) == ("near", 2, ["cat", "dog"])
    assert first.splits == ["train", "validation"]
    assert [(one.id, one.label, one.split) for one in first.images] == [
        ("000003", "dog", "train"),
        ("000006", "cat", "validation"),
    ]


def test_one_scene_is_not_called_one_picture() -> None:
    data = dataset(["train"] * 60 + ["test"] * 20, [0] * 40 + [1] * 40)
    groups = [0] * 60 + [1, 1] + [2] * 3 + [-1] * 15
    found = check_data(data, (), duplicates(groups, [0.8, 1, 0.93]), 0.75, drawn=True)
    assert found.sentences[:3] == [
        "1 group of exact copies: images with the same pixels at the working size.",
        "2 groups of near duplicates: images whose fine detail correlates at 0.75 or more, each "
        "with another one of its group. They are copies that were resized or recompressed, shots "
        "of one series, or views of one scene; data.near_duplicates sets the limit (1 finds exact "
        "copies only). The largest group has 60 images with a correlation of 0.80 or more: a group "
        "of that size is usually one scene, from a fixed camera or a video, and not copies.",
        "3 groups of duplicates have all images in one split; data.keep_duplicates_together=false "
        "divides them.",
    ]
    assert "same picture" not in found.model_dump_json()
    few = check_data(data, (), duplicates([0] * 5 + [-1] * 75, [0.8]), 0.75, drawn=False)
    assert "largest group" not in few.model_dump_json()


def test_many_classes_with_few_images_are_counted() -> None:
    data = replace(
        dataset(["train"] * 210, list(range(210))), classes=tuple(f"class {k}" for k in range(210))
    )
    found = check_data(data, (), duplicates([-1] * 210, []), 0.75, drawn=False)
    assert found.sentences == [
        "Fewer than 10 training images: 'class 0', 'class 1', 'class 2', 'class 3', 'class 4', … "
        "(210 in all); results for these classes are uncertain."
    ]


def test_long_groups_show_one_of_each_kind_first() -> None:
    splits: list[Split] = ["train"] * 40 + ["test", "validation"]
    data = dataset(splits, [0] * 39 + [1, 0, 0])
    group = check_data(data, (), duplicates([0] * 42, [1]), 1, drawn=False).duplicates.first[0]
    assert group.size == 42
    assert [one.id[4:] for one in group.images] == [f"{i:02d}" for i in [*range(9), 39, 40, 41]]


def test_balance() -> None:
    splits: list[Split] = ["train"] * 40 + ["test"] * 3
    found = check_data(
        dataset(splits, [0] * 32 + [1] * 11), (), duplicates([-1] * 43, []), 1, drawn=False
    )
    assert found.balance.model_dump() == {
        "largest": "cat", "smallest": "dog", "ratio": 4.0, "few_below": 10, "few": ["dog"],
    }  # fmt: skip
    assert [sentence.split(":")[0] for sentence in found.sentences] == [
        "Class 'cat' has 4 times as many training images as 'dog'",
        "Fewer than 10 training images",
    ]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, Dataset]:
    """Two files as a person divided them, faults planted in both."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    test = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    test[0], test[1] = train[5], np.clip(train[6].astype(int) + 9, 0, 255)
    test[3] = train[8]
    train[20] = 128
    train[21] = np.kron(rng.integers(0, 30, (8, 8, 3)), np.ones((8, 8, 1)))
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    train[22] = ramp[..., None]
    place = tmp_path_factory.mktemp("planted")
    for name, images in (("train", train), ("test", test)):
        np.savez(place / name, images=images, labels=np.arange(len(images)) % 2)
    config = load_config(str(place / "train.npz"), test=str(place / "test.npz"))
    run = RunDirectory(place / "run")
    return run, prepare_data(config, 64, run, Silent())


def test_what_was_planted_is_found_and_nothing_else(
    planted: tuple[RunDirectory, Dataset],
) -> None:
    run, _ = planted
    found = run.data.read_checks().findings
    assert isinstance(found, DataFindings)
    named = {one.fault: [image.path for image in one.first] for one in found.faults}
    assert named == {
        "odd-shaped": [], "small": [], "blank": ["train.npz[20]"], "dark": ["train.npz[21]"],
        "blurred": ["train.npz[22]"],
    }  # fmt: skip
    groups = [[image.path for image in group.images] for group in found.duplicates.first]
    assert groups == [
        ["train.npz[5]", "test.npz[0]"],
        ["train.npz[6]", "test.npz[1]"],
        ["train.npz[8]", "test.npz[3]"],
    ]
    # Labels are odd and even numbers.
    assert found.duplicates.conflicting == 3
    assert (found.duplicates.exact, found.duplicates.near) == (2, 1)
    assert (found.duplicates.leaking, found.duplicates.seen["test"]) == (3, 3)


def test_old_records_are_read_without_findings(planted: tuple[RunDirectory, Dataset]) -> None:
    run, data = planted
    before = run.data.checks_path.read_bytes()
    run.data.write(data)
    assert run.data.read_checks().findings is None
    assert run.data.read().ids == data.ids
    run.data.checks_path.write_bytes(before)


def test_a_group_that_had_to_be_divided_is_named_with_its_reason(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    images[:10] = images[0]
    np.savez(tmp_path / "all.npz", images=images, labels=np.repeat([0, 1], [10, 20]))
    run = RunDirectory(tmp_path / "run")
    data = prepare_data(load_config(str(tmp_path / "all.npz")), 32, run, Silent())
    found = run.data.read_checks().findings
    assert found is not None
    why = "kept whole, it would leave class '0' without images in one"
    assert f"A group of 10 duplicates is divided between splits: {why}." in found.sentences
    (group,) = found.duplicates.first
    assert (group.size, group.divided, len(group.splits)) == (10, why, 3)
    assert set(data.splits[:10]) == {"train", "validation", "test"}


def test_a_drawn_split_leaves_copies_on_one_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    images[20:30] = images[:10]
    np.savez(tmp_path / "all.npz", images=images, labels=np.arange(40) % 2)
    leaks = {}
    for together in ("true", "false"):
        run = RunDirectory(tmp_path / together)
        setting = f"data.keep_duplicates_together={together}"
        config = load_config(str(tmp_path / "all.npz"), settings=[setting])
        prepare_data(config, 32, run, Silent())
        found = run.data.read_checks().findings
        assert found is not None
        assert found.duplicates.exact == 10
        leaks[together] = found.duplicates.leaking
        assert found.duplicates.kept_together == (10 if together == "true" else 0)
    assert leaks["true"] == 0 < leaks["false"]
