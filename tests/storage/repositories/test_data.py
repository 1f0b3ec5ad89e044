"""The images of a study come back as they were."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.errors import RunError
from seewhy.storage.layout import Layout
from seewhy.storage.repositories.data import DataRepository
from seewhy.storage.schemas.dataset import Dataset, SetAside

CLASSES = ('a,"b"', "label\nof two\rlines", "<b>ß</b>")


def _repository(root: Path) -> DataRepository:
    stored = DataRepository(Layout(root))
    stored.pixels_path.parent.mkdir()
    return stored


def _dataset(stored: DataRepository) -> Dataset:
    pixels = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    np.save(stored.pixels_path, pixels)
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
    stored = _repository(tmp_path)
    data = _dataset(stored)
    stored.write(data)
    back = stored.read()
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
    stored = _repository(tmp_path)
    data = replace(_dataset(stored), groups=np.array([0, -1, 1, 0, 1, -1]))
    stored.write(data)
    back = stored.read().groups
    assert back is not None
    assert (back.dtype, back.tolist()) == (np.int64, [0, -1, 1, 0, 1, -1])


def test_object_masks_come_back_and_missing_ones_are_named(tmp_path: Path) -> None:
    stored = _repository(tmp_path)
    shown = np.arange(6 * 4 * 4).reshape(6, 4, 4) % 3 == 0
    np.save(stored.masks_path, shown)
    stored.write(replace(_dataset(stored), masks=shown))
    np.testing.assert_array_equal(stored.read().masks, shown)
    stored.masks_path.unlink()
    with pytest.raises(
        RunError, match=rf"^{re.escape(str(tmp_path / 'data'))}: cannot be read \(.*masks"
    ):
        stored.read()
