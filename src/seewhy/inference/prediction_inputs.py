"""Which pictures are to be predicted, in the order in which they were given.

Pictures are named one by one, by folders, or by the rows of tables. Nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seewhy.data.sources.class_names import printable
from seewhy.data.sources.folder import list_pictures
from seewhy.data.sources.table import existing_picture, native_path
from seewhy.data.sources.table_columns import path_column
from seewhy.data.sources.table_file import Table, is_table, read_table
from seewhy.errors import DataError


@dataclass(frozen=True)
class GivenPicture:
    """A picture to predict.

    Attributes
    ----------
    path : Path
    shown : str
        Its path for people and for CSV files; in a table, the cell that names it.
    error : str
        Why it cannot be read, where that is known; else empty.
    table, row : Table and int, optional
        The row that names it.
    """

    path: Path
    shown: str
    error: str = ""
    table: Table | None = None
    row: int = -1

    def cell(self, column: str) -> str:
        """Return a cell of the picture's row; empty where there is none."""
        cells = self.table.columns.get(column) if self.table else None
        return "" if cells is None else cells[self.row]


@dataclass(frozen=True)
class GivenPictures:
    """All pictures to predict, and the further columns of their tables, in order."""

    pictures: Sequence[GivenPicture]
    columns: tuple[str, ...] = ()
    tables: tuple[Path, ...] = ()


def list_given(
    paths: Sequence[Path],
    without: Path | None = None,
    column: str | None = None,
    root: Path | None = None,
) -> GivenPictures:
    """List the pictures that were named, those below folders, and those in tables.

    Parameters
    ----------
    paths : sequence of Path
        Picture files, folders, and tables as `read_table` reads them.
    without : Path, optional
        A folder that is not searched.
    column : str, optional
        The tables' column of paths; default: found by what it holds, else by its name.
    root : Path, optional
        The folder that relative paths in tables start from; default: each table's own.

    Raises
    ------
    DataError
        Where a table cannot be read, or its column of paths is not clear.
    """
    found: list[GivenPicture] = []
    columns: dict[str, None] = {}
    tables: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += _in_folder(path, without)
        elif is_table(path):
            table = read_table(path, fewest_columns=1)
            tables.append(path)
            named = path_column(table, column, "--path-column")
            start = path.parent if root is None else root
            cells = enumerate(table.columns[named])
            found += [_in_row(table, row, cell, start) for row, cell in cells]
            columns |= dict.fromkeys(name for name in table.columns if name != named)
        else:
            found.append(_of_file(path))
    return GivenPictures(found, tuple(columns), tuple(tables))


def _in_folder(folder: Path, without: Path | None) -> list[GivenPicture]:
    try:
        files = list_pictures(folder, without)
    except DataError as error:
        return [GivenPicture(folder, printable(folder), str(error))]
    if not files:
        return [GivenPicture(folder, printable(folder), "the folder holds no picture files")]
    return [_of_file(file) for file in files]


def _of_file(file: Path, shown: str | None = None) -> GivenPicture:
    # A pipe would let its reader wait for ever; what is missing is named by the decoder.
    odd = file.exists() and not file.is_file()
    return GivenPicture(file, shown or printable(file), "is no regular file" if odd else "")


def _in_row(table: Table, row: int, cell: str, root: Path) -> GivenPicture:
    cell = native_path(cell)
    place = root / cell
    shown, error = printable(cell), ""
    if not cell or "\0" in cell:
        error = f"{table.place(row)}: {'has no path' if not cell else 'is no path'}"
    else:
        file = existing_picture(place)
        place, error = file or place, "" if file else f"{table.place(row)}: there is no such file"
    return GivenPicture(place, shown, error, table, row)
