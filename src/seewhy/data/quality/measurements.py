"""What each decoded image looks like, in one pass: its digest, a thumbnail, its sharpness.

It measures and does not judge: what is too dark or too alike is decided in ``faults.py`` and
``duplicates.py``. It knows no labels, splits or files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.data.decoding.fit import Box
from seewhy.runtime.progress import Progress

THUMB = 32
FAR = 4
BLOCK = 32


@dataclass(frozen=True)
class ImageMeasurements:
    """What `measure_images` finds, one row an image."""

    # (N,): the first half of the pixels' SHA-256, hexadecimal: equal digests, equal images.
    digests: NDArray[np.bytes_]
    thumbs: NDArray[np.uint8]  # (N, 32, 32): brightness (ITU-R 601 luma), averaged down to 32 × 32
    sharpness: NDArray[np.float64]  # (N,): see `sharpness`


def measure_images(
    pixels: NDArray[np.uint8],
    progress: Progress,
    filled: Callable[[int], Box] | None = None,
) -> ImageMeasurements:
    """Measure every RGB image (N, H, W, 3) once, in threads; they may be memory-mapped.

    ``filled(index)`` is the part that is no padding, default all of it; brightness and sharpness
    are measured there.
    """
    count = len(pixels)
    found = ImageMeasurements(
        digests=np.empty(count, dtype="S32"),
        thumbs=np.empty((count, THUMB, THUMB), dtype=np.uint8),
        sharpness=np.empty(count, dtype=np.float64),
    )

    def work(start: int) -> int:
        stop = min(start + BLOCK, count)
        for index in range(start, stop):
            image = np.ascontiguousarray(pixels[index])
            grey = Image.fromarray(image).convert("L")
            if filled is not None:
                grey = grey.crop(filled(index))
            thumb = grey.resize((THUMB, THUMB), Image.Resampling.BILINEAR)
            found.digests[index] = hashlib.sha256(image.data).hexdigest()[:32]
            found.thumbs[index] = np.asarray(thumb)
            found.sharpness[index] = sharpness(np.asarray(grey))
        return stop - start

    with (
        progress.task("check images", count) as advance,
        ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix="check") as pool,
    ):
        for done in pool.map(work, range(0, count, BLOCK)):
            advance(done)
    return found


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Compare how far neighbouring pixels differ with how far pixels four apart do.

    The mean squared difference at distance 1 over that at distance 4, both along rows and
    columns. Where an image is smooth on the scale of a few pixels, the difference grows with the
    distance, and the ratio is 1/16: a blurred image comes near to that, whatever it shows. A sharp
    edge has 1/4, and so have photographs, whose spectra fall with the square of the frequency
    (Field, 1987, doi:10.1364/JOSAA.4.002379); noise has 1. 0 where nothing differs.
    """
    values = grey.astype(np.float32)
    near = _difference(values, 1)
    far = _difference(values, FAR)
    return near / far if far else 0.0


def _difference(values: NDArray[np.float32], distance: int) -> float:
    """Return the mean squared difference over `distance` rows, plus that over columns."""
    total = 0.0
    for change in (
        values[distance:] - values[:-distance],
        values[:, distance:] - values[:, :-distance],
    ):
        total += float(np.vdot(change, change)) / max(change.size, 1)
    return total
