"""DICOM files, as hospitals store pictures: values, the window they are looked at with, colours.

The optional package pydicom reads them. The first frame is taken. Grey values become what the
device measured (the modality's slope and intercept applied); how they are shown is the file's own
window, which `seewhy.data.decoding.high_bit_depth` applies, or `data.black` and `data.white`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.errors import UnreadableImageError

FORMAT = "DICOM"
SUFFIXES = (".dcm", ".dicom")
# A preamble of 128 bytes, then four letters.
PREAMBLE, MARK = 128, b"DICM"
WINDOW = "seewhy-window"
INVERTED = "seewhy-inverted"
GREY = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True)
class Window:
    """The values that a file's author wants to see, and how brightness rises among them.

    References
    ----------
    DICOM PS3.3, C.11.2: LINEAR (the default), LINEAR_EXACT, SIGMOID.
    """

    centre: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"

    def to_8_bit(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Show values (H, W) as 0 … 255.

        Examples
        --------
        >>> import numpy as np
        >>> Window(40, 401).to_8_bit(np.array([[-160, 40, 240]]))
        array([[  0, 128, 255]], dtype=uint8)
        """
        values = values.astype(np.float64)
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                shares = 1 / (1 + np.exp(-4 * (values - self.centre) / self.width))
        elif self.function == "LINEAR_EXACT":
            shares = (values - self.centre) / self.width + 0.5
        elif self.width <= 1:
            shares = (values > self.centre - 0.5).astype(np.float64)
        else:
            shares = (values - (self.centre - 0.5)) / (self.width - 1) + 0.5
        shown: NDArray[np.uint8] = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
        return shown


@dataclass(frozen=True)
class GreyTable:
    """A file's own table of grey levels (VOI LUT), which goes before a window.

    `header` is pydicom's data set.
    """

    header: Any

    def to_8_bit(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Show values (H, W) as 0 … 255."""
        from pydicom.pixels.processing import apply_voi

        most = 2 ** int(self.header.VOILUTSequence[0].LUTDescriptor[2]) - 1
        levels = apply_voi(np.rint(values).astype(np.int64), self.header)
        shown: NDArray[np.uint8] = np.rint(np.clip(255 * (levels / most), 0, 255)).astype(np.uint8)
        return shown


def is_dicom(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a DICOM file."""
    return head[PREAMBLE : PREAMBLE + len(MARK)] == MARK


def frame_size(path: Path) -> tuple[int, int]:
    """Return width and height of a DICOM file's frames, from its header; (0, 0) without any."""
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    return int(header.get("Columns") or 0), int(header.get("Rows") or 0)


def open_dicom(path: Path, most_pixels: int | None) -> Image.Image:
    """Read a DICOM file's first frame.

    Parameters
    ----------
    path : Path
    most_pixels : int or None
        A larger frame is refused before it is decoded.

    Returns
    -------
    Image
        Of mode ``RGB`` where the file has colours; else of mode ``F`` with the measured values, its
        window or table and whether 0 is white in ``info``.

    Raises
    ------
    UnreadableImageError
        Without pydicom, and for a file without a picture or with more than three channels.
    """
    try:
        import pydicom
        from pydicom.pixels.utils import pixel_array
    except ImportError as error:
        raise UnreadableImageError(
            "is a DICOM picture, which an optional package reads: pip install 'seewhy[dicom]'"
        ) from error
    header = pydicom.dcmread(path, stop_before_pixels=True)
    _check(header, most_pixels)
    image = _shown(header, pixel_array(path, index=0))
    image.format = FORMAT
    return image


def _check(header: Any, most_pixels: int | None) -> None:
    """Refuse what cannot be shown before its pixels are read."""
    rows, columns = header.get("Rows"), header.get("Columns")
    if not rows or not columns:
        raise UnreadableImageError("is a DICOM file without a picture")
    if most_pixels is not None and rows * columns > most_pixels:
        raise Image.DecompressionBombError
    channels = int(header.get("SamplesPerPixel", 1))
    if channels not in (1, 3):
        raise UnreadableImageError(f"has {channels} channels; expected 1 (grey) or 3 (colour)")


def _shown(header: Any, values: NDArray[Any]) -> Image.Image:
    """Return a frame as colours, or as measured grey values with their window."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    kind = str(header.get("PhotometricInterpretation", ""))
    bits = int(header.get("BitsStored", 8))
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, header)
        bits = 8 * values.dtype.itemsize
    if values.ndim == 3:
        eight = values if bits <= 8 else np.rint(values / (2**bits - 1) * 255)
        return Image.fromarray(eight.astype(np.uint8))
    if kind not in GREY:
        raise UnreadableImageError(f"has values of a kind that is not read ({kind or 'unnamed'})")
    measured = apply_modality_lut(values, header)
    image = Image.fromarray(measured.astype(np.float32))
    image.info[INVERTED] = kind == "MONOCHROME1"
    image.info[WINDOW] = GreyTable(header) if header.get("VOILUTSequence") else _window(header)
    return image


def _window(header: Any) -> Window | None:
    """Return the first of a file's windows; None where it has none that can be used."""
    centre, width = (_first(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or not math.isfinite(centre) or not 0 < width < math.inf:
        return None
    function = str(header.get("VOILUTFunction", "LINEAR")).upper()
    if function == "SIGMOID":
        return Window(centre, width, "SIGMOID")
    return Window(centre, width, "LINEAR_EXACT" if function == "LINEAR_EXACT" else "LINEAR")


def _first(value: Any) -> float | None:
    """Return the first of several numbers, or a number itself."""
    if value is None or value == "":
        return None
    several = not isinstance(value, (int, float, str)) and hasattr(value, "__len__")
    if several and not len(value):
        return None
    return float(value[0] if several else value)
