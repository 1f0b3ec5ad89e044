"""Which folders of a source are splits and which are classes.

Names decide where they are known (`split_names.py`); where names and nesting leave two meanings
open, the folder is refused with what to do: a split that is taken for a class, or the other way
round, would make a study of something else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from seewhy.data.sources.ambiguous_folders import (
    AS_CLASSES,
    by_stem,
    divides,
    is_pair,
    refuse_unclear,
)
from seewhy.data.sources.class_names import argument, class_name, printable, shown, spelling
from seewhy.data.sources.folder_tree import FolderTree, name_of, names_of
from seewhy.data.sources.split_names import Role, is_filler, read_name
from seewhy.data.sources.walking import Identity, entries, folders_in, has_pictures, identity
from seewhy.errors import DataError
from seewhy.storage.schemas.dataset import SPLITS, Split
from seewhy.wording import count, listing, some

TopFolders = Literal["auto", "classes", "splits"]
_WORDS: dict[Split, str] = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class SplitFolder:
    """A folder of class folders, and the split of its images; None where it is to be drawn."""

    split: Split | None
    folder: Path
    classes: tuple[Path, ...]


@dataclass(frozen=True)
class FolderLayout:
    """How a source is read."""

    parts: tuple[SplitFolder, ...]
    notes: tuple[str, ...] = ()  # what a person should know of it, a sentence each
    loose: tuple[Path, ...] = ()  # folders whose own pictures belong to no class
    without: frozenset[Identity] = frozenset()  # folders that are not entered


def find_layout(root: Path, test: Path | None, top_folders: TopFolders = "auto") -> FolderLayout:
    """Find the folders of class folders.

    Parameters
    ----------
    root : Path
    test : Path, optional
        A folder of class folders with the test images.
    top_folders : {"auto", "classes", "splits"}, default "auto"
        What the folders in `root` are: splits where their names say so, else classes; classes
        whatever they are called; or splits, with folders in them that are classes.

    Raises
    ------
    DataError
        Where a folder cannot be read, or has two meanings.
    """
    entries(root)
    above = {identity(place) for place in (root.resolve(), *root.resolve().parents)}
    apart: set[Identity] = set()
    if test is not None:
        entries(test)
        if identity(test) == identity(root):
            raise DataError(
                f"{printable(root)}: is named as source and as --test; test images must be others "
                "than those for training"
            )
        apart = {identity(test)} - above
    inside = folders_in(root)
    tops = [folder for folder in inside if identity(folder) not in apart]
    look = FolderTree(root, frozenset(above | apart))
    layout = FolderLayout((SplitFolder(None, root, tuple(tops)),), loose=(root,))
    if top_folders != "classes":
        # The folder that --test names still tells that its neighbours are splits.
        layout = _divided(look, inside, tops, test) or layout
    if top_folders == "splits" and layout.parts[0].split is None:
        raise DataError(
            f"{printable(root)}: data.top_folders is splits, but there is no train/ with val/ or "
            f"test/ beside it; there is {names_of(tops) or 'no folder'}"
        )
    if top_folders == "auto":
        for part in layout.parts:
            refuse_unclear(look, part.folder, list(part.classes), alone=part.split is None)
    if test is not None:
        layout = _with_test(look, layout, test, sure=top_folders != "auto")
    return replace(layout, without=look.without)


def _divided(
    look: FolderTree, inside: list[Path], tops: list[Path], test: Path | None
) -> FolderLayout | None:
    """Read ``train/`` with ``val/`` or ``test/`` beside it; None where there is no such pair."""
    stems = by_stem(inside)
    pairs = [stem for stem, found in stems.items() if is_pair(found)]
    if len(pairs) > 1:
        folders = names_of([folder for stem in pairs for folder, _ in stems[stem]])
        raise DataError(
            f"{printable(look.root)}: the folders {folders} name both a class and a split; "
            "expected train/CLASS/IMAGE.jpg and test/CLASS/IMAGE.jpg"
        )
    if not pairs:
        only = read_name(inside[0].name) if len(inside) == 1 else None
        if only is None or only.role != "train" or not look.classes(inside[0]):
            return None
        pairs = [only.stem]
    return _read_parts(look, tops, stems[pairs[0]], test)


def _read_parts(
    look: FolderTree, tops: list[Path], named: list[tuple[Path, Role]], test: Path | None
) -> FolderLayout:
    """Read the folders of splits, and say what is beside them."""
    folders = _one_each(look.root, named)
    notes: list[str] = []
    replaced = folders.pop("test", None) if test is not None else None
    if replaced in tops:
        notes.append(f"{name_of(replaced)} was not read: --test takes its place.")
    inner = {split: _unwrapped(folder) for split, folder in folders.items()}
    firsts = [folders_in(folder) for folder in inner.values()]
    if all(len(found) == 1 and is_filler(found[0].name) for found in firsts) and all(
        look.classes(found[0]) and not has_pictures(found[0]) for found in firsts
    ):
        inner = {split: found[0] for split, found in zip(inner, firsts, strict=True)}
    classes = {spelling(class_name(one.name)) for one in folders_in(inner["train"])}
    if not classes:
        raise DataError(_no_classes(look, folders["train"]))
    parts = []
    for split in SPLITS:
        if split not in inner:
            continue
        flat = _flat(look, inner[split], classes)
        if flat is None:
            parts.append(SplitFolder(split, inner[split], tuple(folders_in(inner[split]))))
        elif split == "test":
            notes.append(_unlabelled(look, flat, "a test set is drawn from the training images"))
        else:
            raise DataError(_no_classes(look, folders[split]))
    purposes = listing([f"{look.place(one.folder)} is {_purpose(one)}" for one in parts])
    taken = {*folders.values(), replaced}
    notes = [f"Split folders: {purposes}.", *notes]
    notes += [_beside(look, folder) for folder in tops if folder not in taken]
    loose = (look.root, *(one.folder for one in parts))
    return FolderLayout(tuple(parts), tuple(notes), tuple(dict.fromkeys(loose)))


def _one_each(root: Path, named: list[tuple[Path, Role]]) -> dict[Split, Path]:
    """Give each split its one folder; ``eval`` is the test where nothing else is."""
    found: dict[str, Path] = {}
    for folder, role in named:
        if role == "unlabelled":
            continue
        if role in found:
            raise DataError(
                f"{printable(root)}: holds both {name_of(found[role])} and {name_of(folder)}; "
                "keep one of them"
            )
        found[role] = folder
    if "eval" in found:
        free = next((split for split in ("test", "validation") if split not in found), None)
        if free is None:
            raise DataError(
                f"{printable(root)}: holds both {name_of(found['test'])} and "
                f"{name_of(found['eval'])}; keep one of them"
            )
        found[free] = found.pop("eval")
    return {split: found[split] for split in SPLITS if split in found}


def _unwrapped(folder: Path) -> Path:
    """Enter ``seg_train/seg_train/``: a folder whose only content says the same once more."""
    split_name, seen = read_name(folder.name), {identity(folder)}
    while True:
        inside = folders_in(folder)
        if len(inside) != 1 or has_pictures(folder) or identity(inside[0]) in seen:
            return folder
        again = read_name(inside[0].name)
        if split_name is None or again is None or again.role != split_name.role:
            return folder
        folder = inside[0]
        seen.add(identity(folder))


def _flat(look: FolderTree, folder: Path, classes: set[str]) -> Path | None:
    """Return where a split's pictures are in no class folders; None where there are some."""
    inside = folders_in(folder)
    if not inside and has_pictures(folder):
        return folder
    if not look.full(folder):
        raise DataError(
            f"{printable(folder)}: holds no pictures; add class folders with some, or remove the "
            "folder, and a part of the training images is held out instead"
        )
    known = any(spelling(class_name(one.name)) in classes for one in inside)
    # One folder that is no class: test/images/, or test/unknown/ as other libraries require it.
    if len(inside) == 1 and not known and has_pictures(inside[0]) and not folders_in(inside[0]):
        return inside[0]
    return None


def _unlabelled(look: FolderTree, folder: Path, instead: str) -> str:
    where = argument(folder)
    return (
        f"{look.place(folder)} holds {count(look.pictures(folder), 'picture')} in no class "
        f"folders, so their classes are not known: they are not the test images, {instead}; "
        f"`seewhy predict RUN {where}` predicts them."
    )


def _beside(look: FolderTree, folder: Path) -> str:
    number = look.pictures(folder)
    split_name = read_name(folder.name)
    hint = ""
    if number and split_name is not None and split_name.role == "unlabelled":
        hint = f"; `seewhy predict RUN {argument(folder)}` predicts them"
    return (
        f"{name_of(folder)} ({count(number, 'picture')}) is beside the split folders and was not "
        f"read{hint}."
    )


def _no_classes(look: FolderTree, folder: Path) -> str:
    number = look.pictures(folder)
    holds = f"{count(number, 'picture')}, but no class folders" if number else "no pictures"
    return (
        f"{printable(folder)}: is named like a split and holds {holds}; expected "
        f"{shown(folder.name)}/CLASS/IMAGE.jpg (if the folders in {printable(look.root)} are "
        f"classes: {AS_CLASSES})"
    )


def _with_test(look: FolderTree, layout: FolderLayout, test: Path, sure: bool) -> FolderLayout:
    """Add the folder that ``--test`` names; it is used, or refused, never left out."""
    above = {identity(place) for place in test.resolve().parents}
    inside = FolderTree(test, frozenset(above))
    classes = [class_name(one.name) for one in layout.parts[0].classes]
    folder = _unwrapped(test)
    found = inside.classes(folder)
    if not found:
        number = inside.pictures(test)
        holds = f"{count(number, 'picture')}, but no class folders" if number else "no pictures"
        how = f"; `seewhy predict RUN {argument(test)}` predicts them" if number else ""
        raise DataError(
            f"--test {printable(test)}: holds {holds}, so there is nothing to test with; expected "
            f"CLASS/IMAGE.jpg with the classes of {printable(look.root)} "
            f"({some([repr(name) for name in classes])}){how}"
        )
    if divides(found):
        raise DataError(
            f"--test {printable(test)}: is divided itself, into {names_of(found)}; name the one "
            "folder whose images are the test images"
        )
    if not sure:
        refuse_unclear(inside, folder, found, alone=True, option="--test ")
    parts = tuple(one for one in layout.parts if one.split != "test")
    tested = SplitFolder("test", folder, tuple(folders_in(folder)))
    return replace(layout, parts=(*parts, tested), loose=(*layout.loose, folder))


def _purpose(part: SplitFolder) -> str:
    return _WORDS[part.split] if part.split else "to be divided"
