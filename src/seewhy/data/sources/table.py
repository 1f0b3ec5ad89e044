"""A table of pictures and labels as a listing; nothing is decoded here.

It puts together what a file holds (``table_file.py``), what its columns mean
(``table_columns.py``), and where the pictures are.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seewhy.data.sources.class_names import class_name, in_order, printable
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.object_masks import Box, ObjectMasks
from seewhy.data.sources.picture_files import PictureFiles
from seewhy.data.sources.picture_suffixes import picture_suffixes, suffix_of
from seewhy.data.sources.split_names import read_name
from seewhy.data.sources.table_columns import TableColumns, find_columns
from seewhy.data.sources.table_file import Table, read_table
from seewhy.errors import DataError, near_names
from seewhy.storage.schemas.dataset import SetAside, Split
from seewhy.wording import count, some

if TYPE_CHECKING:
    from seewhy.config import DataConfig

# A folder that holds one of these is read as a table.
IN_FOLDERS = ("labels", "metadata")
LONGEST_LABEL = 255
# Tried in this order where a table names pictures without their suffix.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".JPG", ".JPEG", ".PNG")
_ROLES: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}


@dataclass
class _Picture:
    """One picture: where it is, and what its rows say of it."""

    file: Path
    shown: str
    label: str
    split: Split | None
    mask: Path | None
    place: str
    values: Mapping[str, str]
    weight: float
    boxes: list[Box] = field(default_factory=list)


def table_in_folder(folder: Path) -> Path | None:
    """Return the table that describes a folder: ``labels.csv``, ``metadata.csv``, ``.jsonl``, …."""
    for stem in IN_FOLDERS:
        for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    return None


def list_table(
    file: Path, test: Path | None, data: DataConfig, at_least: int | None = None
) -> Listing:
    """List the pictures of a table.

    Parameters
    ----------
    file : Path
        See `seewhy.data.sources.table_file.read_table`.
    test : Path, optional
        A second table, all of whose pictures are for the test.
    data : DataConfig
        Names columns, and the folder that relative paths start from, default the table's own.
    at_least : int, optional
        See `seewhy.data.decoding.picture.decode_image`.

    Returns
    -------
    Listing
        Pictures that are missing and rows without a label are set aside, with their lines.

    Raises
    ------
    DataError
        Where the table cannot be read or its columns are not clear; for a path outside the root, a
        path with two labels, a label that occurs once, a split that is none, a weight that is no
        number of at least 0; where no picture is there.
    """
    pictures: dict[Path, _Picture] = {}
    set_aside: list[SetAside] = []
    notes: list[str] = []
    weighted = False
    for part, split in ((file, None), (test, "test")):
        if part is not None:
            table = read_table(part)
            # Test images need no weights.
            without = split and data.weight not in table.columns
            columns = find_columns(
                table, data.model_copy(update={"weight": None}) if without else data
            )
            weighted |= columns.weight is not None
            rows = _Rows(table, columns, Path(data.root).expanduser() if data.root else part.parent)
            rows.read(pictures, set_aside, "test" if split else None)
            notes += rows.notes()
            if not split:
                rows.refuse_no_weight(pictures.values())
    if not pictures:
        raise DataError(_nothing(file, set_aside))
    found = list(pictures.values())
    _refuse_single(found)
    classes = in_order(one.label for one in found)
    number = {name: k for k, name in enumerate(classes)}
    paths = tuple(one.file for one in found)
    files = PictureFiles(paths, data.max_megapixels, at_least)
    masks = ObjectMasks(
        paths,
        tuple(one.mask for one in found),
        tuple(one.boxes for one in found),
        data.max_megapixels,
    )
    names = dict.fromkeys(name for one in found for name in one.values)
    return Listing(
        source=printable(file) + (f" and {printable(test)}" if test else ""),
        classes=classes,
        paths=tuple(one.shown for one in found),
        labels=np.array([number[one.label] for one in found], dtype=np.int64),
        splits=tuple(one.split for one in found),
        load=files.load,
        load_mask=masks.load if any(one.mask or one.boxes for one in found) else None,
        mask_is_scaled=masks.is_scaled,
        files=paths,
        other_sources=(file, *([test] if test else []), *(one.mask for one in found if one.mask)),
        set_aside=tuple(set_aside),
        notes=tuple(notes),
        deep=files,
        metadata={name: tuple(one.values.get(name, "") for one in found) for name in names},
        weights=np.array([one.weight for one in found]) if weighted else None,
    )


class _Rows:
    """The rows of one table, checked one by one."""

    def __init__(self, table: Table, columns: TableColumns, root: Path) -> None:
        self._table, self._columns = table, columns
        self._root = Path.cwd() / os.path.normpath(root)
        self._metadata = {name: table.columns[name] for name in columns.metadata}
        self._splits = self._read_splits()
        self._files: dict[str, Path | None] = {}

    def read(
        self, pictures: dict[Path, _Picture], set_aside: list[SetAside], split: Split | None
    ) -> None:
        """Add the table's pictures; a row of a picture that is there adds its boxes."""
        table, columns = self._table, self._columns
        labels = table.columns[columns.label]
        for row, cell in enumerate(table.columns[columns.path]):
            label = class_name(labels[row])
            self._check_label(row, label)
            file, reason = self._find(row, cell)
            if file is None or not label:
                reason = reason or "has no label"
                set_aside.append(SetAside(cell or "?", f"{table.place(row)}: {reason}"))
                continue
            there = pictures.get(file)
            if there is None:
                there = pictures[file] = self._picture(row, file, label, split)
            elif there.label != label:
                raise DataError(
                    f"{table.where(row)}: {cell!r} is labelled {label!r}, but {there.label!r} in "
                    f"{there.place}; give each picture one label"
                )
            elif split is not None and there.split != split:
                raise DataError(
                    f"{table.where(row)}: {cell!r} is in the test table and in {there.place}; "
                    "take it out of one"
                )
            elif there.weight != self._weight(row, there.split):
                raise DataError(
                    f"{table.where(row)}: {cell!r} has another weight in {there.place}; give each "
                    "picture one weight"
                )
            there.boxes += self._boxes(row)

    def notes(self) -> list[str]:
        """Say how the columns were understood."""
        columns = self._columns
        uses = [f"{columns.path!r} holds paths", f"{columns.label!r} labels"]
        if self._splits is not None:
            uses.append(f"{columns.split!r} splits")
        if columns.mask:
            uses.append(f"{columns.mask!r} masks")
        if columns.weight:
            uses.append(f"{columns.weight!r} weights in the training loss")
        if columns.boxes:
            uses.append(f"{columns.boxes[0]!r} to {columns.boxes[-1]!r} boxes")
        others = [repr(name) for name in columns.metadata if name != columns.split]
        rest = f"; further columns: {some(others, 8)}" if others else ""
        notes = [f"{printable(self._table.file.name)}: {', '.join(uses)}{rest}."]
        if columns.perhaps_weight:
            name = columns.perhaps_weight
            notes.append(
                f"Column {name!r} does not weight the images; to weight them in training, set "
                f"data.weight={name}."
            )
        return notes

    def refuse_no_weight(self, pictures: Iterable[_Picture]) -> None:
        """Refuse weights of which none is above 0."""
        shown = [one for one in pictures if one.split != "test"]
        if self._columns.weight and shown and not any(one.weight for one in shown):
            raise DataError(
                f"{printable(self._table.file)}, {shown[0].place}: the weights in column "
                f"{self._columns.weight!r} are 0, here and in every other row; expected "
                "some above 0"
            )

    def _picture(self, row: int, file: Path, label: str, split: Split | None) -> _Picture:
        columns, table = self._columns, self._table
        if split is None and self._splits is not None:
            split = self._splits[row]
        mask = table.columns[columns.mask][row] if columns.mask else ""
        return _Picture(
            file=file,
            shown=printable(Path(os.path.relpath(file, self._root)).as_posix()),
            label=label,
            split=split,
            mask=self._inside(row, mask) if mask else None,
            place=table.place(row),
            weight=self._weight(row, split),
            values={name: cells[row] for name, cells in self._metadata.items()},
        )

    def _weight(self, row: int, split: Split | None) -> float:
        """Return a row's weight; 1 without such a column, and where a test image has none."""
        name = self._columns.weight
        cell = self._table.columns[name][row] if name else ""
        if not cell and (name is None or split == "test"):
            return 1.0
        try:
            weight = float(cell)
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise DataError(
                f"{self._table.where(row)}: data.weight: expected a number of at least 0 in column "
                f"{name!r}, but got {printable(cell)!r}"
            )
        return weight

    def _find(self, row: int, cell: str) -> tuple[Path | None, str]:
        """Return the file that a cell names, looked up once, or why there is none."""
        if not cell:
            return None, "has no path"
        if cell not in self._files:
            self._files[cell] = existing_picture(self._inside(row, cell))
        file = self._files[cell]
        return file, "" if file else "there is no such file"

    def _inside(self, row: int, cell: str) -> Path:
        """Return the place that a cell names; refused where it is outside the root."""
        if "\0" in cell:
            raise DataError(f"{self._table.where(row)}: {cell!r} is no path")
        place = Path(os.path.normpath(self._root / native_path(cell)))
        if not place.is_relative_to(self._root):
            raise DataError(
                f"{self._table.where(row)}: {printable(cell)!r} is outside "
                f"{printable(self._root)}; set data.root to a folder that holds all pictures"
            )
        return place

    def _check_label(self, row: int, label: str) -> None:
        if len(label) > LONGEST_LABEL:
            raise DataError(
                f"{self._table.where(row)}: its label has {len(label):,} characters; expected at "
                f"most {LONGEST_LABEL} (choose the column with data.label)"
            )

    def _boxes(self, row: int) -> list[Box]:
        cells = [self._table.columns[name][row] for name in self._columns.boxes]
        if not any(cells):
            return []
        try:
            left, top, right, bottom = (float(cell) for cell in cells)
        except ValueError as error:
            raise DataError(
                f"{self._table.where(row)}: expected four numbers as a box, but got {cells}"
            ) from error
        if not (left < right and top < bottom):
            raise DataError(
                f"{self._table.where(row)}: its box ends before it starts (left {left:g}, top "
                f"{top:g}, right {right:g}, bottom {bottom:g})"
            )
        return [(left, top, right, bottom)]

    def _read_splits(self) -> list[Split | None] | None:
        """Return each row's split; None where there is no such column.

        A column that is only called like one, and holds other words, is metadata.
        """
        name = self._columns.split
        if name is None:
            return None
        cells = self._table.columns[name]
        roles = {cell: _role(cell) for cell in dict.fromkeys(cells)}
        unknown = [cell for cell, role in roles.items() if cell and role is None]
        if unknown and set(unknown) == {cell for cell in roles if cell}:
            return None
        if unknown:
            raise DataError(
                f"{self._table.where(cells.index(unknown[0]))}: the split {unknown[0]!r} is none; "
                "expected train, validation or test (or nothing, to have it drawn)"
            )
        return [roles[cell] for cell in cells]


def _role(cell: str) -> Split | None:
    named = read_name(cell) if cell else None
    if named is None:
        return None
    return "test" if named.role == "eval" else _ROLES.get(named.role)


def native_path(cell: str) -> str:
    """Return a path as this system writes it: tables from Windows have backslashes."""
    windows = os.sep == "/" and "\\" in cell and "/" not in cell
    return cell.replace("\\", "/") if windows else cell


def existing_picture(place: Path) -> Path | None:
    """Return the file that a table names, with its suffix where the table leaves that out."""
    try:
        if place.is_file():
            return place
        if suffix_of(place.name) not in picture_suffixes():
            for suffix in _SUFFIXES:
                file = place.with_name(place.name + suffix)
                if file.is_file():
                    return file
    except OSError:  # a name that is too long, a circle of links
        return None
    return None


def _nothing(file: Path, set_aside: Sequence[SetAside]) -> str:
    first = set_aside[0]
    return (
        f"{printable(file)}: none of its pictures can be used; the first: {first.path!r}, "
        f"{first.reason}; relative paths start from the table's folder, or from data.root"
    )


def _refuse_single(found: Sequence[_Picture]) -> None:
    """Refuse labels that occur once: no class can be made of them, and many are misspelled."""
    numbers = Counter(one.label for one in found)
    single = [one for one in found if numbers[one.label] == 1]
    if not single:
        return
    others = [name for name, number in numbers.items() if number > 1]
    said = [f"{one.label!r} ({one.place})" for one in single]
    near = near_names(single[0].label, others) if len(single) == 1 else ""
    raise DataError(
        f"{count(len(single), 'label occurs', 'labels occur')} once: {some(said, 8)}{near}; "
        "expected several pictures of each class"
    )
