"""The images of a study come back as they were."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.errors import RunError
from seewhy.storage.repositories import data as dataset_files
from seewhy.storage.schemas.study import Dataset, SetAside

CLASSES = ('a,"b"', "label\nof two\rlines", "<b>ß</b>")
FILES = ("index.csv", "checks.json", "pixels.npy", "masks.npy")


def _dataset(folder: Path) -> Dataset:
    pixels = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    np.save(folder / "pixels.npy", pixels)
    return Dataset(
        source="a test",
        classes=CLASSES,
        ids=tuple("abcdef"),
        paths=tuple(f"{n}, odd\n.png" for n in "abcdef"),
        labels=np.array([0, 1, 2, 0, 1, 2]),
        splits=("train", "train", "train", "test", "validation", "test"),
        pixels=pixels,
        set_aside=(SetAside("x.png", "empty"),),
    )


def test_a_dataset_comes_back(tmp_path: Path) -> None:
    index, checks, pixels, masks = (tmp_path / name for name in FILES)
    data = _dataset(tmp_path)
    dataset_files.write(index, checks, data, None)
    back = dataset_files.read(index, checks, pixels, masks)
    assert (back.classes, back.ids, back.paths, back.splits, back.set_aside) == (
        data.classes,
        data.ids,
        data.paths,
        data.splits,
        data.set_aside,
    )
    np.testing.assert_array_equal(back.labels, data.labels)
    np.testing.assert_array_equal(back.pixels, data.pixels)
    assert isinstance(back.pixels, np.memmap)
    assert back.groups is None
    assert back.where("test").tolist() == [3, 5]
    assert back.counts()["train"] == dict.fromkeys(CLASSES, 1)
    assert back.counts()["validation"] == dict(zip(CLASSES, [0, 1, 0], strict=True))


def test_groups_of_duplicates_come_back(tmp_path: Path) -> None:
    index, checks, pixels, masks = (tmp_path / name for name in FILES)
    data = replace(_dataset(tmp_path), groups=np.array([0, -1, 1, 0, 1, -1]))
    dataset_files.write(index, checks, data, None)
    back = dataset_files.read(index, checks, pixels, masks).groups
    assert back is not None
    assert (back.dtype, back.tolist()) == (np.int64, [0, -1, 1, 0, 1, -1])
    # A study of an earlier version names none.
    with index.open(encoding="utf-8", newline="") as stream:
        rows = [row[:4] for row in csv.reader(stream)]
    with index.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    assert dataset_files.read(index, checks, pixels, masks).groups is None


def test_object_masks_come_back_and_missing_ones_are_named(tmp_path: Path) -> None:
    index, checks, pixels, masks = (tmp_path / name for name in FILES)
    shown = np.arange(6 * 4 * 4).reshape(6, 4, 4) % 3 == 0
    np.save(masks, shown)
    dataset_files.write(index, checks, replace(_dataset(tmp_path), masks=shown), None)
    np.testing.assert_array_equal(dataset_files.read(index, checks, pixels, masks).masks, shown)
    masks.unlink()
    with pytest.raises(RunError, match=rf"^{re.escape(str(tmp_path))}: cannot be read \(.*masks"):
        dataset_files.read(index, checks, pixels, masks)
