"""The images of a study, decoded and divided into splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seewhy.storage.schemas.input_size import InputSize, sides
from seewhy.storage.schemas.levels import NO_LEVELS, Levels

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Preprocess:
    """How pixels become a backbone's input; it follows the weights.

    `size` is the side of a square input in pixels, or its height and width; `mean` and `std` are
    for red, green and blue in 0 … 1.
    """

    size: InputSize
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return sides(self.size)


@dataclass(frozen=True)
class SetAside:
    """One image that is not part of the study, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """All images of a study, decoded, in one fixed order.

    Attributes
    ----------
    source : str
        Where they come from, for people.
    classes : tuple of str
        Class names; a label is an index into them.
    ids : tuple of str
        One per image, unique, the same in every record of the study.
    paths : tuple of str
        Where each image came from, for people.
    labels : ndarray of int64, (N,)
    splits : tuple of str
        ``train``, ``validation`` or ``test``, one per image.
    pixels : ndarray of uint8, (N, H, W, 3)
        Memory-mapped RGB at the working size.
    masks : ndarray of bool, (N, H, W), optional
        Ground-truth object masks, where the source has them.
    set_aside : tuple of SetAside
    groups : ndarray of int64, (N,), optional
        Equal numbers for images that stay together when images are divided, -1 for any other:
        duplicates, and those with equal values in the columns `group_by`.
    group_by : tuple of str
    levels : Levels
        What was taken for black and white in images of more than 8 bits a value.
    weights : ndarray of float64, (N,), optional
        How much each image counts in the training loss, where the source says so; validation and
        test images are scored without.
    metadata : dict of str to tuple of str
        Further columns of the source's table, one cell per image.
    """

    source: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None = None
    set_aside: tuple[SetAside, ...] = ()
    groups: NDArray[np.int64] | None = None
    levels: Levels = NO_LEVELS
    weights: NDArray[np.float64] | None = None
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()

    def where(self, split: Split) -> NDArray[np.int64]:
        """Return the indices of one split's images, ascending."""
        return np.flatnonzero(np.asarray(self.splits) == split).astype(np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return images per split and class, zeros included."""
        seen = Counter(zip(self.splits, self.labels.tolist(), strict=True))
        return {
            split: {name: seen[split, k] for k, name in enumerate(self.classes)} for split in SPLITS
        }
