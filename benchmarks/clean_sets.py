"""Data sets without a known shortcut, on which the audit must accuse no class.

Each is read whole, as squares of one size; how it is divided is drawn from a seed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.trained import dataset
from seewhy.data.sources.demo.demo import CLASSES as DEMO_CLASSES
from seewhy.data.sources.demo.demo import PictureKey, draw_picture
from seewhy.storage.schemas.dataset import Dataset, Split

TEST, VALIDATION = 0.2, 0.1
# Drawn pictures per class, for training and for the test.
DEMO_TRAIN, DEMO_TEST = 120, 40
SUFFIXES = (".jpg", ".jpeg", ".png")

Row = tuple[Path, str, Split]  # path, label, "train" or "test"


def skin(shared: Path) -> list[Row]:
    """Lesions without rulers, in training and in the test."""
    folder = shared / "real" / "skin"
    rows = [row for row in _rows(folder) if row["artefact"] == "none"]
    return [(folder / row["path"], row["label"], _split(row["split"])) for row in rows]


def pacs(shared: Path) -> list[Row]:
    """Seven classes, all four domains in each."""
    return _undivided(shared / "real" / "pacs")


def tiles(shared: Path) -> list[Row]:
    """Magnetic tiles: five defects and none."""
    return _undivided(shared / "real" / "tiles")


def imagenette(shared: Path) -> list[Row]:
    """Ten classes of ImageNet."""
    return [
        (path, path.parent.name, _split(path.parent.parent.name))
        for path in sorted((shared / "real" / "imagenette").glob("*/*/*"))
        if path.suffix.lower() in SUFFIXES
    ]


def photos(shared: Path) -> list[Row]:
    """Five classes of full-size photographs."""
    return [
        (path, path.parent.name, "train")
        for path in sorted((shared / "photos").glob("*/*"))
        if path.suffix.lower() in SUFFIXES
    ]


SETS: dict[str, Callable[[Path], list[Row]]] = {
    "skin": skin,
    "pacs": pacs,
    "tiles": tiles,
    "imagenette": imagenette,
    "photos": photos,
}


def read_set(name: str, shared: Path, size: int) -> Dataset:
    """Read one data set, all of it undivided or as it came, at `size` pixels a side.

    Parameters
    ----------
    name : str
        A name in `SETS`, or ``demo``: the demo's pictures without their mark.
    shared : Path
        The folder that holds ``real/`` and ``photos/``.
    size : int
    """
    if name == "demo":
        return _demo(size)
    rows = SETS[name](shared)
    classes = sorted({label for _, label, _ in rows})
    pixels = np.stack([_read(path, size) for path, _, _ in rows])
    labels = [classes.index(label) for _, label, _ in rows]
    return dataset(name, classes, labels, [split for *_, split in rows], pixels)


def divided(data: Dataset, seed: int) -> Dataset:
    """Draw test images where the set came without, and validation images, of each class.

    A share of `TEST` of all images and of `VALIDATION` of what remains.
    """
    rng = np.random.default_rng([seed, 12])
    splits = list(data.splits)
    given = "test" in splits
    for label in range(len(data.classes)):
        own = np.flatnonzero(data.labels == label)
        rest = rng.permutation([i for i in own if splits[i] == "train"])
        held = 0 if given else round(TEST * len(rest))
        checked = max(1, round(VALIDATION * (len(rest) - held)))
        for i in rest[:held]:
            splits[i] = "test"
        for i in rest[held : held + checked]:
            splits[i] = "validation"
    return replace(data, splits=tuple(splits))


def _demo(size: int) -> Dataset:
    keys = [
        PictureKey(0, split, name, number)
        for split, count in (("train", DEMO_TRAIN), ("test", DEMO_TEST))
        for name in DEMO_CLASSES
        for number in range(count)
    ]
    pixels = np.stack([draw_picture(key, size) for key in keys])
    labels = [DEMO_CLASSES.index(key.name) for key in keys]
    return dataset("demo without its mark", DEMO_CLASSES, labels, [k.split for k in keys], pixels)


def _rows(folder: Path) -> Sequence[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _undivided(folder: Path) -> list[Row]:
    return [(folder / row["path"], row["label"], "train") for row in _rows(folder)]


def _split(name: str) -> Split:
    return "test" if name == "test" else "train"


def _read(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize(
            (size, size), Image.Resampling.BICUBIC, reducing_gap=3
        )
        return np.asarray(picture, dtype=np.uint8)
