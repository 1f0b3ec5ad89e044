"""Outlines of masks: by hand, and by the area they enclose."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.report.figures.outlines import CELLS, UNITS, outline


def _rings(path: str) -> list[NDArray[np.float64]]:
    assert re.fullmatch(r"(M\d+ \d+(L\d+ \d+)+Z)+", path)
    return [
        np.array([corner.split() for corner in part.split("L")], dtype=np.float64)
        for part in path.removeprefix("M").removesuffix("Z").split("ZM")
    ]


def _areas(path: str) -> list[float]:
    """Return each ring's area in units, negative where it runs the other way round: a hole."""
    found = []
    for ring in _rings(path):
        x, y = ring.T
        found.append(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
    return found


def test_one_cell_is_a_diamond_around_its_middle() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[1, 2] = True
    assert outline(mask) == "M160 64L192 96L160 128L128 96Z"


def test_cells_that_meet_at_a_corner_are_all_there() -> None:
    assert sorted(_areas(outline(np.eye(4, dtype=bool)) or "")) == [32 * 64] * 4


def test_both_sides_of_a_mask_that_is_not_square_span_the_picture() -> None:
    mask = np.zeros((4, 8), dtype=bool)
    mask[1, 2] = True
    # Half as wide as in a square of four: its column is at 2/8 … 3/8, its row at 1/4 … 2/4.
    assert outline(mask) == "M80 64L96 96L80 128L64 96Z"
    wide = np.ones((64, 3 * CELLS), dtype=bool)
    (area,) = _areas(outline(wide) or "")
    assert area == pytest.approx(UNITS**2, rel=0.01)


def test_a_hole_has_its_own_line() -> None:
    mask = np.ones((8, 8), dtype=bool)
    mask[3:5, 3:5] = False
    whole, hole = _areas(outline(mask) or "")
    # Each corner loses an eighth of a cell; each of the hole too.
    cell = (UNITS / 8) ** 2
    assert (whole, hole) == pytest.approx((63.5 * cell, -3.5 * cell))


@pytest.mark.parametrize("size", [48, 224])
def test_a_disc_encloses_its_own_area(size: int) -> None:
    rows, columns = np.mgrid[:size, :size] / size
    mask = (rows - 0.4) ** 2 + (columns - 0.5) ** 2 < 0.3**2
    path = outline(mask) or ""
    (area,) = _areas(path)
    assert area == pytest.approx(np.pi * 0.3**2 * UNITS**2, rel=0.03)
    assert len(path) < 700


def test_a_thin_line_of_a_large_mask_stays() -> None:
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[501, 100:900] = True
    (ring,) = _rings(outline(mask) or "")
    assert np.ptp(ring[:, 1]) == pytest.approx(UNITS / CELLS, abs=1)
    assert (ring[:, 0].min(), ring[:, 0].max()) == pytest.approx((0.1 * UNITS, 0.9 * UNITS), abs=2)


def test_an_empty_mask_has_none() -> None:
    assert outline(np.zeros((300, 300), dtype=bool)) is None
