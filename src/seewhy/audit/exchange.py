"""What is carried from one image into another: a detail, a place, the colours, the fine texture.

Pixels in, pixels out. An exchange gets its source and the image whose place it uses, so that the
same place can be filled with what is examined and, for comparison, with what is not. Padding has
neither colours nor texture: it is not read for them, and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from seewhy.audit.discovery.details import Detail
from seewhy.data.decoding.fit import filled_box, slices

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
        part = slices(filled_box(recipient))
        old = recipient[part].astype(np.float32)
        new = source[slices(filled_box(source))].astype(np.float32)
        spread = (new.std(axis=(0, 1)) + 1) / (old.std(axis=(0, 1)) + 1)
        changed = recipient.copy()
        changed[part] = _bytes((old - old.mean(axis=(0, 1))) * spread + new.mean(axis=(0, 1)))
        return changed


@dataclass(frozen=True)
class TextureExchange:
    """Gives the ground around an image's middle another's fine texture; coarse light stays.

    Where padding leaves the two different sides, the texture is taken from the nearer edges, so
    that it is the ground's and as fine as it was.
    """

    def __call__(self, recipient: Image, source: Image, place: int) -> Image:
        """Return the recipient with the source's fine texture outside the middle."""
        part = slices(filled_box(recipient))
        old = recipient[part].astype(np.float32)
        new = source[slices(filled_box(source))].astype(np.float32)
        blur = (FINE * min(shape_of(recipient)), FINE * min(shape_of(recipient)), 0)
        fine = new - ndimage.gaussian_filter(new, blur)
        rows, columns = map(_from_edges, shape_of(fine), shape_of(old))
        moved = ndimage.gaussian_filter(old, blur) + fine[np.ix_(rows, columns)]
        changed = recipient.copy()
        changed[part] = _bytes(np.where(ground(shape_of(old))[..., None], moved, old))
        return changed


def _from_edges(length: int, wanted: int) -> NDArray[np.int64]:
    """Return which of `length` rows fill `wanted` rows, each half mirrored from its own edge.

    >>> _from_edges(4, 6).tolist(), _from_edges(6, 4).tolist()
    ([0, 1, 1, 2, 2, 3], [0, 1, 4, 5])
    """
    places = np.arange(wanted)
    edge = np.minimum(places, places[::-1])
    half = (length + 1) // 2
    edge %= 2 * half
    edge = np.minimum(edge, 2 * half - 1 - edge)
    found: NDArray[np.int64] = np.where(places < wanted / 2, edge, length - 1 - edge)
    return found


def ground(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark what is outside the middle, (H, W) as in `shape`; all of a few pixels."""
    down, across = ((np.arange(side) + 0.5) / side - 0.5 for side in shape)
    outside: NDArray[np.bool_] = down[:, None] ** 2 + across[None] ** 2 > MIDDLE**2
    return outside if outside.any() else ~outside


def shape_of(image: NDArray[np.uint8] | NDArray[np.float32]) -> tuple[int, int]:
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
