"""What is carried from one image into another: a detail, a place, the colours, the fine texture.

Pixels in, pixels out. An exchange gets its source and the image whose place it uses, so that the
same place can be filled with what is examined and, for comparison, with what is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from seewhy.audit.discovery.details import Detail

Image = NDArray[np.uint8]  # (H, W, 3)

# What is outside the middle counts as background: an ellipse of this radius, as a share
# of the sides; a circle where the image is a square.
MIDDLE = 0.36
# Texture is finer than this, as a share of the shorter side.
FINE = 0.05
ROUNDS = 40


class Exchange(Protocol):
    """Copies something from `source` into `recipient`, at its place in image number `place`."""

    def __call__(self, recipient: Image, source: Image, place: int) -> Image:
        """Return the changed image, (H, W, 3) uint8."""
        ...


@dataclass(frozen=True)
class DetailExchange:
    """Pastes the pixels of a same-looking detail.

    `scale` is how many rows and columns of an image one of the detail's covers.
    """

    detail: Detail
    scale: tuple[float, float]

    def mask(self, place: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels the detail covers in image `place`, (H, W) as in `shape`."""
        top, left = self.detail.places[place]
        rows = np.floor((np.arange(shape[0]) + 0.5) / self.scale[0]).astype(int) - top
        columns = np.floor((np.arange(shape[1]) + 0.5) / self.scale[1]).astype(int) - left
        height, width = self.detail.shape.shape
        inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
        mask = np.zeros(shape, bool)
        kept_rows = rows[(rows >= 0) & (rows < height)]
        kept_columns = columns[(columns >= 0) & (columns < width)]
        mask[inside] = self.detail.shape[np.ix_(kept_rows, kept_columns)]
        return mask

    def __call__(self, recipient: Image, source: Image, place: int) -> Image:
        """Paste the source's pixels where the detail is."""
        mask = self.mask(place, shape_of(recipient))[..., None]
        return np.where(mask, source, recipient)


@dataclass(frozen=True)
class PlaceExchange:
    """Pastes a box, the same in all images; top, left, bottom, right as shares of the sides."""

    box: tuple[float, float, float, float]

    def __call__(self, recipient: Image, source: Image, place: int) -> Image:
        """Paste the source's pixels in the box."""
        top, left, bottom, right = box_pixels(self.box, shape_of(recipient))
        changed = recipient.copy()
        changed[top:bottom, left:right] = source[top:bottom, left:right]
        return changed


@dataclass(frozen=True)
class ColourExchange:
    """Gives an image another's mean and deviation in each colour channel."""

    def __call__(self, recipient: Image, source: Image, place: int) -> Image:
        """Return the recipient with the source's colour statistics."""
        old, new = recipient.astype(np.float32), source.astype(np.float32)
        spread = (new.std(axis=(0, 1)) + 1) / (old.std(axis=(0, 1)) + 1)
        moved = (old - old.mean(axis=(0, 1))) * spread + new.mean(axis=(0, 1))
        return _bytes(moved)


@dataclass(frozen=True)
class TextureExchange:
    """Gives the ground around an image's middle another's fine texture; coarse light stays."""

    def __call__(self, recipient: Image, source: Image, place: int) -> Image:
        """Return the recipient with the source's fine texture outside the middle."""
        old, new = recipient.astype(np.float32), source.astype(np.float32)
        shape = shape_of(recipient)
        blur = (FINE * min(shape), FINE * min(shape), 0)
        fine = new - ndimage.gaussian_filter(new, blur)
        moved = ndimage.gaussian_filter(old, blur) + fine
        return _bytes(np.where(ground(shape)[..., None], moved, old))


def ground(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark what is outside the middle, (H, W) as in `shape`."""
    down, across = ((np.arange(side) + 0.5) / side - 0.5 for side in shape)
    outside: NDArray[np.bool_] = down[:, None] ** 2 + across[None] ** 2 > MIDDLE**2
    return outside


def shape_of(image: Image) -> tuple[int, int]:
    """Return an image's height and width."""
    return image.shape[0], image.shape[1]


def box_pixels(
    box: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return a box's top, left, bottom and right, given as shares of the sides, in pixels."""
    height, width = shape
    top, left, bottom, right = box
    return round(top * height), round(left * width), round(bottom * height), round(right * width)


def filled_in(image: Image, mask: NDArray[np.bool_]) -> Image:
    """Fill the pixels (H, W) of a mask, which is not all of the image, from their surroundings.

    Each starts as its nearest known pixel and becomes the mean of its neighbours, `ROUNDS` times,
    until the edges of the hole are gone.
    """
    if not mask.any():
        return image.copy()
    # The hole and a pixel around it are all that counts.
    part = tuple(
        slice(max(int(where[0]) - 1, 0), int(where[-1]) + 2)
        for where in (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    )
    hole = mask[part]
    rows, columns = ndimage.distance_transform_edt(
        hole, return_distances=False, return_indices=True
    )
    filled = image[part][rows, columns].astype(np.float32)
    for _ in range(ROUNDS):
        filled[hole] = ndimage.uniform_filter(filled, (3, 3, 0), mode="nearest")[hole]
    whole = image.copy()
    whole[part] = _bytes(filled)
    return whole


def _bytes(values: NDArray[np.float32]) -> Image:
    clipped: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clipped
