"""Pictures of more than 8 bits a value: how they are stored, what they span, and as 8 bits.

`seewhy.data.decoding.value_levels` decides what is black and white among their values; where
nothing was decided, a picture is judged by its own values. This module knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.data.decoding.dicom import FORMAT, INVERTED, WINDOW, GreyTable, Window
from seewhy.data.decoding.formats import PHOTOMETRIC
from seewhy.data.decoding.value_levels import ValueRange, choose_level
from seewhy.errors import UnreadableImageError
from seewhy.storage.schemas.levels import Kind, Levels, ValueLevel

NOTHING_FINITE = "holds no finite value"
PER_BYTE = 257  # 16-bit values a step of the upper byte stands for, 65535 / 255


@dataclass(frozen=True)
class ValueFormat:
    """How a picture's values are stored."""

    kind: Kind
    coarse: bool = False  # whether Pillow reads only the upper 8 of 16 bits
    # Whether 32-bit values have no sign; Pillow takes all of them for signed.
    unsigned: bool = False
    white_is_zero: bool = False
    window: Window | GreyTable | None = None  # how a DICOM file wants its values to be shown


def storage_of(image: Image.Image) -> ValueFormat | None:
    """Tell how a picture is stored; None for 8 bits. Ask before it is loaded."""
    if image.format == FORMAT:
        return _storage_of_dicom(image)
    raw = _raw_mode(image)
    tags = getattr(image, "tag_v2", {})
    white_is_zero = image.format == "TIFF" and tags.get(PHOTOMETRIC) == 0
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return ValueFormat("16-bit", white_is_zero=white_is_zero)
    if image.mode == "I":
        return ValueFormat("integer", unsigned=raw in ("I;32N", "I;32", "I;32B"))
    if image.mode == "F":
        return ValueFormat("float", white_is_zero=white_is_zero)
    return ValueFormat("16-bit", coarse=True) if ";16" in raw else None


def _storage_of_dicom(image: Image.Image) -> ValueFormat | None:
    if image.mode != "F":
        return None
    window = image.info[WINDOW]
    inverted = image.info[INVERTED]
    return ValueFormat("windowed" if window else "float", white_is_zero=inverted, window=window)


def span_of(image: Image.Image, storage: ValueFormat) -> ValueRange:
    """Return the range of a loaded picture's values.

    Raises UnreadableImageError where no value is finite.
    """
    if storage.coarse:
        bands = image.getextrema()
        highs = [high for _, high in bands] if isinstance(bands[0], tuple) else [bands[1]]
        colours = highs[:-1] if image.mode in ("RGBA", "RGBa", "LA", "La") else highs
        return ValueRange("16-bit", 0.0, float(max(colours)) * PER_BYTE, coarse=True)
    return span_of_values(_values(image, storage), storage.kind)


def span_of_values(values: NDArray[Any], kind: Kind) -> ValueRange:
    """Return the range of an array's values.

    Raises UnreadableImageError where no value is finite.
    """
    odd = False
    if kind in ("float", "windowed"):
        finite = np.isfinite(values)
        if not finite.all():
            values, odd = values[finite], True
    if values.size == 0:
        raise UnreadableImageError(NOTHING_FINITE)
    return ValueRange(kind, float(values.min()), float(values.max()), odd)


def deep_to_rgb(image: Image.Image, storage: ValueFormat, levels: Levels) -> Image.Image:
    """Make a loaded picture of more than 8 bits one of 8 bits: L, RGB, or with alpha.

    A kind that is not in the levels is shown with the picture's own window, or judged by this
    picture alone.
    """
    if storage.coarse:
        level = levels.of(storage.kind)
        if level is None:
            span = span_of(image, storage)
            level = choose_level(span.kind, span.low, span.high)
        return _stretched(image, level)
    values = _values(image, storage)
    if storage.window is not None and levels.of(storage.kind) is None:
        grey = storage.window.to_8_bit(values)
    else:
        grey = values_to_8_bit(values, storage.kind, levels)
    if storage.white_is_zero:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    return Image.fromarray(grey)


def kind_of_values(dtype: np.dtype[Any]) -> Kind | None:
    """Return the kind of an array's values; None for 8 bits.

    Raises TypeError for values that are no brightness: truth values, complex numbers, text,
    objects.
    """
    if dtype.kind not in "uif":
        raise TypeError(f"expected numbers, but got {dtype}")
    if dtype == np.uint8:
        return None
    if dtype.kind == "f":
        return "float"
    return "16-bit" if dtype.kind == "u" and dtype.itemsize == 2 else "integer"


def values_to_8_bit(values: NDArray[Any], kind: Kind, levels: Levels) -> NDArray[np.uint8]:
    """Scale one picture's values to 8 bits; a kind that has no level is judged by them alone.

    Raises UnreadableImageError where no value is finite.
    """
    level = levels.of(kind)
    if level is None:
        span = span_of_values(values, kind)
        level = choose_level(kind, span.low, span.high)
    elif kind == "float" and not np.isfinite(values).any():
        raise UnreadableImageError(NOTHING_FINITE)
    return to_8_bit(values, level)


def to_8_bit(values: NDArray[Any], level: ValueLevel) -> NDArray[np.uint8]:
    """Scale values so that black is 0 and white 255; what is beyond is clipped, not finite is 0."""
    # Halves, so that the widest floats have a difference.
    black, span = level.black / 2, level.white / 2 - level.black / 2
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) / 2 - black) / span * 255
        scaled = np.where(np.isfinite(values), scaled, 0.0)
        eight: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return eight


def _values(image: Image.Image, storage: ValueFormat) -> NDArray[Any]:
    values = np.asarray(image)
    return values.view(np.uint32) if storage.unsigned else values


def _raw_mode(image: Image.Image) -> str:
    """Return how Pillow reads the file's values, ``RGB;16B``; empty where it does not say."""
    tile = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else ""
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else ""
    return arguments if isinstance(arguments, str) else ""


def _stretched(image: Image.Image, level: ValueLevel) -> Image.Image:
    """Scale the colours of a picture whose lower 8 bits were not read; alpha stays."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple):
        # Given in 16 bits; Pillow would look for it among the 8 that it has read.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
        image = image.convert("RGBA")
    elif image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    upper = ValueLevel(level.kind, level.black, max(level.white // 256, 1.0) * PER_BYTE)
    steps = to_8_bit(np.arange(256) * PER_BYTE, upper).tolist()
    table = [list(range(256)) if band == "A" else steps for band in image.getbands()]
    return image.point([step for band in table for step in band])
