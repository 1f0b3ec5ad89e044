"""A comparison sheet: one picture with several maps side by side, and what each of them is.

Pictures and words in, one picture out; knows no maps, classifiers or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 5
TILE = 260
_GAP = 12
_LONGEST = 300
_SIZES = {"title": 18, "heading": 15, "tile": 13}
_INK, _PALE = (30, 30, 30), (120, 120, 120)


@dataclass(frozen=True)
class SheetTile:
    """One picture of a sheet."""

    # (h, w, 3): not larger than `TILE` in either direction, see `tile_size`.
    picture: NDArray[np.uint8]
    title: str  # stands above it
    note: str = ""  # stands below it


@dataclass(frozen=True)
class SheetSection:
    """Tiles that belong together, below a heading."""

    heading: str
    tiles: Sequence[SheetTile]


def tile_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height of a tile for a picture of this size, never enlarged."""
    share = min(1.0, TILE / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def draw_sheet(title: str, blocks: Sequence[SheetSection]) -> Image.Image:
    """Draw a sheet, RGB: a title, and blocks below each other.

    A block's tiles flow into rows of `COLUMNS`. Words that are too long for their place end in an
    ellipsis.
    """
    tiles = [tile for block in blocks for tile in block.tiles]
    wide = max(TILE, max(tile.picture.shape[1] for tile in tiles))
    tall = max(tile.picture.shape[0] for tile in tiles)
    lines = 2 if any(tile.note for tile in tiles) else 1
    step = tall + lines * _line("tile") + _GAP
    columns = min(COLUMNS, max(len(block.tiles) for block in blocks))
    rows = [-(-len(block.tiles) // columns) for block in blocks]
    width = _GAP + columns * (wide + _GAP)
    height = 2 * _GAP + _line("title") + sum(_line("heading") + n * step for n in rows)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, _GAP), title, "title", width - 2 * _GAP)
    top = _GAP + _line("title")
    for block, count in zip(blocks, rows, strict=True):
        _write(draw, (_GAP, top), block.heading, "heading", width - 2 * _GAP)
        top += _line("heading")
        for number, tile in enumerate(block.tiles):
            left = _GAP + number % columns * (wide + _GAP)
            above = top + number // columns * step
            _write(draw, (left, above), tile.title, "tile", wide)
            sheet.paste(Image.fromarray(tile.picture), (left, above + _line("tile")))
            below = above + _line("tile") + tile.picture.shape[0]
            _write(draw, (left, below), tile.note, "tile", wide, _PALE)
        top += count * step
    return sheet


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    words: str,
    kind: str,
    room: int,
    ink: tuple[int, int, int] = _INK,
) -> None:
    font = _font(_SIZES[kind])
    shown = words = " ".join(words.split())[:_LONGEST]
    while shown and font.getlength(shown if shown == words else f"{shown}…") > room:
        shown = shown[:-1]
    draw.text(place, shown if shown == words else f"{shown}…", fill=ink, font=font)


def _line(kind: str) -> int:
    """Return the height of a line of words, pixels."""
    return round(_SIZES[kind] * 1.6)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)
