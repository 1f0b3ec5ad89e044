"""Images that something is wrong with on the face of it: odd-sized, blank, dark or blurred.

Pure functions of what ``measurements.py`` measured and of the sizes that were decoded. It knows no
labels, splits or files. The limits stand well away from what real pictures have: among 12,000
images of CIFAR-10 and 120 photographs none is named (see docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.data.decoding.fit import Fit
from seewhy.data.quality.measurements import THUMB, ImageMeasurements
from seewhy.storage.schemas.data_checks import Fault
from seewhy.storage.schemas.input_size import sides

# Brightness, of 255.
BLANK_DEVIATION = 3.0
DARK_PERCENTILE, DARK_LEVEL = 99, 40.0
# Half-way from a ramp's 1/16 to the softest photograph; see `measurements.sharpness`.
BLUR_SHARPNESS = 0.085
LONG_SIDE = 3.0
# What an odd shape leads to, by `input.resize`.
CONSEQUENCES = {
    "crop": "only its middle is used",
    "pad": "the rest of the input is padding",
    "squash": "its proportions are changed",
}


@dataclass(frozen=True)
class FaultyImages:
    """All images with one fault."""

    fault: Fault
    rule: str  # what counts as the fault, a sentence
    indices: NDArray[np.int64]  # (F,): the worst first
    values: NDArray[np.float64]  # (F,): what was measured of each
    say: Callable[[float], str]  # ``say(value)`` puts one value into words


def find_faults(
    measures: ImageMeasurements, sizes: NDArray[np.int64], fit: Fit
) -> tuple[FaultyImages, ...]:
    """Name the images that are odd-sized (in shape, or too small), blank, dark or blurred.

    A blank image is not called dark or blurred too. What all images have is no fault: small is
    what is small among them, blurred what is much softer than most, so a set of enlarged pictures
    is not named whole.

    Parameters
    ----------
    measures : ImageMeasurements
        Of N images.
    sizes : ndarray of int64, (N, 2)
        Height and width as decoded, before they were fitted, pixels.
    fit : Fit
        What brought them to the working size.

    Returns
    -------
    tuple of FaultyImages
        One a fault, in the order of `FaultyImages.fault`, also where no image has it.
    """
    thumbs = measures.thumbs.reshape(-1, THUMB * THUMB)
    deviation = thumbs.std(axis=1)
    brightest = np.percentile(thumbs, DARK_PERCENTILE, axis=1) if len(thumbs) else deviation
    blank = deviation < BLANK_DEVIATION
    sharp = measures.sharpness
    usual = np.median(sharp) if len(sharp) else 0.0
    blurred = ~blank & (sharp > 0) & (sharp < min(BLUR_SHARPNESS, usual / 2))
    return (
        *_odd_sized(sizes, fit),
        _named(
            "blank",
            f"brightness deviates by less than {BLANK_DEVIATION:g} of 255",
            blank,
            deviation,
            lambda value: f"blank: its brightness deviates by {value:.1f} of 255",
        ),
        _named(
            "dark",
            f"{DARK_PERCENTILE:g} % of the image are darker than {DARK_LEVEL:g} of 255",
            ~blank & (brightest < DARK_LEVEL),
            brightest,
            lambda value: f"dark: {DARK_PERCENTILE:g} % of it are darker than {value:.0f} of 255",
        ),
        _named(
            "blurred",
            f"sharpness is below {BLUR_SHARPNESS:g} (a smooth ramp has 0.0625, a photograph about "
            "0.25) and below half of the set's median",
            blurred,
            sharp,
            lambda value: f"blurred: its sharpness is {value:.3f}, the median {usual:.3f}",
        ),
    )


def _odd_sized(sizes: NDArray[np.int64], fit: Fit) -> tuple[FaultyImages, FaultyImages]:
    working_size = min(sides(fit.size))
    # JPEGs may have been decoded at a part of their size, but never below twice the working size.
    shorter = np.minimum(sizes.min(axis=1), 2 * working_size).astype(np.float64)
    usual = float(np.median(shorter)) if len(shorter) else 0.0
    shape = sizes.min(axis=1) / sizes.max(axis=1)
    return (
        _named(
            "odd-shaped",
            f"one side is more than {LONG_SIDE:g} times the other",
            shape < 1 / LONG_SIDE,
            shape,
            lambda value: (
                f"odd-shaped: one side is {1 / value:.1f} times the other, and "
                f"{CONSEQUENCES[fit.mode]}"
            ),
        ),
        _named(
            "small",
            "the shorter side is less than half of the working size, and of what is usual here",
            shorter < min(working_size, usual) / 2,
            shorter,
            lambda value: (
                f"small: its shorter side has {value:.0f} pixels, enlarged to {working_size}"
            ),
        ),
    )


def _named(
    fault: Fault,
    rule: str,
    has_it: NDArray[np.bool_],
    values: NDArray[np.float64],
    say: Callable[[float], str],
) -> FaultyImages:
    """Collect the images that have a fault; the lowest values are the worst."""
    indices = np.flatnonzero(has_it)
    indices = indices[np.argsort(values[indices], kind="stable")]
    return FaultyImages(fault, rule, indices, values[indices], say)
