"""The images of one data set and seed, written once for all peers.

    python -m benchmarks.peers.images --data ../shared/data --set pacs --seed 0 --out FOLDER

Writes ``FOLDER/train/CLASS/000012.png`` and the same for ``val`` and ``test``: squares of the size
that the networks see, so that no peer spends time on resizing. ``set.json`` is written last.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.clean_sets import divided, read_set
from benchmarks.peers.driver import Task
from benchmarks.peers.plan import SIZES
from benchmarks.peers.weights import export, probe_accuracy
from benchmarks.trained import dataset
from seewhy.storage.schemas.dataset import Dataset

STANDIN_TRAIN = 4000
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def read(name: str, data: Path, seed: int) -> Dataset:
    """Read a data set at its size in `SIZES`, with the splits that the seed draws."""
    size = SIZES[name]
    return divided(
        draw_standin(data, size, seed) if name == "standin" else read_set(name, data, size), seed
    )


def draw_standin(data: Path, size: int, seed: int, count: int = STANDIN_TRAIN) -> Dataset:
    """Draw `count` training images; the test images are all of the test file."""
    pixels, labels, splits = [], [], []
    names: list[str] = []
    for split in ("train", "test"):
        with np.load(data / f"cifar10_standin_{split}.npz", allow_pickle=False) as stored:
            images, own, names = stored["images"], stored["labels"], list(stored["label_names"])
        chosen = np.arange(len(own))
        if split == "train":
            rng = np.random.default_rng([seed, 13])
            chosen = np.sort(rng.choice(len(own), count, replace=False))
        pixels += [_resized(images[i], size) for i in chosen]
        labels += own[chosen].tolist()
        splits += [split] * len(chosen)
    return dataset("standin", [str(one) for one in names], labels, splits, np.stack(pixels))


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def write(data: Dataset, out: Path) -> dict[str, int]:
    """Write a data set as a folder tree; return the number of images of each split."""
    for image, label, split, name in zip(
        data.pixels, data.labels, data.splits, data.ids, strict=True
    ):
        folder = out / FOLDERS[split] / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{name}.png", compress_level=1)
    return {folder: len(data.where(split)) for split, folder in FOLDERS.items()}


def main() -> None:
    """Write one data set, and what a linear probe reaches on its validation images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", choices=SIZES, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="written where missing")
    given = parser.parse_args()
    export(given.weights)
    shutil.rmtree(given.out, ignore_errors=True)
    counts = write(read(given.set, given.data, given.seed), given.out)
    size = SIZES[given.set]
    task = Task(given.out, given.weights, given.out, size, given.seed, 0, ())
    about = {"size": size, "images": counts, "probe_accuracy": probe_accuracy(task)}
    (given.out / "set.json").write_text(json.dumps(about, indent=1), "utf-8")


if __name__ == "__main__":
    main()
