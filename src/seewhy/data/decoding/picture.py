"""One image file, whatever its format and mode, as 8-bit RGB.

Size is checked in the header before anything is decoded, so a decompression bomb costs nothing.
This module knows files and arrays, not classes, splits or networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.data.decoding.dicom import frame_size, is_dicom
from seewhy.data.decoding.formats import HEAD, may_be_deep, open_picture, quietly
from seewhy.data.decoding.high_bit_depth import ValueFormat, deep_to_rgb, span_of, storage_of
from seewhy.data.decoding.value_levels import ValueRange
from seewhy.errors import UnreadableImageError
from seewhy.storage.schemas.levels import NO_LEVELS, Levels

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
    source: Path | Image.Image,
    max_megapixels: float = 100.0,
    at_least: int | None = None,
    levels: Levels = NO_LEVELS,
) -> NDArray[np.uint8]:
    """Decode one image.

    The first frame of an animation is taken, EXIF rotation applied, transparency laid on white,
    and values of more than 8 bits scaled to 8.

    Parameters
    ----------
    source : Path or Image
        A file of one of `seewhy.data.decoding.formats.FORMATS` (its content decides, not its
        suffix), or an image that Pillow has opened, or made.
    max_megapixels : float, default 100
        A larger image is refused before it is decoded.
    at_least : int, optional
        The shorter side that is needed, pixels: a JPEG of more than twice that may come at a half,
        a quarter or an eighth of its size, which is several times as fast.
    levels : Levels, optional
        What is black and white in images of more than 8 bits a value; an image of a kind that is
        not in it is judged by its own values.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.

    Raises
    ------
    UnreadableImageError
        With the reason: not an image, too large, empty, cut short or damaged.
    """
    with _opened(source, max_megapixels) as (image, storage):
        if at_least is not None:
            # JPEG alone heeds this; twice the size needed leaves the last step to `fit.Fit`.
            image.draft(None, (2 * at_least, 2 * at_least))
        image.load()
        return np.array(_upright(_to_rgb(image, storage, levels), image))


def is_deep(path: Path) -> bool:
    """Tell by its first bytes whether a file can be read and may have more than 8 bits a value."""
    try:
        with path.open("rb") as stream:
            return may_be_deep(stream.read(HEAD))
    except OSError:
        return False


def picture_size(path: Path, max_megapixels: float = 100.0) -> tuple[int, int]:
    """Return width and height of an image as it is shown, from its header.

    Raises UnreadableImageError where it cannot be read.
    """
    with _named_errors(str(path), max_megapixels), quietly(max_megapixels):
        with path.open("rb") as stream:
            if is_dicom(stream.read(HEAD)):
                return frame_size(path)
        with open_picture(path) as image:
            turned = image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size


def measure_image(source: Path | Image.Image, max_megapixels: float = 100.0) -> ValueRange | None:
    """Return the range of an image's values; None for 8 bits and where it cannot be decoded."""
    try:
        with _opened(source, max_megapixels) as (image, storage):
            if storage is None:
                return None
            image.load()
            return span_of(image, storage)
    except UnreadableImageError:
        return None


@contextmanager
def _opened(
    source: Path | Image.Image, max_megapixels: float
) -> Iterator[tuple[Image.Image, ValueFormat | None]]:
    """Open an image file, or take an open image; what goes wrong becomes an error that names it."""
    name = str(source) if isinstance(source, Path) else "the image"
    with _named_errors(name, max_megapixels), quietly(max_megapixels):
        opened: AbstractContextManager[Image.Image]
        opened = open_picture(source) if isinstance(source, Path) else nullcontext(source)
        with opened as image:
            _check_size(image.size, max_megapixels)
            yield image, storage_of(image)


@contextmanager
def _named_errors(name: str, max_megapixels: float) -> Iterator[None]:
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(error.reason, name) from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(_too_large(max_megapixels), name) from error
    except MemoryError as error:
        raise UnreadableImageError("does not fit the memory", name) from error
    # Over damaged bytes Pillow raises nearly anything: struct.error, SyntaxError, KeyError.
    except Exception as error:
        text = str(getattr(error, "strerror", None) or error or type(error).__name__)
        text = " ".join(text.split())  # libheif's messages end with a new line
        raise UnreadableImageError(f"cannot be decoded ({text})", name) from error


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImageError("has no pixels")
    if width * height > max_megapixels * 1e6:
        raise UnreadableImageError(f"{width}×{height} pixels, {_too_large(max_megapixels)}")


def _too_large(max_megapixels: float) -> str:
    return f"more than {max_megapixels:g} megapixels (data.max_megapixels)"


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(EXIF_ORIENTATION, 1)
    # A damaged EXIF block says nothing about the pixels, which are here already.
    except Exception:
        orientation = 1
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(image: Image.Image, storage: ValueFormat | None, levels: Levels) -> Image.Image:
    transparent = "transparency" in image.info
    if storage is not None:
        image = deep_to_rgb(image, storage, levels)
    if transparent or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
