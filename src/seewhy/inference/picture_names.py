"""Which picture files are meant, and what the files about each of them are called.

Knows names and places of files; opens none of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seewhy.data.sources.class_names import printable
from seewhy.data.sources.folder import list_pictures
from seewhy.errors import DataError
from seewhy.inference.manifest import FailedPicture

# File systems allow 255 bytes; the endings need some of them.
_LONGEST = 120
_LONGEST_SLUG = 40


@dataclass(frozen=True)
class PictureFile:
    """A picture file."""

    path: Path
    shown: str  # its path for people and for JSON: UTF-8, without control characters
    # Where its files go, below the output folder and without an ending; no two pictures of
    # one call share it, in any case of its letters.
    place: str


def find_pictures(
    paths: Sequence[Path], without: Path
) -> tuple[list[PictureFile], list[FailedPicture]]:
    """List the pictures that were named, and those below the folders that were named.

    A file's place is its name; what is in a folder keeps its place there, below the folder's name
    where several paths were given. The folder `without`, where the results go, is not searched.
    What is no file, and folders without pictures, are returned as failed.
    """
    places = UniqueNames()
    found: list[PictureFile] = []
    failed: list[FailedPicture] = []
    for path in paths:
        try:
            files = list_pictures(path, without) if path.is_dir() else [path]
        except DataError as error:
            failed.append(FailedPicture(path=printable(path), reason=str(error)))
            continue
        if not files:
            reason = "the folder holds no picture files"
            failed.append(FailedPicture(path=printable(path), reason=reason))
        for file in files:
            # A pipe would let its reader wait for ever; what is missing is named by the decoder.
            if file.exists() and not file.is_file():
                failed.append(FailedPicture(path=printable(file), reason="is no regular file"))
                continue
            place = places.free(_place(file, path, alone=len(paths) == 1))
            found.append(PictureFile(file, printable(file), place))
    return found, failed


class UniqueNames:
    """File names that were given out, whatever their letters' case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, name: str, ending: str = "") -> str:
        """Return a name with its ending, numbered where it was given out before."""
        given, number = name, 1
        while f"{given}{ending}".casefold() in self._taken:
            number += 1
            given = f"{name}-{number}"
        self._taken.add(f"{given}{ending}".casefold())
        return f"{given}{ending}"


def slug(words: str) -> str:
    """Turn a class's or method's name into a part of a file name."""
    return re.sub(r"\W+", "_", words.replace("+", "p"))[:_LONGEST_SLUG].strip("_") or "_"


def _place(file: Path, named: Path, alone: bool) -> str:
    if file == named:
        return _part(file.stem)
    parts = file.relative_to(named).with_suffix("").parts
    if not alone:
        parts = (named.resolve().name, *parts)
    return "/".join(map(_part, parts))


def _part(name: str) -> str:
    """Cut one part of a path to a length that leaves room for endings."""
    safe = printable(name).replace("\\", "_") or "_"
    return safe.encode()[:_LONGEST].decode("utf-8", "ignore")
