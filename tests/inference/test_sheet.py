"""The sheet: where tiles come to be, and words that are too long."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.inference import sheet
from seewhy.inference.sheet import TILE, SheetSection, SheetTile, draw_sheet, tile_size


def tile(shade: int, title: str = "", note: str = "") -> SheetTile:
    return SheetTile(np.full((40, TILE, 3), shade, dtype=np.uint8), title, note)


def test_tiles_flow_into_rows_below_their_heading() -> None:
    first = SheetSection("", [tile(10 * k) for k in range(1, 8)])
    drawn = np.asarray(draw_sheet("", [first, SheetSection("", [tile(200), tile(210)])]))
    # A row of five, one of two, and a row for the other block.
    lefts = [12 + k * (TILE + 12) for k in range(5)]
    tops = [int(np.flatnonzero(drawn[:, 20, 0] == shade)[0]) for shade in (10, 60, 200)]
    assert tops == sorted(tops)
    for top, shades in zip(tops, ([10, 20, 30, 40, 50], [60, 70], [200, 210]), strict=True):
        for left, shade in zip(lefts, shades, strict=False):
            assert (drawn[top : top + 40, left : left + TILE] == shade).all()
    assert drawn.shape[1] == 5 * (TILE + 12) + 12


@pytest.mark.parametrize(
    ("size", "expected"),
    [((520, 260), (260, 130)), ((100, 50), (100, 50)), ((26000, 10), (260, 1))],
)
def test_a_tile_is_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert tile_size(*size) == expected


def test_words_that_are_too_long_stay_within_their_place() -> None:
    words = "very long words " * 40 + "\nand more"
    drawn = np.asarray(draw_sheet(words, [SheetSection(words, [tile(0, words, words), tile(0)])]))
    inked = (drawn < 200).any(axis=(0, 2))
    assert not inked[-12:].any()
    # The first tile's title ends where its tile does: the gap beside it holds no ink.
    top = sheet._line("title") + 12 + sheet._line("heading")
    assert not (drawn[top : top + 20, 12 + TILE : 12 + TILE + 12] < 200).any()
