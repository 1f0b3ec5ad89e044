"""Picture files of a listing: how each is loaded, and what its values span.

It knows files by their number, not classes or splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seewhy.data.decoding.picture import decode_image, is_deep, measure_image
from seewhy.data.decoding.value_levels import ValueRange
from seewhy.errors import UnreadableImageError
from seewhy.storage.schemas.levels import Levels


@dataclass(frozen=True)
class PictureFiles:
    """The files of a listing, in its order; see `seewhy.data.sources.listing.DeepValues`."""

    files: tuple[Path, ...]
    max_megapixels: float  # larger images are refused
    at_least: int | None = None  # see `seewhy.data.decoding.picture.decode_image`

    def load(self, index: int) -> NDArray[np.uint8]:
        """Decode file `index`; one of more than 8 bits is judged by its own values."""
        return self._load(index, Levels())

    def is_deep(self, index: int) -> bool:
        """Tell by its first bytes whether file `index` may have more than 8 bits a value."""
        return is_deep(self.files[index])

    def measure(self, index: int) -> ValueRange | None:
        """Return the range of the values of file `index`; None for 8 bits and unreadable files."""
        return measure_image(self.files[index], self.max_megapixels)

    def loader(self, levels: Levels) -> Callable[[int], NDArray[np.uint8]]:
        """Return `load` with what is black and white in all files."""
        return lambda index: self._load(index, levels)

    def _load(self, index: int, levels: Levels) -> NDArray[np.uint8]:
        try:
            return decode_image(self.files[index], self.max_megapixels, self.at_least, levels)
        # Who lists the image names it by its place in the folder, so the message need not.
        except UnreadableImageError as error:
            raise UnreadableImageError(error.reason) from error
