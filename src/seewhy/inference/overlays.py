"""The files about one picture: maps, overlays at its own size, a sheet of them all.

Knows what was found out, not how; nothing of classifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.data.decoding.fit import Fit
from seewhy.data.decoding.picture import decode_image
from seewhy.explanation.explain import Explanation
from seewhy.explanation.methods.registry import Method
from seewhy.explanation.overlay import overlay_within
from seewhy.inference.manifest import Picture, PictureMap
from seewhy.inference.picture_names import PictureFile, UniqueNames, slug
from seewhy.inference.sheet import SheetSection, SheetTile, draw_sheet, tile_size
from seewhy.storage.atomic_writing import writing
from seewhy.storage.schemas.levels import NO_LEVELS, Levels

# A picture's overlays are reduced to this side, pixels, where it is larger.
LARGEST_SIDE = 4096
# PNG's quickest setting.
_COMPRESSION = 1


@dataclass(frozen=True)
class OverlayWriter:
    """Draws pictures into one folder."""

    folder: Path
    classes: tuple[str, ...]  # names of the classifier's outputs; empty where it has none
    # Whether a picture has several maps: then their names say which is which, and a sheet
    # shows them side by side.
    many: bool
    rather_than: str  # what the explained classes are held against, for people; empty for nothing
    opacity: float
    max_megapixels: float  # larger pictures are not decoded
    fit: Fit  # what brought the pictures to the classifier's input
    levels: Levels = NO_LEVELS  # what is black and white in pictures of more than 8 bits a value
    names: UniqueNames = field(default_factory=UniqueNames)

    def draw(
        self, found: PictureFile, explanations: Sequence[tuple[Method, Explanation]], row: int
    ) -> Picture:
        """Write the files of one picture: image `row` of a batch explained by every method.

        Raises UnreadableImageError where the file can no longer be decoded, RunError where the
        folder cannot be written.
        """
        whole = decode_image(found.path, self.max_megapixels, levels=self.levels)
        shown = _bounded(whole)
        kept, within = self.fit.place(shown.shape).kept, self.fit.shares_filled(whole.shape)
        picture = _Shown(shown, kept, within, _tile(shown))
        first = explanations[0][1]
        drawn = [
            [
                self._draw_map(found, picture, method, answer, row, k)
                for method, answer in explanations
            ]
            for k in range(first.classes.shape[1])
        ]
        sheet = self._draw_sheet(found, picture, drawn) if self.many else None
        best = int(first.predicted[row]) if self.classes else None
        return Picture(
            path=found.shown,
            size=(whole.shape[1], whole.shape[0]),
            square=self.fit.place(whole.shape).kept,
            within=within,
            overlay_size=(shown.shape[1], shown.shape[0]),
            predicted=None if best is None else self.classes[best],
            probability=None if best is None else float(first.probabilities[row, best]),
            sheet=sheet,
            maps=tuple(one.record for column in drawn for one in column),
        )

    def _draw_map(
        self,
        found: PictureFile,
        picture: _Shown,
        method: Method,
        answer: Explanation,
        row: int,
        column: int,
    ) -> _Drawn:
        index = int(answer.classes[row, column]) if self.classes else None
        explained = None if index is None else self.classes[index]
        which = ""
        if self.many:
            which = "".join(f"-{slug(word)}" for word in (explained, method.name) if word)
        map_ = answer.maps[row, column].cpu().numpy()
        laid = overlay_within(
            picture.pixels, map_, picture.square, self.opacity, within=picture.within
        )
        overlay = self._write_png(f"{found.place}-overlay{which}", Image.fromarray(laid))
        name = self.names.free(f"{found.place}-map{which}", ".npy")
        with writing(self.folder / name) as part, part.open("wb") as stream:
            np.save(stream, map_)
        record = PictureMap(
            explained=explained,
            index=index,
            probability=None if index is None else float(answer.probabilities[row, index]),
            method=method.name,
            layer=answer.layer,
            map=name,
            overlay=overlay,
            empty=bool(answer.empty[row, column]),
        )
        return _Drawn(record, method.title, _tile(laid))

    def _draw_sheet(self, found: PictureFile, picture: _Shown, drawn: list[list[_Drawn]]) -> str:
        """Write the picture beside its maps: a block per class, or all classes of one method."""
        plain = SheetTile(picture.tile, "the picture")
        blocks = [
            SheetSection(
                self._heading(column[0].record), [plain, *(one.tile(one.method) for one in column)]
            )
            for column in drawn
        ]
        if len(drawn[0]) == 1:
            tiles = [column[0].tile(self._heading(column[0].record)) for column in drawn]
            blocks = [SheetSection(drawn[0][0].method, [plain, *tiles])]
        return self._write_png(f"{found.place}-sheet", draw_sheet(found.shown, blocks))

    def _heading(self, record: PictureMap) -> str:
        if record.explained is None or record.probability is None:
            return "no class"
        rather = f" rather than {self.rather_than}" if self.rather_than else ""
        return f"{record.probability:.3f} {record.explained}{rather}"

    def _write_png(self, name: str, image: Image.Image) -> str:
        name = self.names.free(name, ".png")
        with writing(self.folder / name) as part:
            image.save(part, format="PNG", compress_level=_COMPRESSION)
        return name


@dataclass(frozen=True)
class _Shown:
    """A picture as it is drawn, what the classifier saw of it, and its tile.

    `within` is where that is in the classifier's input, as shares of its sides.
    """

    pixels: NDArray[np.uint8]
    square: tuple[int, int, int, int]
    within: tuple[float, float, float, float]
    tile: NDArray[np.uint8]


@dataclass(frozen=True)
class _Drawn:
    """One map on the disk, and its small picture for the sheet."""

    record: PictureMap
    method: str
    small: NDArray[np.uint8]

    def tile(self, title: str) -> SheetTile:
        """Return the sheet's tile."""
        return SheetTile(self.small, title, "empty map" if self.record.empty else "")


def _bounded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture no larger than `LARGEST_SIDE` in either direction."""
    height, width = pixels.shape[:2]
    share = LARGEST_SIDE / max(height, width)
    if share >= 1:
        return pixels
    return _resized(pixels, (max(1, round(width * share)), max(1, round(height * share))))


def _tile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _resized(pixels, tile_size(pixels.shape[1], pixels.shape[0]))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
