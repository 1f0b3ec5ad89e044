"""Published results on CIFAR-10's ten classes: the paper's networks, and human accuracy.

Numbers only; the tables decide which of them are shown next to a study's own.

References
----------
.. [1] J. Valério, E. Grytøy, M. Andres, J. Mocettini. Visual Explainability in Image
   Classification using Grad-CAM in Fine-Tuned InceptionV3, ResNet50 and VGG16 Models. Tables 1.1,
   1.3, 1.6, 2.3, 2.6, 3.3 and 3.6.
.. [2] T. Ho-Phuoc. CIFAR10 to Compare Visual Recognition Performance between Deep Neural Networks
   and Humans, 2018 (as the paper gives it in its section 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from seewhy.storage.schemas.training import HeadSummary


@dataclass(frozen=True)
class PublishedScores:
    """Shares in 0 … 1 of the test images; precision and recall are macro means."""

    accuracy: float
    precision: float
    recall: float


@dataclass(frozen=True)
class PaperScores:
    """One of the paper's three networks on CIFAR-10.2.

    `heads` holds the best parameters found with one hidden layer and with two; the first was used.
    `recall` is the recall per class after fine-tuning (section 4.2, from the confusion matrices).
    """

    name: str
    baseline: PublishedScores
    adaptation: PublishedScores
    finetuning: PublishedScores
    heads: tuple[HeadSummary, ...]
    recall: dict[str, float]


def _head(units: list[int], dropout: float, learning_rate: float, batch_size: int) -> HeadSummary:
    return HeadSummary(
        units=units,
        dropout=dropout,
        learning_rate=learning_rate,
        batch_size=batch_size,
        loss="cross-entropy",
    )


HUMAN_ACCURACY = {
    "airplane": 0.94,
    "automobile": 0.97,
    "bird": 0.95,
    "cat": 0.85,
    "deer": 0.90,
    "dog": 0.93,
    "frog": 0.95,
    "horse": 0.96,
    "ship": 0.96,
    "truck": 0.97,
}


def _recall(*values: float) -> dict[str, float]:
    """Name values in the order of the classes above."""
    return dict(zip(HUMAN_ACCURACY, values, strict=True))


PAPER = {
    "resnet50": PaperScores(
        "ResNet50",
        baseline=PublishedScores(0.54, 0.60, 0.54),
        adaptation=PublishedScores(0.77, 0.79, 0.77),
        finetuning=PublishedScores(0.86, 0.86, 0.86),
        heads=(_head([178], 0.0, 1e-3, 64), _head([55, 27], 0.0, 1e-3, 64)),
        recall=_recall(0.84, 0.89, 0.88, 0.76, 0.86, 0.88, 0.88, 0.90, 0.87, 0.83),
    ),
    "inception_v3": PaperScores(
        "InceptionV3",
        baseline=PublishedScores(0.51, 0.55, 0.51),
        adaptation=PublishedScores(0.75, 0.76, 0.75),
        finetuning=PublishedScores(0.85, 0.85, 0.85),
        heads=(_head([93], 0.1, 5.6e-4, 16), _head([512, 256], 0.6, 5.6e-4, 16)),
        recall=_recall(0.76, 0.90, 0.85, 0.77, 0.85, 0.90, 0.86, 0.90, 0.92, 0.82),
    ),
    "vgg16": PaperScores(
        "VGG16",
        baseline=PublishedScores(0.55, 0.60, 0.55),
        adaptation=PublishedScores(0.75, 0.75, 0.75),
        finetuning=PublishedScores(0.81, 0.82, 0.81),
        heads=(_head([312], 0.6, 7.25e-4, 64), _head([512, 256], 0.0, 7.25e-4, 64)),
        recall=_recall(0.84, 0.74, 0.85, 0.66, 0.88, 0.82, 0.80, 0.82, 0.80, 0.89),
    ),
}


def has_cifar10_classes(classes: Iterable[str]) -> bool:
    """Whether `classes` are CIFAR-10's ten, in any order."""
    names = list(classes)
    return len(names) == len(HUMAN_ACCURACY) and set(names) == set(HUMAN_ACCURACY)


def paper_scores(backbone: str) -> PaperScores | None:
    """Return the paper's figures for the architecture of `backbone`, where it has any.

    The backbone is a timm name, with or without its tag (``resnet50.tv_in1k``), or
    ``local-dir:PATH`` whose folder is named after the architecture.
    """
    name = re.split(r"[/\\]", backbone.removeprefix("local-dir:").rstrip("/\\"))[-1]
    return PAPER.get(name.lower().split(".")[0])
