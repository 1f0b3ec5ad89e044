"""A folder of class folders as a listing; nothing is decoded here.

It knows names and places of files, not what is in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seewhy.data.listing import Listing
from seewhy.data.picture_files import PictureFiles
from seewhy.errors import DataError
from seewhy.records import SetAside, Split

READABLE = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# Pictures that cannot be read: listing them lets them be set aside by name, not overlooked.
UNREADABLE = (".heic", ".heif", ".avif", ".jxl", ".jp2")
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class _Found:
    """One image file: where it is, how it is shown, and what its place says of it."""

    file: Path
    shown: str
    label: str
    split: Split | None


def list_folder(
    root: Path, test: Path | None, max_megapixels: float, at_least: int | None = None
) -> Listing:
    """List the images in a folder of class folders.

    Two layouts: ``class/image.jpg``, or ``train/ [val/] test/`` with class folders in each (then
    other folders beside them are left alone). Images may lie deeper inside a class folder. Hidden
    files and files without an image's suffix are ignored; links are followed, but not in circles.

    Parameters
    ----------
    root : Path
    test : Path, optional
        A folder of class folders with the test images; it takes the place of ``test/``.
    max_megapixels : float
        Larger images are refused when they are loaded.
    at_least : int, optional
        See `seewhy.data.decode.decode_image`.

    Returns
    -------
    Listing
        Splits are None where the folder says nothing about them.

    Raises
    ------
    DataError
        Where a folder cannot be read, holds no class folders or no images.
    """
    parts = _parts(root, test)
    found = [item for split, part in parts for item in _in_class_folders(part, root, split)]
    if not found:
        raise DataError(
            f"{root}: holds no images in class folders; expected CLASS/IMAGE.jpg, "
            f"or train/, val/ and test/ with class folders in each"
        )
    classes = tuple(sorted({_shown(path.name) for _, part in parts for path in _folders(part)}))
    number = {name: k for k, name in enumerate(classes)}
    files = PictureFiles(tuple(item.file for item in found), max_megapixels, at_least)
    return Listing(
        source=_shown(str(root)) + (f" and {_shown(str(test))}" if test else ""),
        classes=classes,
        paths=tuple(item.shown for item in found),
        labels=np.array([number[item.label] for item in found], dtype=np.int64),
        splits=tuple(item.split for item in found),
        load=files.load,
        set_aside=tuple(item for _, part in parts for item in _loose_images(part, root)),
        deep=files,
    )


def list_pictures(folder: Path, without: Path | None = None) -> list[Path]:
    """List the picture files anywhere below a folder, sorted, folder by folder.

    Parameters
    ----------
    folder : Path
    without : Path, optional
        A folder that is not entered.

    Returns
    -------
    list of Path
        By suffix; what cannot be read is among them. Hidden files and folders are left out, links
        are followed, but not in circles.

    Raises
    ------
    DataError
        Where a folder cannot be read.
    """
    seen = {_identity(without)} if without is not None and without.is_dir() else set()
    return list(_images(folder, seen))


def _parts(root: Path, test: Path | None) -> list[tuple[Split | None, Path]]:
    """Find the folders of class folders, each with the split its name gives it."""
    named: dict[Split, Path] = {}
    for folder in _folders(root):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in named:
            raise DataError(
                f"{root}: holds both {named[split].name}/ and {folder.name}/; keep one of them"
            )
        if split:
            named[split] = folder
    parts: list[tuple[Split | None, Path]] = [(None, root)]
    if _is_divided(root, named):
        parts = [(split, named[split]) for split in SPLIT_NAMES.values() if split in named]
        parts = list(dict.fromkeys(parts))
    if test is not None:
        parts = [(split, folder) for split, folder in parts if split != "test"] + [("test", test)]
    return parts


def _is_divided(root: Path, named: dict[Split, Path]) -> bool:
    """Tell ``train/CLASS/`` beside ``test/`` from a class that happens to be called train."""
    if "train" not in named or not any(_folders(named["train"])):
        return False
    return len(named) > 1 or len(list(_folders(root))) == 1


def _in_class_folders(folder: Path, root: Path, split: Split | None) -> Iterator[_Found]:
    above = {_identity(place) for place in (folder.resolve(), *folder.resolve().parents)}
    for class_folder in _folders(folder):
        for file in _images(class_folder, set(above)):
            label = _shown(class_folder.name)
            yield _Found(file, _place(file, folder, root), label, split)


def _images(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All image files below `folder`, sorted; `seen` holds the folders not to enter again."""
    identity = _identity(folder)
    if identity in seen:
        return
    seen.add(identity)
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _images(entry, seen)
        elif _is_image(entry):
            yield entry


def _loose_images(folder: Path, root: Path) -> Iterator[SetAside]:
    for entry in _entries(folder):
        if not entry.is_dir() and _is_image(entry):
            yield SetAside(_place(entry, folder, root), "lies in no class folder")


def _place(file: Path, folder: Path, root: Path) -> str:
    """Name a file by its place in `root`, or in the other folder that holds the test images."""
    base = root if folder.is_relative_to(root) else folder.parent
    return _shown(file.relative_to(base).as_posix())


def _is_image(entry: Path) -> bool:
    # A dangling link counts: it is an image that cannot be read. A socket or a pipe does not, as
    # opening one could wait for ever.
    is_kind = entry.is_file() or (entry.is_symlink() and not entry.exists())
    return is_kind and entry.suffix.lower() in READABLE + UNREADABLE


def _folders(folder: Path) -> Iterator[Path]:
    return (e for e in _entries(folder) if e.is_dir() and not _holds_studies(e))


def _holds_studies(folder: Path) -> bool:
    """Tell a run directory, or a folder of them, from a class: `seewhy run .` makes one here."""
    return any(
        (place / "config.toml").is_file() and (place / "study.log").is_file()
        for place in (folder, *(e for e in _entries(folder) if e.is_dir()))
    )


def _entries(folder: Path) -> list[Path]:
    """Return what lies in `folder`, sorted, without what is hidden."""
    try:
        visible = [e for e in folder.iterdir() if not e.name.startswith((".", "__MACOSX"))]
    except FileNotFoundError as error:
        raise DataError(f"{folder}: there is no such folder") from error
    except NotADirectoryError as error:
        raise DataError(f"{folder}: is no folder; expected one of class folders") from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    return sorted(visible, key=lambda entry: entry.name)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _shown(name: str) -> str:
    """Turn a file's name into text that is UTF-8, escaping bytes that are not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
