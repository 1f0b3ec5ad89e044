"""Pictures of the report: photographs, heat layers, average pictures and maps, samples.

Every picture becomes a ``data:`` address, so that the page needs nothing beside it. A picture that
shows in several places is kept once and shown by its id.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seewhy.explanation.overlay import colour, heat, normalised, resize_map
from seewhy.report.figures.outlines import outline
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.maps import Maps
from seewhy.wording import plain

PHOTO_SIZE = 192
HEAT_SIZE = 96
AVERAGE_SIZE = 72
# Pictures up to this side are shown pixel by pixel and kept without loss.
TINY = 48
QUALITY = 80
SAMPLES = 8
# An average over this many pictures of a class looks like the one over all of them.
AVERAGED = 100
SHEET_CLASSES = 300


@dataclass(frozen=True)
class StoredPicture:
    """One picture of the store: its id in the page, its address, whether its pixels show."""

    id: str
    address: str
    tiny: bool


@dataclass
class PictureStore:
    """Pictures that the gallery shows, each kept once, by id in the order they were asked for.

    `outlines` are SVG paths, likewise.
    """

    data: Dataset
    pictures: dict[str, StoredPicture] = field(default_factory=dict)
    outlines: dict[str, str] = field(default_factory=dict)

    @property
    def proportions(self) -> str:
        """Width and height of the pictures as CSS writes their ratio; empty for squares."""
        height, width = self.data.pixels.shape[1:3]
        return "" if height == width else f"{width} / {height}"

    def photo(self, index: int) -> str:
        """Keep the image at `index` of the data set; return its id in the page."""
        name = f"photo-{index}"
        if name not in self.pictures:
            pixels = self.data.pixels[index]
            tiny = max(pixels.shape[:2]) <= TINY
            self.pictures[name] = StoredPicture(
                name, address(fitted(pixels, PHOTO_SIZE), tiny), tiny
            )
        return name

    def has_photo(self, index: int) -> bool:
        """Whether the image at `index` of the data set is kept already."""
        return f"photo-{index}" in self.pictures

    def outline(self, index: int) -> str | None:
        """Keep the outline of an image's object mask; None for an image without a mask."""
        name = f"outline-{index}"
        if name not in self.outlines:
            path = None if self.data.masks is None else outline(self.data.masks[index])
            if path is None:
                return None
            self.outlines[name] = path
        return name

    def heat(self, backbone: int, index: int, map_: NDArray[np.float16]) -> str | None:
        """Keep a map as a layer to stretch over its photo; None for an empty map."""
        if not has_heat(map_):
            return None
        name = f"heat-{backbone}-{index}"
        if name not in self.pictures:
            self.pictures[name] = StoredPicture(
                name, address(heat(map_, (HEAT_SIZE, HEAT_SIZE))), False
            )
        return name


def has_heat(map_: NDArray[np.float16]) -> bool:
    """Whether a map marks any place at all."""
    return bool(normalised(map_).any())


def address(pixels: NDArray[np.uint8], exact: bool = False) -> str:
    """Return a picture (H, W, 3 or 4) as a ``data:`` address, WebP; `exact` means without loss."""
    return f"data:image/webp;base64,{base64.b64encode(webp(pixels, exact)).decode('ascii')}"


def webp(pixels: NDArray[np.uint8], exact: bool, quality: int = QUALITY) -> bytes:
    """Return a picture (H, W, 3 or 4) as WebP, without loss or with a quality of 0 … 100."""
    stream = io.BytesIO()
    # Method 2 takes a third of the time of the default 4 for a few per cent more bytes; without
    # loss, method 0 takes a sixth of that for a tenth more.
    Image.fromarray(pixels).save(
        stream, "WEBP", quality=quality, lossless=exact, method=0 if exact else 2
    )
    return stream.getvalue()


def average_photos(data: Dataset) -> list[str | None]:
    """Return the average test picture of each class as an address; None for a class without."""
    addresses: list[str | None] = []
    test = data.where("test")
    for label in range(len(data.classes)):
        chosen = _spread(test[data.labels[test] == label], AVERAGED)
        if not len(chosen):
            addresses.append(None)
            continue
        mean = np.rint(data.pixels[chosen].mean(axis=0, dtype=np.float64)).astype(np.uint8)
        addresses.append(address(fitted(mean, AVERAGE_SIZE)))
    return addresses


def average_maps(maps: Maps, classes: int) -> NDArray[np.float32]:
    """Return each class's average map, (classes, h, w), every map scaled by its own maximum first.

    Over the maps that explain the class and are not empty; zero where there is none.
    """
    averages = np.zeros((classes, *maps.maps.shape[1:]), dtype=np.float32)
    for label in range(classes):
        scaled = [normalised(map_) for map_ in maps.maps[maps.explained == label]]
        scaled = [map_ for map_ in scaled if map_.any()]
        if scaled:
            averages[label] = np.mean(scaled, axis=0)
    return averages


def average_map_addresses(averages: NDArray[np.float32]) -> list[str | None]:
    """Return average maps as addresses, on one scale; None for a class without maps."""
    peak = float(averages.max(initial=0.0))
    return [
        address(colour(resize_map(average, (AVERAGE_SIZE, AVERAGE_SIZE)) / peak))
        if average.any()
        else None
        for average in averages
    ]


def confusion_address(confusion: NDArray[np.int64]) -> str:
    """Return a large confusion matrix as a picture: a pixel per cell, opaque by its row's share."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((*confusion.shape, 4), dtype=np.uint8)
    pixels[..., :3] = (201, 79, 44)
    pixels[..., 3] = np.rint(np.sqrt(shares) * 255)  # rare confusions stay visible
    return address(pixels, exact=True)


def samples(data: Dataset) -> list[list[NDArray[np.uint8]]]:
    """Return a few training pictures of every class, evenly spread over the listing."""
    train = data.where("train")
    size = 96 if len(data.classes) <= 30 else 48
    return [
        [
            fitted(data.pixels[index], size, grow=True)
            for index in _spread(train[data.labels[train] == label], SAMPLES)
        ]
        for label in range(len(data.classes))
    ]


def strip(pictures: Sequence[NDArray[np.uint8]]) -> str | None:
    """Return pictures side by side as one address; None where there are none."""
    if not pictures:
        return None
    (height, width), gap = pictures[0].shape[:2], 4
    row = np.zeros((height, SAMPLES * (width + gap) - gap, 4), dtype=np.uint8)
    for number, pixels in enumerate(pictures):
        left = number * (width + gap)
        row[:, left : left + width, :3] = pixels
        row[:, left : left + width, 3] = 255
    return address(row)


def write_contact_sheet(
    path: Path, classes: Sequence[str], rows: Sequence[Sequence[NDArray[np.uint8]]]
) -> None:
    """Write samples of every class as one PNG, a row per class, its name before them."""
    rows = rows[:SHEET_CLASSES]
    height, width = next((row[0].shape[:2] for row in rows if row), (96, 96))
    gap, label = 6, 150
    sheet = Image.new(
        "RGB", (label + SAMPLES * (width + gap) + gap, len(rows) * (height + gap) + gap), "white"
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 13
    )
    for number, row in enumerate(rows):
        top = gap + number * (height + gap)
        name = plain(classes[number], 19)
        draw.text((gap * 2, top + height // 2), name, fill=(30, 30, 30), font=font, anchor="lm")
        for place, pixels in enumerate(row):
            sheet.paste(Image.fromarray(pixels), (label + gap + place * (width + gap), top))
    sheet.save(path, "PNG")


def _spread(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most `count` of `indices`, evenly spread."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.intp)]


def fitted(pixels: NDArray[np.uint8], size: int, grow: bool = False) -> NDArray[np.uint8]:
    """Return a picture with a longer side of `size`; a smaller one only where it may `grow`."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    if side == size or (side < size and not grow):
        return np.ascontiguousarray(pixels)
    shape = max(1, round(width * size / side)), max(1, round(height * size / side))
    how = Image.Resampling.NEAREST if side <= TINY else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(shape, how))
