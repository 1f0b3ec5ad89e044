"""A folder of class folders as a listing; nothing is decoded here.

It puts together where the class folders are (``folder_layout.py``), the files in them
(``walking.py``), and what the classes are called (``class_names.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seewhy.data.sources.class_names import (
    alike,
    class_name,
    in_order,
    printable,
    refuse_escapes,
    shown,
    spelling,
)
from seewhy.data.sources.folder_layout import FolderLayout, SplitFolder, TopFolders, find_layout
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.picture_files import PictureFiles
from seewhy.data.sources.picture_suffixes import is_picture, suffix_of
from seewhy.data.sources.walking import entries, files_below, identity, is_file, is_folder
from seewhy.errors import DataError
from seewhy.storage.schemas.data_checks import OtherFiles
from seewhy.storage.schemas.dataset import SetAside, Split
from seewhy.wording import count, listing, some

# Files that are no pictures: kinds that are listed, and places of each.
MOST_KINDS, MOST_PLACES = 20, 3


@dataclass(frozen=True)
class _Found:
    """One image file: where it is, how it is shown, and what its place says of it."""

    file: Path
    shown: str
    label: str
    split: Split | None


def list_folder(
    root: Path,
    test: Path | None,
    max_megapixels: float,
    at_least: int | None = None,
    top_folders: TopFolders = "auto",
) -> Listing:
    """List the images in a folder of class folders.

    Two layouts: ``class/image.jpg``, or ``train/ [val/] test/`` with class folders in each, under
    any of the names that `split_names` knows. Images may be deeper inside a class folder.
    A file is an image by its suffix, without a suffix by its content; hidden files are ignored,
    others counted. Links are followed, but not in circles. Names of classes are compared in
    Unicode's composed form.

    Parameters
    ----------
    root : Path
    test : Path, optional
        A folder of class folders with the test images; it takes the place of ``test/``.
    max_megapixels : float
        Larger images are refused when they are loaded.
    at_least : int, optional
        See `seewhy.data.decoding.picture.decode_image`.
    top_folders : {"auto", "classes", "splits"}, default "auto"
        See `seewhy.data.sources.folder_layout.find_layout`.

    Returns
    -------
    Listing
        Splits are None where the folder says nothing about them.

    Raises
    ------
    DataError
        Where a folder cannot be read, holds no images in class folders, or has two meanings.
    """
    layout = find_layout(root, test, top_folders)
    found: list[_Found] = []
    others = _Others()
    for part in layout.parts:
        refuse_escapes((one.name for one in part.classes), printable(part.folder))
        for folder in part.classes:
            found += _in_class_folder(folder, part, root, layout, others)
    set_aside = [item for place in layout.loose for item in _loose(place, root, others)]
    if not found:
        raise DataError(_nothing(root, len(set_aside)))
    names = {part: {class_name(one.name) for one in part.classes} for part in layout.parts}
    _refuse_empty(root, found, names, others)
    _refuse_strangers(root, names)
    classes = in_order(name for part in names.values() for name in part)
    number = {name: k for k, name in enumerate(classes)}
    files = PictureFiles(tuple(item.file for item in found), max_megapixels, at_least)
    return Listing(
        source=printable(root) + (f" and {printable(test)}" if test else ""),
        classes=classes,
        paths=tuple(item.shown for item in found),
        labels=np.array([number[item.label] for item in found], dtype=np.int64),
        splits=tuple(item.split for item in found),
        files=tuple(item.file for item in found),
        load=files.load,
        set_aside=tuple(set_aside),
        deep=files,
        notes=(*layout.notes, *_spellings(classes)),
        other_files=others.kinds(),
    )


def list_pictures(folder: Path, without: Path | None = None) -> list[Path]:
    """List the picture files anywhere below a folder, sorted, folder by folder.

    By suffix, without one by content; what cannot be read is among them. Hidden files and folders
    are left out, and so is the folder `without`; links are followed, but not in circles. Raises
    DataError where a folder cannot be read.
    """
    apart = {identity(without)} if without is not None and without.is_dir() else set()
    return [file for file in files_below(folder, apart) if is_file(file) and is_picture(file)]


class _Others:
    """Files that are no pictures, counted by suffix."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)
        self.of_class: dict[str, int] = defaultdict(int)

    def add(self, file: Path, place: str) -> None:
        suffix = suffix_of(file.name)
        self._counts[suffix] += 1
        if len(self._places[suffix]) < MOST_PLACES:
            self._places[suffix].append(place)

    def kinds(self) -> tuple[OtherFiles, ...]:
        order = sorted(self._counts, key=lambda suffix: (-self._counts[suffix], suffix))
        return tuple(
            OtherFiles(suffix=suffix, count=self._counts[suffix], first=self._places[suffix])
            for suffix in order[:MOST_KINDS]
        )


def _in_class_folder(
    folder: Path, part: SplitFolder, root: Path, layout: FolderLayout, others: _Others
) -> list[_Found]:
    """List the images of one class folder; the folders above it are not entered again."""
    place = part.folder.resolve()
    above = {identity(one) for one in (place, *place.parents)}
    # The folder that --test names is entered as the test part alone.
    without = above if part.split == "test" else above | layout.without
    label = class_name(folder.name)
    found = []
    for file in files_below(folder, without):
        named = _place(file, part.folder, root)
        if is_file(file) and is_picture(file):
            found.append(_Found(file, named, label, part.split))
        else:
            others.add(file, named)
            others.of_class[label] += 1
    return found


def _loose(folder: Path, root: Path, others: _Others) -> list[SetAside]:
    """Return the images in a folder of class folders itself."""
    found = []
    for entry in entries(folder):
        if is_folder(entry):
            continue
        if is_file(entry) and is_picture(entry):
            found.append(SetAside(_place(entry, folder, root), "is in no class folder"))
        else:
            others.add(entry, _place(entry, folder, root))
    return found


def _nothing(root: Path, loose: int) -> str:
    holds = "no images in class folders"
    if loose:
        holds = f"{count(loose, 'image')}, but none in class folders"
    return (
        f"{printable(root)}: holds {holds}; expected CLASS/IMAGE.jpg, or train/, val/ and test/ "
        "with class folders in each"
    )


def _refuse_empty(
    root: Path, found: Sequence[_Found], names: dict[SplitFolder, set[str]], others: _Others
) -> None:
    """Refuse class folders without images, all of them at once."""
    filled = {(item.split, item.label) for item in found}
    empty = [
        name
        for part, known in names.items()
        for name in in_order(known)
        if (part.split, name) not in filled
    ]
    if not empty:
        return
    named = [
        f"{name!r} ({count(others.of_class[name], 'other file')})"
        if others.of_class[name]
        else repr(name)
        for name in dict.fromkeys(empty)
    ]
    raise DataError(
        f"{printable(root)}: {count(len(named), 'class folder holds', 'class folders hold')} no "
        f"images: {some(named, 20)}; add some or take them out"
    )


def _refuse_strangers(root: Path, names: dict[SplitFolder, set[str]]) -> None:
    """Refuse classes that only another split than training has, with near spellings."""
    (_, training), *rest = names.items()
    for part, known in rest:
        strange = in_order(known - training)
        if not strange:
            continue
        nearest = {spelling(name): name for name in training}
        pairs = [
            f"{nearest[spelling(name)]!r} and {name!r}"
            for name in strange
            if spelling(name) in nearest
        ]
        if pairs:
            raise DataError(
                f"{printable(root)}: the classes of the training and the {part.split} images are "
                f"spelled differently: {some(pairs)}; rename one of each"
            )
        raise DataError(
            f"{printable(part.folder)}: {count(len(strange), 'class has', 'classes have')} no "
            f"training images: {some([repr(name) for name in strange])}; training has "
            f"{some([repr(name) for name in in_order(training)])}"
        )


def _spellings(classes: Sequence[str]) -> list[str]:
    pairs = [listing([repr(name) for name in group]) for group in alike(classes)]
    if not pairs:
        return []
    return [f"Classes that differ only in case, blanks or hyphens stay apart: {some(pairs)}."]


def _place(file: Path, folder: Path, root: Path) -> str:
    """Name a file by its place in `root`, or in the other folder that holds the test images."""
    base = root if folder.is_relative_to(root) else folder.parent
    return shown(file.relative_to(base).as_posix())
