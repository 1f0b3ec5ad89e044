"""The results for picture files, stored in the folder of their maps.

``manifest.json`` is written when all other files are there. Knows plain values and one file.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from seewhy.config import Resize
from seewhy.storage.atomic_writing import writing
from seewhy.storage.schemas.input_size import InputSize

NAME = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureMap(_Record):
    """One map of a picture."""

    explained: str | None  # the class it is for; None where the network has no classifier
    index: int | None  # that class's number among the classifier's outputs
    probability: float | None  # what the classifier gives it
    method: str
    layer: str
    # The map, a ``.npy`` file of float32 (h, w), not normalised, over the input.
    map: str
    overlay: str  # the picture with the map laid over it, PNG
    empty: bool  # True where nothing in the picture supported the class


class Picture(_Record):
    """One picture that was explained."""

    path: str  # as it was named, or found below the folder that was named
    size: tuple[int, int]  # width and height, pixels, upright
    # Left, top, right and bottom of what the classifier was shown, and where in its input that
    # was, as shares of the input's width and height: all of it, but for padding.
    square: tuple[int, int, int, int]
    within: tuple[float, float, float, float]
    # Width and height of the overlays: the picture's own, unless it is very large.
    overlay_size: tuple[int, int]
    predicted: str | None
    # Of the predicted class; both None where the network has no classifier.
    probability: float | None
    # Whether the calibrated confidence is below the study's threshold, so that the answer is "do
    # not know"; None where the study has no threshold.
    abstains: bool | None = None
    # Of the predicted class after the study's temperature scaling; None without a threshold.
    calibrated: float | None = None
    sheet: str | None  # all maps of the picture side by side, PNG; None where there is one map
    maps: tuple[PictureMap, ...]


class FailedPicture(_Record):
    """One picture that could not be explained, and why."""

    path: str
    reason: str


class Manifest(_Record):
    """All pictures of one call; file names are relative to the manifest's folder."""

    classifier: str
    weights: str
    # Side of what the network saw, or its height and width, pixels.
    input_size: InputSize
    resize: Resize  # how pictures of other proportions became the input
    classes: int  # its classes, two for a single logit; 0 where it has no classifier
    against: tuple[str, ...]  # the classes that the explained ones were held against
    pictures: tuple[Picture, ...]
    failed: tuple[FailedPicture, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; call it last.

    Raises RunError where the disk is full or the place cannot be written.
    """
    with writing(folder / NAME) as part:
        values = manifest.model_dump(mode="json")
        part.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
