"""What each correction for a rare class does to a head.

    python -m benchmarks.imbalance --data ../shared/data

Adaptation of tf_efficientnet_lite0 at 96×96 on cats and dogs of CIFAR-10's stand-in, of which dogs
are 5 %: 570 and 30 training images, 190 and 10 for validation, which the seed draws, as it draws
the head's first weights. Of 400 test images of each class, accuracy is that in the training
images' shares: 0.95 times the recall of cats and 0.05 times that of dogs. Figures are means over
the seeds, with their sample deviation. PyTorch runs on one thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.audit import LITE0
from seewhy.config import load_config
from seewhy.data.pixels import to_input
from seewhy.evaluation.predictions import predict_pooled
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import pool
from seewhy.runtime.device import without_denormals
from seewhy.runtime.progress import Silent
from seewhy.statistics.classification import measure
from seewhy.storage.schemas.dataset import Dataset, Split
from seewhy.training.stages import adapt, new_head

CLASSES = ("cat", "dog")
LABELS = (3, 5)
TRAIN, VALIDATION, TEST = (570, 30), (190, 10), 400
SIZE = 96
CASES: dict[str, tuple[str, ...]] = {
    "none": (),
    "class_weights=balanced": ("head.class_weights=balanced",),
    "sampler=balanced": ("head.sampler=balanced",),
    "logit_adjustment=1": ("head.logit_adjustment=1",),
    "metric=balanced_accuracy": ("head.metric=balanced_accuracy",),
    "class_weights=balanced, metric=balanced_accuracy": (
        "head.class_weights=balanced",
        "head.metric=balanced_accuracy",
    ),
}
FIGURES = ("accuracy", "balanced accuracy", "AUROC", "recall of dogs", "epochs")


def images_of(data: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return cats and dogs of both files, those of the test file last."""
    found = []
    for part in ("train", "test"):
        with np.load(data / f"cifar10_standin_{part}.npz", allow_pickle=False) as stored:
            chosen = np.isin(stored["labels"], LABELS)
            found.append((stored["images"][chosen], stored["labels"][chosen]))
    images, labels = (np.concatenate(one) for one in zip(*found, strict=True))
    return images, np.searchsorted(LABELS, labels).astype(np.int64)


@torch.no_grad()
def features_of(images: NDArray[np.uint8]) -> Tensor:
    """Return pooled features (N, C) of the pretrained trunk."""
    backbone = load_backbone(load_config("demo", backbones=[LITE0]).backbone[0], SIZE, seed=0)
    model = backbone.model.eval()
    found = []
    for start in range(0, len(images), 32):
        pixels = torch.from_numpy(images[start : start + 32])
        inputs = to_input(pixels, backbone.preprocess, torch.device("cpu"), (), None)
        found.append(pool(model.forward_features(inputs)))
    return torch.cat(found)


def divided(images: NDArray[np.uint8], labels: NDArray[np.int64], seed: int) -> Dataset:
    """Return the images with their splits; those that are not used are left as no split."""
    splits: list[str] = ["unused"] * len(labels)
    for label in range(len(CLASSES)):
        own = np.flatnonzero(labels == label)
        # The last ones are from the test file, the same for every seed.
        for i in own[-TEST:]:
            splits[i] = "test"
        drawn = np.random.default_rng((seed, label)).permutation(own[:-TEST])
        for k, i in enumerate(drawn[: TRAIN[label] + VALIDATION[label]]):
            splits[i] = "train" if k < TRAIN[label] else "validation"
    ids = tuple(map(str, range(len(labels))))
    return Dataset(
        "CIFAR-10", CLASSES, ids, ids, labels, cast(tuple[Split, ...], tuple(splits)), images
    )


def figures(case: tuple[str, ...], pooled: Tensor, data: Dataset, seed: int) -> list[float]:
    """Train a head and return its `FIGURES`."""
    settings = [*case, f"seed={seed}"]
    config = load_config("demo", settings=settings)
    head = new_head(pooled, config, data.classes)
    trained = adapt(head, pooled, data, config, Silent(), "adaptation")
    found = predict_pooled(head, pooled, data, data.where("test"))
    shares, predicted = found.probabilities.astype(np.float64), found.predicted
    recall = [float((predicted[found.labels == k] == k).mean()) for k in range(2)]
    return [
        0.95 * recall[0] + 0.05 * recall[1],
        sum(recall) / 2,
        measure("auroc", found.labels, predicted, shares),
        recall[1],
        float(len(trained.history)),
    ]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    with without_denormals():
        images, labels = images_of(wanted.data)
        pooled = features_of(images)
        print(f"| setting | {' | '.join(FIGURES)} |\n|---|{'---|' * len(FIGURES)}")
        for name, case in CASES.items():
            found = np.array(
                [
                    figures(case, pooled, divided(images, labels, seed), seed)
                    for seed in range(wanted.seeds)
                ]
            )
            cells = [
                f"{mean:.3f} ± {deviation:.3f}"
                for mean, deviation in zip(
                    found.mean(axis=0)[:-1], found.std(axis=0, ddof=1)[:-1], strict=True
                )
            ]
            print(f"| {name} | {' | '.join(cells)} | {found[:, -1].mean():.0f} |", flush=True)


if __name__ == "__main__":
    main()
