"""One image file, whatever its format and mode, as 8-bit RGB; then as a square of one size.

Size is checked in the header before anything is decoded, so a decompression bomb costs nothing.
This module knows files and arrays, not classes, splits or networks.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seewhy.errors import UnreadableImageError

# Pillow reads them by itself; formats that run another program or guess from text are left out.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "QOI", "PCX", "SGI"),
    *("SUN", "ICO", "PSD", "DDS"),
)
# Nothing at the beginning of these files tells them: only the suffix does.
BY_SUFFIX = {".tga": "TGA", ".icb": "TGA", ".vda": "TGA", ".vst": "TGA"}
EXIF_ORIENTATION = 0x0112
# What has to be done to the stored rows to see the picture upright, by EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(
    path: Path, max_megapixels: float = 100.0, at_least: int | None = None
) -> NDArray[np.uint8]:
    """Decode one image file.

    The first frame of an animation is taken, EXIF rotation applied, transparency laid on white,
    and 16-bit values scaled to 8 bits (divided by 257, not clipped).

    Parameters
    ----------
    path : Path
        A file of one of `FORMATS`; its content decides, not its suffix.
    max_megapixels : float, default 100
        A larger image is refused before it is decoded.
    at_least : int, optional
        The shorter side that is needed, pixels: a JPEG of more than twice that may come at a half,
        a quarter or an eighth of its size, which is several times as fast.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.

    Raises
    ------
    UnreadableImageError
        With the reason: not an image, too large, empty, cut short or damaged.
    """
    try:
        with _pillow_limit(max_megapixels), _open(path) as image:
            _check_size(image.size, max_megapixels)
            if at_least is not None:
                # JPEG alone heeds this; twice the size needed leaves the last step to `fit_square`.
                image.draft(None, (2 * at_least, 2 * at_least))
            image.load()
            return np.array(_upright(_to_rgb(image), image))
    except UnreadableImageError as error:
        raise UnreadableImageError(error.reason, str(path)) from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(_too_large(max_megapixels), str(path)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(_not_an_image(path), str(path)) from error
    except MemoryError as error:
        raise UnreadableImageError("does not fit the memory", str(path)) from error
    # Over damaged bytes Pillow raises nearly anything: struct.error, SyntaxError, KeyError.
    except Exception as error:
        text = str(getattr(error, "strerror", None) or error or type(error).__name__)
        raise UnreadableImageError(f"cannot be decoded ({text})", str(path)) from error


def fit_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize the shorter side to `size`, antialiased, and keep the square in the middle.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    size : int
        Side of the result, pixels.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
    """
    if image.shape[:2] == (size, size):
        return image
    # Cutting the square out in the same step is resizing the whole and then cropping: the filter
    # still sees the pixels around the square.
    resized = Image.fromarray(image).resize(
        (size, size), Image.Resampling.BICUBIC, box=middle_square(image.shape), reducing_gap=3.0
    )
    return np.array(resized)


def fit_square_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Treat a mask as `fit_square` treats its image, taking the nearest pixel.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
    size : int

    Returns
    -------
    ndarray of bool, shape (size, size)
    """
    if mask.shape == (size, size):
        return mask
    resized = Image.fromarray(mask.astype(np.uint8)).resize(
        (size, size), Image.Resampling.NEAREST, box=middle_square(mask.shape)
    )
    return np.array(resized).astype(bool)


def middle_square(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Box the square in the middle that `fit_square` keeps, on whole pixels.

    Parameters
    ----------
    shape : tuple of int
        Height and width first.

    Returns
    -------
    tuple of int
        Left, top, right and bottom.
    """
    height, width = shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


@cache
def known_formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(path: Path) -> Image.Image:
    return Image.open(path, formats=(*known_formats(), *_by_suffix(path)))


def _by_suffix(path: Path) -> tuple[str, ...]:
    found = BY_SUFFIX.get(path.suffix.lower())
    return (found,) if found else ()


class _Limit:
    """Pillow's own pixel limit is a global; it is lent to us while any of our threads decodes."""

    lock = threading.Lock()
    users = 0
    before: int | None = None
    filters: Any = None


@contextmanager
def _pillow_limit(max_megapixels: float) -> Iterator[None]:
    """Let Pillow refuse what is beyond our limit, without warnings, and give its own limit back."""
    wanted = max(1, int(max_megapixels * 1e6))
    with _Limit.lock:
        if _Limit.users == 0:
            _Limit.before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, wanted
            _Limit.filters = warnings.catch_warnings()
            _Limit.filters.__enter__()
            # Bombs are checked above; warnings over damaged metadata would help nobody.
            warnings.filterwarnings("ignore", module=r"PIL\.")
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or wanted, wanted)
        _Limit.users += 1
    try:
        yield
    finally:
        with _Limit.lock:
            _Limit.users -= 1
            if _Limit.users == 0:
                Image.MAX_IMAGE_PIXELS = _Limit.before
                _Limit.filters.__exit__(None, None, None)


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImageError("has no pixels")
    if width * height > max_megapixels * 1e6:
        raise UnreadableImageError(f"{width}×{height} pixels, {_too_large(max_megapixels)}")


def _too_large(max_megapixels: float) -> str:
    return f"more than {max_megapixels:g} megapixels (data.max_megapixels)"


def _not_an_image(path: Path) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "is an empty file"
    return (
        "is no JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000, PNM or TGA image, or its "
        "beginning is damaged"
    )


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(EXIF_ORIENTATION, 1)
    # A damaged EXIF block says nothing about the pixels, which are here already.
    except Exception:
        orientation = 1
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bit(np.asarray(image), image)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: NDArray[Any], image: Image.Image) -> NDArray[np.uint8]:
    """Scale one channel of 16 or 32 bits, integers or floats, to 0 … 255.

    16-bit modes and all of PNG span 65535. The others do not say what white is: it is taken as the
    smallest of 1 (floats), 255 and 65535 that no value passes, else the values are stretched.
    """
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    whites = [255.0, 65535.0] if image.mode == "I" else [1.0, 255.0, 65535.0]
    if image.mode.startswith("I;16") or image.format == "PNG":
        whites = [65535.0]
    white = next((white for white in whites if high <= white), None)
    if low < 0 or white is None:
        values, white = values - low, max(high - low, 1.0)
    return np.rint(values * 255.0 / white).astype(np.uint8)
