"""Object masks of a listing's pictures: mask files, or boxes in pixels of the picture.

A mask that is damaged or of other proportions than its picture is refused by itself; the picture
stays. One of the same proportions and another size is usable: it is scaled with its picture. A mask
without any marked pixel says that there is no object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from seewhy.data.decoding.formats import known_formats, quietly
from seewhy.data.decoding.picture import picture_size
from seewhy.data.sources.class_names import printable
from seewhy.data.sources.listing import Listing
from seewhy.errors import UnreadableImageError
from seewhy.wording import count

Box = tuple[float, float, float, float]
# Of a mask's width over its height, against its picture's: rounding when both were made smaller.
_PROPORTION = 0.02


@dataclass(frozen=True)
class ObjectMasks:
    """Masks by the pictures' numbers.

    Attributes
    ----------
    pictures : tuple of Path
    files : tuple of Path or None
        The mask file of each picture.
    boxes : tuple of tuple of Box
        Left, top, right, bottom in pixels of the picture as it is shown; none, one or several.
    max_megapixels : float
    """

    pictures: tuple[Path, ...]
    files: tuple[Path | None, ...]
    boxes: tuple[Sequence[Box], ...]
    max_megapixels: float

    def load(self, index: int) -> NDArray[np.bool_]:
        """Return the object of picture `index`, (H, W); see `Listing.load_mask`.

        Raises
        ------
        UnreadableImageError
            Where the mask is damaged, or of other proportions than its picture.
        """
        file, boxes = self.files[index], self.boxes[index]
        if file is None and not boxes:
            return np.zeros((1, 1), dtype=bool)
        width, height = _size(self.pictures[index], self.max_megapixels)
        if file is not None:
            return _read(file, (width, height), self.max_megapixels)
        mask = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom in boxes:
            rows = slice(max(round(top), 0), max(round(bottom), 0))
            mask[rows, max(round(left), 0) : max(round(right), 0)] = True
        if not mask.any():
            raise UnreadableImageError(
                f"its boxes are outside the picture of {width} × {height} pixels"
            )
        return mask

    def is_scaled(self, index: int) -> bool:
        """Whether the mask file of picture `index`, which could be read, has another size."""
        file, most = self.files[index], self.max_megapixels
        return file is not None and _size(file, most) != _size(self.pictures[index], most)


def _read(file: Path, size: tuple[int, int], max_megapixels: float) -> NDArray[np.bool_]:
    try:
        with quietly(max_megapixels), Image.open(file, formats=known_formats()) as image:
            # A palette's numbers count, not its colours.
            plain = image if image.mode in ("1", "L", "P", "I", "I;16") else image.convert("L")
            values = np.asarray(ImageOps.exif_transpose(plain))
    except FileNotFoundError as error:
        raise UnreadableImageError(f"its mask {file.name} is missing") from error
    except Exception as error:  # over damaged files Pillow raises nearly anything
        raise UnreadableImageError(f"its mask {file.name} cannot be read ({error})") from error
    height, width = values.shape
    if abs(width / height - size[0] / size[1]) > _PROPORTION * size[0] / size[1]:
        raise UnreadableImageError(
            f"its mask {file.name} has {width} × {height} pixels, the picture {size[0]} × {size[1]}"
        )
    # 0 and 255 (JPEG: nearly), or small numbers: 0 for nothing, 1, 2, … for objects.
    largest = int(values.max())
    return np.asarray(values > largest / 2 if largest >= 128 else values > 0)


def _size(picture: Path, max_megapixels: float) -> tuple[int, int]:
    """Return width and height as the picture is shown, from its header."""
    try:
        return picture_size(picture, max_megapixels)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"its size cannot be read ({error.reason})") from error


def with_masks_beside(listing: Listing, root: Path, max_megapixels: float) -> Listing:
    """Return a folder's listing with the object masks in ``masks/`` beside the folder, if any.

    ``masks/cat/1.png`` is the mask of ``photos/cat/1.jpg``: the same place and stem, as PNG or with
    the picture's own suffix.
    """
    folder = root.absolute().parent / "masks"
    if not folder.is_dir() or folder == root.absolute():
        return listing
    masks = tuple(_mask_of(file, root, folder) for file in listing.files)
    known = [mask for mask in masks if mask is not None]
    if not known:
        return listing
    files = ObjectMasks(listing.files, masks, ((),) * len(masks), max_megapixels)
    note = f"{count(len(known), 'object mask')} found in {printable(folder)}."
    return replace(
        listing,
        load_mask=files.load,
        mask_is_scaled=files.is_scaled,
        notes=(*listing.notes, note),
        other_sources=(*listing.other_sources, *known),
    )


def _mask_of(file: Path, root: Path, folder: Path) -> Path | None:
    if not file.is_relative_to(root):
        return None
    place = folder / file.relative_to(root)
    return next((one for one in (place.with_suffix(".png"), place) if one.is_file()), None)
