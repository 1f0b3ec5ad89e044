"""Maps as pictures: resizing, the colour map, the overlay on an image.

NumPy, Pillow and Matplotlib's colour table only, so that the report and ``seewhy explain`` draw
alike and neither needs a network. This module does not know where a map or an image comes from.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

# Even steps for the eye, readable by the colour-blind, and dark where the map is low.
COLOUR_MAP = "inferno"

# The colour covers the image wholly from this share of the map's maximum on, and less below it, so
# that places the classifier did not use stay as they are.
OPAQUE_FROM = 0.5

# Overlays finer than this take a layer of this side enlarged: maps have no detail beyond it.
_FINEST = 1024
_BAND = 256

LARGEST = float(np.finfo(np.float32).max)
Shares = tuple[float, float, float, float]  # left, top, right, bottom of a part, of the sides
WHOLE: Shares = (0.0, 0.0, 1.0, 1.0)


def resize_map(
    map_: NDArray[Any], size: tuple[int, int], within: Shares = WHOLE
) -> NDArray[np.float32]:
    """Resize a map (h, w) to a size (H, W) bilinearly, as PyTorch with ``align_corners=False``.

    Of the map only the part `within` left, top, right and bottom, shares of its sides.
    """
    values: NDArray[np.float64] = np.asarray(map_, dtype=np.float64)
    height, width = values.shape
    start, top, end, bottom = within
    above, below, share = _neighbours(height, size[0], top, bottom)
    values = values[above] * (1 - share)[:, None] + values[below] * share[:, None]  # (H, w)
    left, right, share = _neighbours(width, size[1], start, end)
    resized: NDArray[np.float32]
    resized = (values[:, left] * (1 - share) + values[:, right] * share).astype(np.float32)
    return resized


def normalised(map_: NDArray[Any], of: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """Scale a map of any shape to 0 … 1 by its own maximum; an empty map (all zero) stays zero.

    Where it is a part, by the maximum `of` the whole. What is negative or not a number counts as
    zero.
    """
    values = _finite(map_)
    peak = float((values if of is None else _finite(of)).max(initial=0.0))
    scaled: NDArray[np.float32] = (values / peak if peak > 0 else values).astype(np.float32)
    return scaled


def heat(map_: NDArray[Any], size: tuple[int, int], within: Shares = WHOLE) -> NDArray[np.uint8]:
    """Colour a map (h, w) as a layer to lay over its image, (H, W, 4).

    Red, green, blue and coverage; an empty map covers nothing. A part `within` the map, see
    `resize_map`, keeps the colours that it has in the whole.
    """
    values = normalised(resize_map(map_, size, within), None if within == WHOLE else map_)
    coverage = np.minimum(values / OPAQUE_FROM, 1.0)
    return np.dstack([colour(values), np.rint(coverage * 255).astype(np.uint8)])


def _finite(map_: NDArray[Any]) -> NDArray[np.float64]:
    given: NDArray[np.float64] = np.asarray(map_, dtype=np.float64)
    return np.nan_to_num(given, nan=0.0, posinf=LARGEST, neginf=0.0).clip(0.0, LARGEST)


def colour(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Look up values of any shape in the colour map, (..., 3); they are clipped to 0 … 1."""
    steps = np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.intp)
    found: NDArray[np.uint8] = _table()[steps]
    return found


def overlay(
    image: NDArray[np.uint8], map_: NDArray[Any], opacity: float = 0.5
) -> NDArray[np.uint8]:
    """Lay a map over the image it explains.

    Where the map is zero the image shows unchanged; from `OPAQUE_FROM` of its maximum on, the
    colour has the full `opacity`.

    Parameters
    ----------
    image : ndarray of uint8, (H, W, 3)
    map_ : ndarray, (h, w)
    opacity : float, default 0.5
        0 shows the image alone, 1 hides it where the map is high.

    Returns
    -------
    ndarray of uint8, (H, W, 3)

    Raises
    ------
    ValueError
        For an image that is not (H, W, 3) or an opacity outside 0 … 1.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected argument `image` to be (H, W, 3), but got {image.shape}")
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"expected argument `opacity` to be in 0 … 1, but got {opacity}")
    return _blended(image, heat(map_, image.shape[:2]), opacity)


def overlay_within(
    image: NDArray[np.uint8],
    map_: NDArray[Any],
    box: tuple[int, int, int, int],
    opacity: float = 0.5,
    within: Shares = WHOLE,
) -> NDArray[np.uint8]:
    """Lay a map over the box of an image that the classifier was shown.

    Outside the box the image stays as it is; a thin black and white line runs along the box's
    edges where something is outside.

    Parameters
    ----------
    image : ndarray of uint8, (H, W, 3)
    map_ : ndarray, (h, w)
    box : tuple of int
        Left, top, right and bottom of what the classifier was shown, pixels.
    opacity : float, default 0.5
        See `overlay`.
    within : tuple of float, optional
        Where the box was in the classifier's input: left, top, right and bottom as shares of its
        sides, default all of it. The rest of the map, which is of padding, is not drawn; it
        counts for the map's maximum.

    Returns
    -------
    ndarray of uint8, (H, W, 3)
    """
    left, top, right, bottom = box
    height, width = bottom - top, right - left
    laid = _edged(image, box)
    shown = laid[top:bottom, left:right]
    layer = heat(map_, (min(height, _FINEST), min(width, _FINEST)), within)
    if max(height, width) > _FINEST:
        layer = np.array(Image.fromarray(layer).resize((width, height), Image.Resampling.BILINEAR))
    # In bands: whole pictures as floats would take twenty times their size.
    for start in range(0, height, _BAND):
        rows = slice(start, start + _BAND)
        shown[rows] = _blended(shown[rows], layer[rows], opacity)
    return laid


def _blended(
    image: NDArray[np.uint8], layer: NDArray[np.uint8], opacity: float
) -> NDArray[np.uint8]:
    """Mix an image (h, w, 3) with a layer (h, w, 4) as far as the layer covers it."""
    heated = layer.astype(np.float32)
    weight = heated[..., 3:] / 255 * opacity  # (h, w, 1)
    return np.rint(image * (1 - weight) + heated[..., :3] * weight).astype(np.uint8)


def _edged(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return a copy with the outside of a box's edges drawn in."""
    left, top, right, bottom = box
    edged = image.copy()
    width = max(1, min(bottom - top, right - left) // 250)
    # The black line, next to the box, is drawn over the white one.
    for distance, shade in ((2 * width, 255), (width, 0)):
        edged[top:bottom, max(0, left - distance) : left] = shade
        edged[top:bottom, right : right + distance] = shade
        edged[max(0, top - distance) : top, left:right] = shade
        edged[bottom : bottom + distance, left:right] = shade
    return edged


def _neighbours(
    count: int, size: int, start: float, end: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return, for each of `size` places, the two of `count` cells around it and the second's share.

    The places are those from `start` to `end`, shares of the cells. A place's centre is at
    ``start · count + (i + 1/2) · (end - start) · count/size - 1/2``; beyond the edge cells it stays
    on them.
    """
    step = count * (end - start) / size
    centres = np.clip((np.arange(size) + 0.5) * step + (start * count - 0.5), 0, count - 1)
    first = np.floor(centres).astype(np.intp)
    return first, np.minimum(first + 1, count - 1), centres - first


@cache
def _table() -> NDArray[np.uint8]:
    shades = colormaps[COLOUR_MAP](np.linspace(0, 1, 256))[:, :3]
    table: NDArray[np.uint8] = np.rint(shades * 255).astype(np.uint8)
    return table
