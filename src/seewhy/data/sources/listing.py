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
    """What a source offers before anything is decoded.

    Attributes
    ----------
    source : str
        What the images are, for people.
    classes : tuple of str
        Class names: sorted for folders (numbers by value), in the order of ``label_names`` for
        ``.npz`` files.
    paths : tuple of str
        One per image, shown to people; for folders relative, with forward slashes.
    labels : ndarray of int64, shape (N,)
        Index into `classes`.
    splits : tuple of {"train", "validation", "test", None}
        None: still to be drawn.
    load : callable
        ``load(i)`` gives image i as uint8 RGB, shape (H, W, 3); it raises
        `seewhy.errors.UnreadableImageError` where the image has to be set aside, and may be called
        from several threads at once.
    load_mask : callable, optional
        ``load_mask(i)`` gives the object of image i, bool, shape (H, W).
    native_size : int, optional
        Side, pixels, where all images are squares of one size.
    files : tuple of Path
        Of folders: the file of each image; else empty.
    set_aside : tuple of SetAside
        What was found but belongs to no class.
    notes : tuple of str
        How the source was read, a sentence each: which folder is which split, what was left out.
    other_files : tuple of OtherFiles
        Files beside the pictures, by kind.
    deep : DeepValues, optional
        Where images may have more than 8 bits a value.
    metadata : dict of str to tuple of str
        Further columns of a table, one cell per image.
    other_sources : tuple of Path
        Files beside the pictures that the listing was made from: tables, masks.
    """

    source: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split | None, ...]
    load: Callable[[int], NDArray[np.uint8]]
    load_mask: Callable[[int], NDArray[np.bool_]] | None = None
    native_size: int | None = None
    files: tuple[Path, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    other_files: tuple[OtherFiles, ...] = ()
    deep: DeepValues | None = None
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    other_sources: tuple[Path, ...] = ()

    def subset(self, places: Sequence[int]) -> Listing:
        """Return the listing of some of its images; what loads them still counts all."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in places),
            labels=self.labels[list(places)],
            splits=tuple(self.splits[i] for i in places),
            metadata={
                name: tuple(cells[i] for i in places) for name, cells in self.metadata.items()
            },
        )
