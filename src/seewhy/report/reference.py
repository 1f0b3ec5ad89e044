"""What others reached on CIFAR-10's ten classes: the paper's networks, and people.

Numbers only; which of them stand beside a study's own is decided where the tables are made.

References
----------
.. [1] J. Valério, E. Grytøy, M. Andres, J. Mocettini. Visual Explainability in Image
   Classification using Grad-CAM in Fine-Tuned InceptionV3, ResNet50 and VGG16 Models. Tables 1.1,
   1.6, 2.6 and 3.6.
.. [2] T. Ho-Phuoc. CIFAR10 to Compare Visual Recognition Performance between Deep Neural Networks
   and Humans, 2018 (as the paper gives it in its section 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scores:
    """Shares in 0 … 1 of the test images; precision and recall are macro means."""

    accuracy: float
    precision: float
    recall: float


@dataclass(frozen=True)
class PaperScores:
    """One of the paper's three networks on CIFAR-10.2."""

    name: str
    baseline: Scores
    adaptation: Scores
    finetuning: Scores


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

PAPER = {
    "resnet50": PaperScores(
        "ResNet50",
        baseline=Scores(0.54, 0.60, 0.54),
        adaptation=Scores(0.77, 0.79, 0.77),
        finetuning=Scores(0.86, 0.86, 0.86),
    ),
    "inception_v3": PaperScores(
        "InceptionV3",
        baseline=Scores(0.51, 0.55, 0.51),
        adaptation=Scores(0.75, 0.76, 0.75),
        finetuning=Scores(0.85, 0.85, 0.85),
    ),
    "vgg16": PaperScores(
        "VGG16",
        baseline=Scores(0.55, 0.60, 0.55),
        adaptation=Scores(0.75, 0.75, 0.75),
        finetuning=Scores(0.81, 0.82, 0.81),
    ),
}


def has_cifar10_classes(classes: Iterable[str]) -> bool:
    """Whether `classes` are CIFAR-10's ten, in any order."""
    names = list(classes)
    return len(names) == len(HUMAN_ACCURACY) and set(names) == set(HUMAN_ACCURACY)


def paper_scores(backbone: str) -> PaperScores | None:
    """Return the paper's figures for the architecture of `backbone`, where it has any.

    Parameters
    ----------
    backbone : str
        A timm name, with or without its tag (``resnet50.tv_in1k``), or ``local-dir:PATH`` whose
        folder is named after the architecture.
    """
    name = re.split(r"[/\\]", backbone.removeprefix("local-dir:").rstrip("/\\"))[-1]
    return PAPER.get(name.lower().split(".")[0])
