"""Which picture formats are read, and how a file of one is opened without output on any stream.

Pillow reads them, and pillow-heif where it is installed. Formats that run another program or
guess from plain text are left out. This module knows files and libraries, no pixels.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, TiffImagePlugin, UnidentifiedImageError, _imaging

from seewhy.data.decoding.dicom import is_dicom, open_dicom
from seewhy.errors import UnreadableImageError

# Tried in this order: the content decides, not the suffix.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "AVIF",
    "GIF",
    "BMP",
    "TIFF",
    "JPEG2000",
    "PPM",
    "QOI",
    "PCX",
    "SGI",
    "SUN",
    "ICO",
    "PSD",
    "DDS",
)
# Formats without a mark of their own at the beginning: only the suffix tells them.
BY_SUFFIX = {".tga": "TGA", ".icb": "TGA", ".vda": "TGA", ".vst": "TGA"}
NAMES = "JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP, TIFF, JPEG 2000, PNM, TGA or DICOM"
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
HEAD = 132
_MODULES = r"(PIL|pillow_heif|pydicom|seewhy\.data)\."
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# TIFF tags: what the channels mean (with 0, 0 is white), how many there are, what the others are.
PHOTOMETRIC, SAMPLES, EXTRA = 262, 277, 338
# Channels that show a picture, by its photometric interpretation: grey, colours, a palette, inks.
_SHOWN = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
_TRANSPARENCY = (1, 2)


def open_picture(path: Path) -> Image.Image:
    """Open a picture file; call it within `quietly`. DICOM files alone are decoded here.

    Raises UnreadableImageError for a HEIC or DICOM file without the package that reads it, for a
    TIFF with channels that are neither colours nor transparency, and for what is no picture.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head:
        raise UnreadableImageError("is an empty file")
    if is_heif(head):
        return _open_heif(path)
    if is_dicom(head):
        return open_dicom(path, Image.MAX_IMAGE_PIXELS)
    if head.startswith(_TIFF):
        _check_channels(path)
    formats = [*known_formats(), *filter(None, [BY_SUFFIX.get(path.suffix.lower())])]
    try:
        return Image.open(path, formats=formats)
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"is no {NAMES} image, or its beginning is damaged") from error


def _check_channels(path: Path) -> None:
    """Refuse a TIFF whose channels are not all shown: Pillow reads the first, or none at all."""
    tags: Any = {}
    # A damaged directory is for Pillow to name.
    with suppress(Exception), path.open("rb") as stream:
        head = stream.read(8)
        if head[2] == 43:  # BigTIFF has longer offsets
            head += stream.read(8)
        found = TiffImagePlugin.ImageFileDirectory_v2(head)
        stream.seek(found.next)
        found.load(stream)
        tags = {tag: found[tag] for tag in (PHOTOMETRIC, SAMPLES, EXTRA) if tag in found}
    extra = tags.get(EXTRA, ())
    channels = int(tags.get(SAMPLES, 1))
    unseen = channels - sum(one in _TRANSPARENCY for one in extra)
    if unseen > _SHOWN.get(tags.get(PHOTOMETRIC, -1), channels):
        raise UnreadableImageError(
            f"has {channels} channels; expected grey, three colours or four inks, and transparency"
        )


def may_be_deep(head: bytes) -> bool:
    """Tell by a file's first bytes whether it may have more than 8 bits a value."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return len(head) > 24 and head[24] == 16
    # JPEG, GIF, BMP, WebP; HEIF and AVIF come as 8 bits.
    shallow = (b"\xff\xd8", b"GIF8", b"BM", b"RIFF")
    return not head.startswith(shallow) and head[4:8] != b"ftyp"


def is_heif(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a HEIC picture."""
    if head[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, length, 4))}
    return bool(brands & HEIF_BRANDS) and not brands & AVIF_BRANDS


def _open_heif(path: Path) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnreadableImageError(
            "is a HEIC picture, which an optional package reads: pip install 'seewhy[heic]'"
        ) from error
    # Not registered with Pillow: what other code of this process opens stays as it was.
    opener: Any = HeifImageFile
    opened: Image.Image = opener(path)
    return opened


@cache
def known_formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


class _BorrowedGlobals:
    """Global settings of Pillow and its libraries, changed while any of our threads decodes."""

    lock = threading.Lock()
    users = 0
    limit: int | None = None
    filters: Any = None
    handlers: tuple[int | None, int | None] = (None, None)


@contextmanager
def quietly(max_megapixels: float) -> Iterator[None]:
    """Let Pillow refuse what is beyond our limit, and nobody print or warn; give all of it back."""
    wanted = max(1, int(max_megapixels * 1e6))
    with _BorrowedGlobals.lock:
        if _BorrowedGlobals.users == 0:
            _BorrowedGlobals.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, wanted
            _BorrowedGlobals.filters = warnings.catch_warnings()
            _BorrowedGlobals.filters.__enter__()
            # Bombs are checked by us; warnings over damaged metadata would help nobody.
            warnings.filterwarnings("ignore", module=_MODULES)
            _BorrowedGlobals.handlers = _libtiff_handlers(None, None)
            _silence_log()
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or wanted, wanted)
        _BorrowedGlobals.users += 1
    try:
        yield
    finally:
        with _BorrowedGlobals.lock:
            _BorrowedGlobals.users -= 1
            if _BorrowedGlobals.users == 0:
                Image.MAX_IMAGE_PIXELS = _BorrowedGlobals.limit
                _BorrowedGlobals.filters.__exit__(None, None, None)
                _libtiff_handlers(*_BorrowedGlobals.handlers)


@cache
def _silence_log() -> None:
    """Keep Pillow's log records from standard error, where logging puts those nobody asked for."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())


def _libtiff_handlers(error: int | None, warning: int | None) -> tuple[int | None, int | None]:
    """Set libtiff's global handlers, which print on standard error; return those before.

    Pillow has no way to do so. Where its library cannot be reached they stay.
    """
    found: list[int | None] = []
    for name, handler in (("TIFFSetErrorHandler", error), ("TIFFSetWarningHandler", warning)):
        function = _libtiff(name)
        found.append(function(handler) if function else None)
    return found[0], found[1]


@cache
def _libtiff(name: str) -> Any:
    with suppress(OSError, AttributeError):
        # Looked up through Pillow's own module, so that it is the library Pillow uses.
        function = getattr(ctypes.CDLL(_imaging.__file__), name)
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
        return function
    return None
