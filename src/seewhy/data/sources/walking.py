"""Folders and the files in them, in one fixed order; links are followed, but not in circles.

It knows names and places of files, not what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from seewhy.data.sources.class_names import printable
from seewhy.data.sources.picture_suffixes import is_picture
from seewhy.errors import DataError

Identity = tuple[int, int]
# What systems keep beside people's files: thumbnails, bins.
_SYSTEM = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information")


def entries(folder: Path) -> list[Path]:
    """Return the content of a folder, sorted by name, without what is hidden.

    Raises DataError where it cannot be read.
    """
    return [folder / entry.name for entry in _scan(os.fspath(folder))]


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith((".", *_SYSTEM))]
    except FileNotFoundError as error:
        raise DataError(f"{printable(folder)}: there is no such folder") from error
    except NotADirectoryError as error:
        raise DataError(
            f"{printable(folder)}: is no folder; expected one of class folders"
        ) from error
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be read ({error.strerror})") from error
    return sorted(visible, key=lambda entry: entry.name)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, without those that hold studies."""
    found = [entry for entry in _scan(os.fspath(folder)) if is_folder(entry)]
    return [folder / entry.name for entry in found if not _holds_studies(entry.path)]


def has_pictures(folder: Path) -> bool:
    """Tell whether a picture file is in a folder itself."""
    return any(is_file(entry) and is_picture(entry) for entry in entries(folder))


def files_below(folder: Path, without: set[Identity]) -> Iterator[Path]:
    """Yield all files below a folder, none of them `without`, folder by folder, each once."""
    seen = set(without)

    def enter(place: str) -> Iterator[os.DirEntry[str]]:
        key = identity(place)
        if key in seen:
            return iter(())
        seen.add(key)
        return iter(_scan(place))

    # A stack of its own, and no paths made of folders: they may be nested deeper than Python's
    # calls.
    open_folders = [enter(os.fspath(folder))]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif is_folder(entry):
            open_folders.append(enter(entry.path))
        else:
            yield Path(entry.path)


def holds_pictures(folder: Path, without: set[Identity]) -> bool:
    """Tell whether a picture file is anywhere below a folder."""
    return any(is_file(file) and is_picture(file) for file in files_below(folder, without))


def is_folder(entry: Path | os.DirEntry[str]) -> bool:
    """Tell a folder, or a link to one; what cannot be looked at is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: Path) -> bool:
    """Tell a file, or a link to none: it stands for a file that cannot be read.

    A socket or a pipe is none, as opening one could wait for ever.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.exists())
    except OSError:
        return entry.is_symlink()


def identity(folder: Path | str) -> Identity:
    """Return what two ways to one folder share.

    Raises DataError where it cannot be looked at.
    """
    try:
        status = os.stat(folder)  # noqa: PTH116 (a Path of a deep folder takes long to make)
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be read ({error.strerror})") from error
    return status.st_dev, status.st_ino


def _holds_studies(folder: str) -> bool:
    """Tell a run directory, or a folder of them, from a class: `seewhy run .` makes one here."""
    inside = [entry.path for entry in _scan(folder) if is_folder(entry)]
    return any(
        is_file(Path(place, "config.toml")) and is_file(Path(place, "study.log"))
        for place in (folder, *inside)
    )
