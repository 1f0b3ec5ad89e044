"""Folders with two meanings, refused: splits that may be classes, classes that may be splits.

Each refusal says what was seen and how the folders have to be named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from seewhy.data.sources.class_names import argument, class_name, printable, spelling
from seewhy.data.sources.folder_tree import FolderTree, name_of, names_of
from seewhy.data.sources.split_names import (
    Role,
    SplitName,
    is_hardly_a_class,
    is_numbered_part,
    read_name,
)
from seewhy.data.sources.walking import folders_in, has_pictures, identity
from seewhy.errors import DataError
from seewhy.wording import count, some

AS_CLASSES = "--set data.top_folders=classes"
AS_SPLITS = "--set data.top_folders=splits"


def refuse_unclear(
    look: FolderTree, place: Path, tops: list[Path], alone: bool, option: str = ""
) -> None:
    """Refuse class folders `tops` in the folder `place` that may be something else.

    `alone`: nothing says that `place` holds classes, as its own name in a split would; `option` is
    what named `place`.
    """
    full = [folder for folder in tops if look.full(folder)]
    if alone and not option:
        _refuse_wrapper(look, place, tops)
    _refuse_splits_within(look, place, full, option)
    if not alone and divides(full):
        raise DataError(
            f"{printable(place)}: is a split by its name and divided once more, into "
            f"{names_of(full)}; expected class folders"
        )
    if alone:
        _refuse_stray_splits(look, place, full, option)
    _refuse_same_inside(look, place, full, option, AS_CLASSES if alone else AS_SPLITS)


def _refuse_wrapper(look: FolderTree, place: Path, tops: list[Path]) -> None:
    """Refuse a single folder, as a zip file leaves it, and say what is inside."""
    if len(tops) != 1 or has_pictures(place):
        return
    inner, inside, seen = tops[0], folders_in(tops[0]), {identity(place)}
    while len(inside) == 1 and not has_pictures(inner) and identity(inner) not in seen:
        seen.add(identity(inner))
        inner, inside = inside[0], folders_in(inside[0])
    if len(inside) < 2 or has_pictures(inner):
        return
    raise DataError(
        f"{printable(place)}: holds the single folder {name_of(tops[0])}, and a study needs at "
        f"least two classes; {look.place(inner)} holds {count(len(inside), 'folder')} "
        f"({names_of(inside)}): name {argument(inner)} as the source"
    )


def _refuse_splits_within(look: FolderTree, place: Path, tops: list[Path], option: str) -> None:
    """Refuse ``CLASS/train/``, and a data set of its own beside class folders."""
    divided = [folder for folder in tops if divides(look.classes(folder))]
    if not divided:
        return
    parts = names_of([one for one in look.classes(divided[0]) if read_name(one.name)])
    if len(divided) == len(tops) > 1:
        raise DataError(
            f"{option}{printable(place)}: each of its {len(tops)} folders ({names_of(tops)}) is "
            f"divided into {parts}; expected the splits first: train/CLASS/IMAGE.jpg, "
            "test/CLASS/IMAGE.jpg"
        )
    raise DataError(
        f"{option}{printable(place)}: {name_of(divided[0])} is divided into {parts}; name "
        f"{argument(divided[0])} as the source, or take it out of the class folders"
    )


def divides(folders: list[Path]) -> bool:
    """Tell folders whose names divide a data set."""
    return any(map(is_pair, by_stem(folders).values()))


def by_stem(folders: list[Path]) -> dict[tuple[str, ...], list[tuple[Path, Role]]]:
    """Return the folders whose names name a split, by the other words in their names."""
    stems: dict[tuple[str, ...], list[tuple[Path, Role]]] = defaultdict(list)
    for folder in folders:
        split_name = read_name(folder.name)
        if split_name is not None:
            stems[split_name.stem].append((folder, split_name.role))
    return stems


def _refuse_stray_splits(look: FolderTree, place: Path, tops: list[Path], option: str) -> None:
    """Refuse ``test/`` beside classes, ``train/`` with classes of its own, and flat folds."""
    others = len(tops) > 1
    for folder in tops:
        if others and is_hardly_a_class(folder.name):
            raise DataError(
                f"{option}{printable(place)}: {name_of(folder)} is beside "
                f"{_others(tops, folder)} and is named like a split; put the class folders into "
                f"train/, or name the test images with --test (if it is a class: {AS_CLASSES})"
            )
        split_name = read_name(folder.name)
        if not others or split_name != SplitName("train", ()):
            continue
        deep = len(look.classes(folder)) > 1 and not has_pictures(folder)
        if deep and any(not look.classes(one) for one in tops):
            raise DataError(
                f"{option}{printable(place)}: {name_of(folder)} holds folders of its own "
                f"({names_of(look.classes(folder))}), like a split, and is beside "
                f"{_others(tops, folder)}; name them val/ or test/, or name "
                f"{argument(folder)} as the source (if it is a class: {AS_CLASSES})"
            )
    numbered = others and all(is_numbered_part(folder.name) for folder in tops)
    if numbered and not any(map(look.classes, tops)):
        raise DataError(
            f"{option}{printable(place)}: {names_of(tops)} are named like parts of a data set and "
            f"hold no class folders; expected CLASS/IMAGE.jpg (if they are classes: {AS_CLASSES})"
        )


def _refuse_same_inside(
    look: FolderTree, place: Path, tops: list[Path], option: str, setting: str
) -> None:
    """Refuse folders that hold the same subfolders: parts of one data set, most likely."""
    inside = {folder: look.classes(folder) for folder in tops}
    if len(tops) < 2 or not all(inside.values()) or all(map(has_pictures, tops)):
        return
    shared = _shared(inside.values(), class_name) or _shared(
        inside.values(), lambda name: spelling(class_name(name))
    )
    if not shared:
        return
    first, second = (argument(folder) for folder in tops[:2])
    raise DataError(
        f"{option}{printable(place)}: {names_of(tops)} hold the same folders "
        f"({some(sorted(map(printable, shared)))}), so either may be the classes; if the upper "
        "ones are parts of one data set, name them train/, val/ and test/ (or name two of them: "
        f"{first} --test {second}), or merge them (data.folds makes folds); if the upper ones are "
        f"the classes: {setting}"
    )


def _shared(inside: Iterable[list[Path]], called: Callable[[str], str]) -> list[str]:
    """Return the names that several folders share, where these are most of their names."""
    times = Counter(
        name for folders in inside for name in {called(folder.name) for folder in folders}
    )
    shared = [name for name, number in times.items() if number > 1]
    return shared if len(shared) > 1 and 2 * len(shared) >= len(times) else []


def is_pair(found: list[tuple[Path, Role]]) -> bool:
    """Tell ``train/`` with ``val/`` or ``test/`` beside it."""
    roles = {role for _, role in found}
    return "train" in roles and bool(roles & {"validation", "test", "eval"})


def _others(tops: list[Path], folder: Path) -> str:
    return names_of([one for one in tops if one != folder])
