"""A source's folders as they are looked at and named while its layout is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seewhy.data.sources.class_names import shown
from seewhy.data.sources.picture_suffixes import is_picture
from seewhy.data.sources.walking import Identity, files_below, folders_in, holds_pictures, is_file
from seewhy.wording import some


@dataclass(frozen=True)
class FolderTree:
    """A source, and the folders in it that are not entered."""

    root: Path
    without: frozenset[Identity]
    _full: dict[Path, bool] = field(default_factory=dict, repr=False)
    _classes: dict[Path, list[Path]] = field(default_factory=dict, repr=False)

    def full(self, folder: Path) -> bool:
        """Tell whether a folder holds a picture, at any depth."""
        if folder not in self._full:
            self._full[folder] = holds_pictures(folder, set(self.without))
        return self._full[folder]

    def classes(self, folder: Path) -> list[Path]:
        """Return the folders in a folder that hold pictures."""
        if folder not in self._classes:
            self._classes[folder] = [one for one in folders_in(folder) if self.full(one)]
        return self._classes[folder]

    def pictures(self, folder: Path) -> int:
        """Count the pictures below a folder."""
        files = files_below(folder, set(self.without))
        return sum(is_file(file) and is_picture(file) for file in files)

    def place(self, folder: Path) -> str:
        """Name a folder by its place in the source."""
        base = self.root if folder.is_relative_to(self.root) else folder.parent
        return _plain(f"{shown(folder.relative_to(base).as_posix())}/")


def name_of(folder: Path) -> str:
    """Name a folder, ``train/``; in quotes where blanks or control characters need them."""
    return _plain(f"{shown(folder.name)}/")


def names_of(folders: list[Path]) -> str:
    """Name the first of some folders."""
    return some([name_of(folder) for folder in folders])


def _plain(name: str) -> str:
    bare = name.removesuffix("/")
    return name if bare.isprintable() and bare == bare.strip() else repr(name)
