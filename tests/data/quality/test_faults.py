"""Faults, each at its limit, and sets that are faulty as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seewhy.data.decoding.fit import Fit
from seewhy.data.quality.faults import find_faults
from seewhy.data.quality.measurements import ImageMeasurements
from seewhy.storage.schemas.data_checks import Fault

GOOD = np.tile(np.array([60, 160], dtype=np.uint8), (32, 16))


def measures(count: int) -> ImageMeasurements:
    return ImageMeasurements(
        digests=np.array([str(i) for i in range(count)], dtype="S32"),
        thumbs=np.tile(GOOD, (count, 1, 1)),
        sharpness=np.full(count, 0.25),
    )


def found(measured: ImageMeasurements, sizes: np.ndarray | None = None) -> dict[Fault, list[int]]:
    count = len(measured.thumbs)
    sizes = np.tile([300, 400], (count, 1)) if sizes is None else sizes
    return {one.fault: one.indices.tolist() for one in find_faults(measured, sizes, Fit(224))}


def test_a_sound_set_has_no_faults() -> None:
    assert list(found(measures(5))) == ["odd-shaped", "small", "blank", "dark", "blurred"]
    assert not any(found(measures(5)).values())
    assert not any(found(measures(0), np.empty((0, 2), dtype=int)).values())


def test_blank_dark_and_blurred_at_their_limits() -> None:
    measured = measures(20)
    thumbs, sharpness = measured.thumbs, measured.sharpness.copy()
    thumbs[3] = np.tile([100, 105], (32, 16))  # deviates by 2.5
    thumbs[4] = np.tile([100, 107], (32, 16))  # by 3.5
    thumbs[5] = np.tile([0, 39], (32, 16))
    thumbs[6] = np.tile([0, 41], (32, 16))
    thumbs[7] = 0
    sharpness[[3, 8, 9, 10]] = 0.07, 0.084, 0.066, 0.086
    assert found(replace(measured, thumbs=thumbs, sharpness=sharpness)) == {
        "odd-shaped": [],
        "small": [],
        "blank": [7, 3],
        "dark": [5],
        "blurred": [9, 8],
    }


def test_what_all_images_have_is_no_fault() -> None:
    enlarged = replace(measures(9), sharpness=np.linspace(0.07, 0.08, 9))
    assert found(enlarged)["blurred"] == []
    assert found(measures(9), np.tile([32, 40], (9, 1)))["small"] == []


def test_odd_shapes_and_sizes() -> None:
    sizes = np.tile([300, 400], (9, 1))
    sizes[2], sizes[3], sizes[4], sizes[5] = (300, 901), (300, 899), (2000, 300), (100, 111)
    sizes[6] = 113, 113
    assert found(measures(9), sizes) == {
        "odd-shaped": [4, 2],
        "small": [5],
        "blank": [],
        "dark": [],
        "blurred": [],
    }


def test_a_large_picture_among_larger_ones_is_not_small() -> None:
    sizes = np.tile([4000, 5000], (9, 1))
    sizes[0] = 150, 150
    assert found(measures(9), sizes)["small"] == []
    sizes[0] = 111, 150
    assert found(measures(9), sizes)["small"] == [0]


def test_the_worst_is_said_in_words() -> None:
    measured = measures(9)
    measured.thumbs[1] = np.tile([0, 12], (32, 16))
    dark = next(
        one for one in find_faults(measured, np.full((9, 2), 300), Fit(224)) if one.fault == "dark"
    )
    assert dark.say(float(dark.values[0])) == "dark: 99 % of it are darker than 12 of 255"
