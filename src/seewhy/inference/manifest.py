"""The results for picture files, stored in the folder of their maps.

``manifest.json`` is written when all other files are there. Knows plain values and one file.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from seewhy.storage.atomic_writing import writing
from seewhy.storage.json_files import read_record

NAME = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureMap(_Record):
    """One map of a picture.

    Attributes
    ----------
    explained : str or None
        The class it is for; None where the network has no classifier.
    index : int or None
        That class's number among the classifier's outputs.
    probability : float or None
        What the classifier gives it.
    method, layer : str
    map : str
        The map, a ``.npy`` file of float32 (h, w), not normalised, over the picture's square.
    overlay : str
        The picture with the map laid over it, PNG.
    empty : bool
        True where nothing in the picture spoke for the class.
    """

    explained: str | None
    index: int | None
    probability: float | None
    method: str
    layer: str
    map: str
    overlay: str
    empty: bool


class Picture(_Record):
    """One picture that was explained.

    Attributes
    ----------
    path : str
        As it was named, or found below the folder that was named.
    size : tuple of int
        Width and height, pixels, upright.
    square : tuple of int
        Left, top, right and bottom of what the classifier was shown.
    overlay_size : tuple of int
        Width and height of the overlays: the picture's own, unless it is very large.
    predicted : str or None
    probability : float or None
        Of the predicted class; both None where the network has no classifier.
    sheet : str or None
        All maps of the picture side by side, PNG; None where there is one map.
    maps : tuple of PictureMap
    """

    path: str
    size: tuple[int, int]
    square: tuple[int, int, int, int]
    overlay_size: tuple[int, int]
    predicted: str | None
    probability: float | None
    sheet: str | None
    maps: tuple[PictureMap, ...]


class FailedPicture(_Record):
    """One picture that could not be explained, and why."""

    path: str
    reason: str


class Manifest(_Record):
    """All pictures of one call; file names are relative to the manifest's folder.

    Attributes
    ----------
    classifier, weights : str
    input_size : int
        Side of what the network saw, pixels.
    classes : int
        Its classes, two for a single logit; 0 where it has no classifier.
    against : tuple of str
        The classes that the explained ones were held against.
    pictures : tuple of Picture
    failed : tuple of FailedPicture
    """

    classifier: str
    weights: str
    input_size: int
    classes: int
    against: tuple[str, ...]
    pictures: tuple[Picture, ...]
    failed: tuple[FailedPicture, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; call it last.

    Raises
    ------
    RunError
        Where the disk is full or the place cannot be written.
    """
    with writing(folder / NAME) as part:
        values = manifest.model_dump(mode="json")
        part.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_manifest(folder: Path | str) -> Manifest:
    """Read a folder's manifest.json.

    Raises
    ------
    RunError
        Where it is missing (the command did not end) or not as seewhy writes it.
    """
    return read_record(Path(folder) / NAME, Manifest)
