"""All test images with every prediction and map, packed for the page's own script.

The script chooses, sorts and draws; here is only what it draws from, once and small: photographs
as WebP, maps as one byte per cell (the page draws them as ``explanation.overlay`` does),
probabilities as two bytes. Numbers of more than one byte have the lowest first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from seewhy.explanation.overlay import LARGEST, OPAQUE_FROM, colour
from seewhy.report.figures.outlines import UNITS, outline
from seewhy.report.figures.photographs import TINY, PictureStore, fitted, webp
from seewhy.report.sections.section import ReportInput
from seewhy.report.text.statements import best_backbone
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.titles import STAGE_TITLES

# Of more test images than this, the wrong predictions come first, then an even selection.
MOST_IMAGES = 3000
# What the page may take for all its pictures and maps; the rest of 25 MB is text and drawings.
PICTURE_LETTERS = 22_500_000
# Photographs are made smaller, step by step, until all of them fit (side, quality).
PHOTO_STEPS = ((192, 80), (160, 75), (128, 72), (96, 70), (64, 65))
MAP_BYTES = 4_000_000
# Probabilities of so many classes are kept for each image, the likeliest first.
MOST_CHANCES = 10


def images_payload(study: ReportInput, store: PictureStore) -> dict[str, Any]:
    """Return what the page's script draws the test images from.

    Call this last: photographs that the page already holds in `store` are referenced, not repeated.

    Returns
    -------
    dict
        Plain values. ``photos`` holds base64 WebP, or the id of a picture of the store;
        ``outlines`` the object masks as SVG paths, empty where there are no masks; ``answers``
        and ``maps`` are lists per backbone of lists per stage, in the order of ``stages``.
    """
    data = study.data
    rows = _shown(study, store)
    ids = [data.ids[index] for index in rows]
    outlines = _outlines(data, rows)
    records = list(study.records.values())
    stages = list(STAGES)
    wrong = [[_wrong(one.predictions[stage], ids) for stage in stages] for one in records]
    kept = sum(len(rows) + len(found) for of_backbone in wrong for found in of_backbone)
    most_cells = MAP_BYTES // max(1, kept)
    return {
        "classes": list(data.classes),
        "backbones": list(study.names.values()),
        "stages": [{"key": stage, "title": STAGE_TITLES[stage]} for stage in stages],
        "best": list(study.names).index(best_backbone(study.summary)),
        "of": len(data.where("test")),
        "ids": ids,
        "files": [PurePath(data.paths[index]).name for index in rows],
        "labels": [int(data.labels[index]) for index in rows],
        "photos": _photos(
            data, rows, store, PICTURE_LETTERS - MAP_BYTES * 4 // 3 - sum(map(len, outlines))
        ),
        "outlines": outlines,
        "outlineUnits": UNITS,
        "tiny": max(data.pixels.shape[1:3]) <= TINY,
        "chances": min(len(data.classes), MOST_CHANCES),
        "answers": [[_answers(one.predictions[stage], ids) for stage in stages] for one in records],
        "maps": [
            [_maps(one.maps[stage], ids, found[k], most_cells) for k, stage in enumerate(stages)]
            for one, found in zip(records, wrong, strict=True)
        ],
        "colours": _base64(colour(np.linspace(0, 1, 256))),
        "opaqueFrom": OPAQUE_FROM,
    }


def embedded(payload: dict[str, Any]) -> Markup:
    """Return a payload as JSON that can stand inside a ``<script>`` element.

    No name in it can end the element or begin a comment: ``<``, ``>`` and ``&`` are escaped, as
    are the two line ends that JSON has and older JavaScript has not.
    """
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    # A lone surrogate, from a file name that is no UTF-8, could not be written.
    return Markup(text.encode("utf-8", "replace").decode("utf-8"))


def _shown(study: ReportInput, store: PictureStore) -> list[int]:
    """Return the places in the data set of the test images that the page holds, ascending."""
    test = study.data.where("test")
    if len(test) <= MOST_IMAGES:
        return [int(index) for index in test]
    wrong: set[str] = set()
    for records in study.records.values():
        found = records.predictions["finetuning"]
        wrong |= {found.ids[k] for k in np.flatnonzero(found.predicted != found.labels)}
    first = [k for k in test.tolist() if store.has_photo(k) or study.data.ids[k] in wrong]
    first = first[:MOST_IMAGES]
    rest = np.setdiff1d(test, first)
    spread = np.linspace(0, len(rest) - 1, MOST_IMAGES - len(first)).round().astype(np.intp)
    return sorted({*first, *rest[spread].tolist()})


def _photos(data: Dataset, rows: Sequence[int], store: PictureStore, letters: int) -> list[str]:
    """Return each photograph in base64, all of them and the store's in so many letters."""
    letters -= sum(len(picture.address) for picture in store.pictures.values())
    missing = [index for index in rows if not store.has_photo(index)]
    tiny = max(data.pixels.shape[1:3]) <= TINY

    def encoded(index: int, side: int, quality: int) -> bytes:
        return webp(fitted(data.pixels[index], side), exact=tiny, quality=quality)

    some = missing[:: max(1, len(missing) // 40)]
    for side, quality in PHOTO_STEPS:
        sizes = [len(encoded(index, side, quality)) for index in some]
        if not sizes or float(np.mean(sizes)) * len(missing) * 4 / 3 <= letters:
            break
    return [
        store.photo(index)
        if store.has_photo(index)
        else base64.b64encode(encoded(index, side, quality)).decode("ascii")
        for index in rows
    ]


def _outlines(data: Dataset, rows: Sequence[int]) -> list[str]:
    """Return the outline of each image's mask, empty for an image without; nothing without masks.

    With several thousand images the outlines together are smaller than their maps.
    """
    if data.masks is None:
        return []
    return [outline(data.masks[index]) or "" for index in rows]


def _answers(predictions: Predictions, ids: Sequence[str]) -> dict[str, str]:
    """Return the likeliest classes of each image, their probabilities, and the label's own."""
    rows = _rows(predictions.ids, ids)
    probabilities = predictions.probabilities[rows]
    labels = predictions.labels[rows]
    count = min(probabilities.shape[1], MOST_CHANCES)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    top = np.take_along_axis(probabilities, order, axis=1)
    own = probabilities[np.arange(len(rows)), labels]
    return {
        "classes": _base64(order.astype("<u2")),
        "chances": _base64(_two_bytes(top)),
        "own": _base64(_two_bytes(own)),
    }


def _wrong(predictions: Predictions, ids: Sequence[str]) -> NDArray[np.intp]:
    """Return the places among `ids` of the images that are predicted as another class."""
    rows = _rows(predictions.ids, ids)
    return np.flatnonzero(predictions.predicted[rows] != predictions.labels[rows])


def _maps(
    maps: Maps, ids: Sequence[str], wrong: NDArray[np.intp], most_cells: int
) -> dict[str, Any]:
    """Return each image's map as bytes, 255 its own maximum; an empty map is all zero.

    The labelled class has a map of its own only for the images at `wrong`, in their order.
    """
    rows = _rows(maps.ids, ids)
    cells = quantised(maps.maps[rows], most_cells)
    return {
        "height": cells.shape[1],
        "width": cells.shape[2],
        "predicted": _base64(cells),
        "labelled": _base64(quantised(maps.label_maps[rows[wrong]], most_cells)),
        "wrong": wrong.tolist(),
    }


def quantised(maps: NDArray[Any], most_cells: int) -> NDArray[np.uint8]:
    """Scale maps (N, h, w) to 0 … 255 by their own maxima, with at most `most_cells` cells each.

    Larger maps are halved, by the means of two by two cells, until they fit. What is negative or
    not a number counts as zero.
    """
    values = np.nan_to_num(maps.astype(np.float32), nan=0.0, posinf=LARGEST, neginf=0.0)
    values = values.clip(0.0, LARGEST)
    while values.shape[1] * values.shape[2] > max(1, most_cells):
        odd = ((0, 0), (0, values.shape[1] % 2), (0, values.shape[2] % 2))
        values = np.pad(values, odd, mode="edge")
        height, width = values.shape[1] // 2, values.shape[2] // 2
        values = values.reshape(-1, height, 2, width, 2).mean(axis=(2, 4))
    peaks = values.max(axis=(1, 2), keepdims=True, initial=0.0)
    scaled = np.rint(255 * (values / np.where(peaks > 0, peaks, 1)))
    return np.asarray(scaled, dtype=np.uint8)


def _rows(known: Sequence[str], ids: Sequence[str]) -> NDArray[np.intp]:
    place = {id_: row for row, id_ in enumerate(known)}
    return np.array([place[id_] for id_ in ids], dtype=np.intp)


def _two_bytes(shares: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(np.clip(shares, 0.0, 1.0).astype(np.float64) * 65535).astype("<u2")


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
