"""From a picture of any proportions to an input of one size, and back: crop, pad or squash.

    crop    the middle of the picture, in the input's proportions; the rest is cut off
    pad     the whole picture, in its own proportions; the rest of the input has a neutral colour
    squash  the whole picture, in the input's proportions

They differ only in which part of the picture fills which part of the input: see `Placement`. Masks
take the same way as their pictures, and maps the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.config import Resize
from seewhy.storage.schemas.input_size import InputSize, sides

Box = tuple[int, int, int, int]  # left, top, right, bottom, pixels

# ImageNet's mean colour: near zero in every backbone's normalisation, as a padding of zeros inside
# a network is.
PADDING = (124, 116, 104)


@dataclass(frozen=True)
class Placement:
    """Where a picture is in an input: the part `kept` of the picture fills the part `filled` of it.

    `kept` is in pixels of the picture, `filled` in pixels of the input.
    """

    kept: Box
    filled: Box

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the input is in the picture; outside it for padding."""
        return _moved(x, y, self.filled, self.kept)

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the picture is in the input; outside it where it is cut off."""
        return _moved(x, y, self.kept, self.filled)


@dataclass(frozen=True)
class Fit:
    """How pictures are fitted to one size.

    Examples
    --------
    A picture of 100 × 200 pixels (height × width):

    >>> Fit(50).place((100, 200))
    Placement(kept=(50, 0, 150, 100), filled=(0, 0, 50, 50))
    >>> Fit(50, "pad").place((100, 200))
    Placement(kept=(0, 0, 200, 100), filled=(0, 12, 50, 37))
    >>> Fit((50, 80), "squash").place((100, 200))
    Placement(kept=(0, 0, 200, 100), filled=(0, 0, 80, 50))
    """

    size: InputSize
    mode: Resize = "crop"

    def place(self, shape: tuple[int, ...]) -> Placement:
        """Return where a picture of a shape (H, W, …) is in the input."""
        height, width = shape[:2]
        rows, columns = sides(self.size)
        if self.mode == "crop":
            return Placement(_largest((rows, columns), (height, width)), (0, 0, columns, rows))
        filled = (0, 0, columns, rows)
        if self.mode == "pad":
            filled = _largest((height, width), (rows, columns))
        return Placement((0, 0, width, height), filled)

    def shares_filled(self, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of the part that a picture fills, as shares."""
        left, top, right, bottom = self.place(shape).filled
        height, width = sides(self.size)
        return left / width, top / height, right / width, bottom / height

    def picture(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fit a picture (H, W, 3)."""
        if image.shape[:2] == sides(self.size):
            return image
        placement = self.place(image.shape)
        # Cutting the box out in the same step is resizing the whole and then cropping: the filter
        # still sees the pixels around it.
        resized = Image.fromarray(image).resize(
            _extent(placement.filled), Image.Resampling.BICUBIC, placement.kept, reducing_gap=3.0
        )
        whole = np.empty((*sides(self.size), 3), np.uint8)
        whole[:] = PADDING
        whole[slices(placement.filled)] = np.asarray(resized)
        return whole

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Fit a mask (H, W) as its picture, taking the nearest pixel; no padding is in it."""
        if mask.shape == sides(self.size):
            return mask
        placement = self.place(mask.shape)
        resized = Image.fromarray(mask.astype(np.uint8)).resize(
            _extent(placement.filled), Image.Resampling.NEAREST, placement.kept
        )
        whole = np.zeros(sides(self.size), np.bool_)
        whole[slices(placement.filled)] = np.asarray(resized).astype(bool)
        return whole


def _largest(shape: tuple[int, int], within: tuple[int, int]) -> Box:
    """Return the largest box in a shape's proportions, in the middle of another shape."""
    height, width = within
    down = max(1, round(min(height, width * shape[0] / shape[1])))
    across = max(1, round(min(width, height * shape[1] / shape[0])))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def _extent(box: Box) -> tuple[int, int]:
    left, top, right, bottom = box
    return right - left, bottom - top


def slices(box: Box) -> tuple[slice, slice]:
    """Return the rows and the columns of a box."""
    left, top, right, bottom = box
    return slice(top, bottom), slice(left, right)


def filled_box(image: NDArray[np.uint8]) -> Box:
    """Return the part of an image (H, W, 3) inside its padding, found from the pixels alone.

    Rows and columns at the edges that have `PADDING` in every pixel are padding. An image without
    them, or with nothing else, is whole.
    """
    height, width = image.shape[:2]
    whole = (0, 0, width, height)
    # Every row and column at an edge has one of these corners.
    if not any((image[corner] == PADDING).all() for corner in ((0, 0), (-1, -1))):
        return whole
    filled = (image != PADDING).any(axis=2)
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    if not len(rows):
        return whole
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _moved(x: float, y: float, from_: Box, to: Box) -> tuple[float, float]:
    """Return the place in one box of a point that is given in another."""
    share_x = (x - from_[0]) / (from_[2] - from_[0])
    share_y = (y - from_[1]) / (from_[3] - from_[1])
    return to[0] + share_x * (to[2] - to[0]), to[1] + share_y * (to[3] - to[1])


def filled_shares(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64] | None:
    """Return the filled boxes (N, 4) of images (H, W, 3), as shares of the sides.

    Left, top, right and bottom; None where all are whole.
    """
    shares = np.array(
        [np.divide(filled_box(image), (image.shape[1], image.shape[0]) * 2) for image in images]
    ).reshape(-1, 4)
    return None if (shares == (0, 0, 1, 1)).all() else shares
