"""What a source offers before anything is decoded: names, labels, and how to get image i.

It does not know where images come from (a folder, arrays, the demo) nor what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seewhy.data.decoding.value_levels import ValueRange
from seewhy.storage.schemas.data_checks import OtherFiles
from seewhy.storage.schemas.dataset import SetAside, Split
from seewhy.storage.schemas.levels import Levels


class DeepValues(Protocol):
    """The values of images that may have more than 8 bits a value; callable from threads."""

    def is_deep(self, index: int) -> bool:
        """Tell quickly whether image `index` may have more than 8 bits a value."""

    def measure(self, index: int) -> ValueRange | None:
        """Return the range of image `index`'s values; None for 8 bits and where unreadable."""

    def loader(self, levels: Levels) -> Callable[[int], NDArray[np.uint8]]:
        """Return a `Listing.load` that takes these levels for black and white."""


@dataclass(frozen=True)
class Listing:
    """What a source offers before anything is decoded."""

    source: str  # what the images are, for people
    # Class names: sorted for folders (numbers by value), in the order of ``label_names`` for
    # ``.npz`` files.
    classes: tuple[str, ...]
    # One per image, shown to people; for folders relative, with forward slashes.
    paths: tuple[str, ...]
    labels: NDArray[np.int64]  # (N,): index into `classes`
    splits: tuple[Split | None, ...]  # None: still to be drawn
    # ``load(i)`` gives image i as uint8 RGB, shape (H, W, 3); it raises
    # `seewhy.errors.UnreadableImageError` where the image has to be set aside, and may be
    # called from several threads at once.
    load: Callable[[int], NDArray[np.uint8]]
    # ``load_mask(i)`` gives the object of image i, bool, shape (H, W); shape (1, 1), False, where
    # nothing is known of it; it raises `UnreadableImageError` where the mask cannot be used.
    load_mask: Callable[[int], NDArray[np.bool_]] | None = None
    # Whether the mask of image i has another size than the image.
    mask_is_scaled: Callable[[int], bool] = lambda index: False
    native_size: int | None = None  # side, pixels, where all images are squares of one size
    files: tuple[Path, ...] = ()  # of folders: the file of each image; else empty
    set_aside: tuple[SetAside, ...] = ()  # what was found but belongs to no class
    # How the source was read, a sentence each: which folder is which split, what was left
    # out.
    notes: tuple[str, ...] = ()
    other_files: tuple[OtherFiles, ...] = ()  # files beside the pictures, by kind
    deep: DeepValues | None = None  # where images may have more than 8 bits a value
    # Further columns of a table, one cell per image.
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    other_sources: tuple[Path, ...] = ()  # what else was read: tables, masks
    # (N,): how much each image counts in the training loss; None where all count alike.
    weights: NDArray[np.float64] | None = None
    # Why images are left out by corrections, by their place; see ``corrections.py``.
    dropped: Mapping[int, str] = field(default_factory=dict)

    def subset(self, places: Sequence[int]) -> Listing:
        """Return the listing of some of its images; what loads them still counts all."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in places),
            labels=self.labels[list(places)],
            splits=tuple(self.splits[i] for i in places),
            weights=None if self.weights is None else self.weights[list(places)],
            metadata={
                name: tuple(cells[i] for i in places) for name, cells in self.metadata.items()
            },
        )
