"""A table file as columns of text: CSV, TSV, JSON Lines, Parquet, and JSON of labelling tools.

Delimiter and encoding are found. Every row knows where it stands in its file, so that a message can
name the line. What the columns mean is decided in ``table_columns.py``.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.data.sources.class_names import printable
from seewhy.data.sources.labelling_exports import export_rows
from seewhy.errors import DataError
from seewhy.wording import count

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
# Larger files are refused: a table of a million rows has some 100 MB.
MOST_BYTES = 2 << 30
MOST_COLUMNS = 1000
_DELIMITERS = (",", ";", "\t", "|", " ")
_LOOKED_AT = 20


@dataclass(frozen=True)
class Table:
    """Columns of text, and where each row stands.

    Attributes
    ----------
    file : Path
    columns : dict of str to list of str
        Cells without blanks around them; empty text where nothing is.
    places : list of int
        The line of each row (JSON: its number from 1; Parquet: its row from 1).
    unit : str
        What `places` counts: ``line``, ``entry`` or ``row``.
    has_header : bool
        Whether the file names its columns; else they are ``column 1``, ``column 2``, ….
    """

    file: Path
    columns: dict[str, list[str]]
    places: list[int]
    unit: str
    has_header: bool = True

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        """Return a row's place for a message: ``labels.csv, line 17``."""
        return f"{printable(self.file)}, {self.place(row)}"

    def place(self, row: int) -> str:
        """Return a row's place in its file: ``line 17``."""
        return f"{self.unit} {self.places[row]:,}"


def is_table(path: Path) -> bool:
    """Tell by its suffix whether a file is a table."""
    return path.suffix.lower() in TABLE_SUFFIXES


def read_table(file: Path, fewest_columns: int = 2) -> Table:
    """Read a table.

    Parameters
    ----------
    file : Path
        ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, ``.json`` or ``.parquet``.
    fewest_columns : int, default 2
        1 where a column of paths is enough; only text tables are checked for it.

    Returns
    -------
    Table
        With at least one row.

    Raises
    ------
    DataError
        Where the file cannot be read, or is no table; with the line where there is one.
    """
    suffix = file.suffix.lower()
    if suffix in (".parquet", ".pq"):
        table = _parquet(file)
    elif suffix in (".jsonl", ".ndjson"):
        table = _from_records(file, _json_lines(file), "line")
    elif suffix == ".json":
        table = _from_records(file, enumerate(_json_entries(file), start=1), "entry")
    else:
        table = _delimited(file, fewest_columns)
    if not len(table):
        raise DataError(f"{printable(file)}: holds no rows; expected a row per image")
    return table


def _text(file: Path) -> str:
    """Return a file's text: UTF-8 or UTF-16 by its first bytes, else Windows' western encoding."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DataError(
                f"{printable(file)}: is larger than {MOST_BYTES >> 30} GiB; expected a table "
                "with a row per image"
            )
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{printable(file)}: cannot be read ({error.strerror})") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{printable(file)}: is neither UTF-8, UTF-16 nor Windows-1252 text")


def _delimited(file: Path, fewest_columns: int) -> Table:
    text = _text(file)
    delimiter = "\t" if file.suffix.lower() == ".tsv" else _delimiter(text, fewest_columns)
    rows = _rows(file, text, delimiter)
    first = next(rows, None)
    if first is None:
        return Table(file, {}, [], "line")
    header = not _is_data(first[1])
    names = first[1] if header else [f"column {k + 1}" for k in range(len(first[1]))]
    _check_names(file, names, fewest_columns)
    columns: list[list[str]] = [[] for _ in names]
    places: list[int] = []
    for line, cells in rows if header else (row for part in ([first], rows) for row in part):
        if len(cells) != len(names):
            raise DataError(
                f"{printable(file)}, line {line:,}: holds {count(len(cells), 'cell')}, but the "
                f"first line has {len(names):,}"
            )
        places.append(line)
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    return Table(file, dict(zip(names, columns, strict=True)), places, "line", header)


def _rows(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row that is not empty."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=False
    )
    line = 1
    try:
        for cells in reader:
            if delimiter == " " and cells and not cells[-1]:
                cells = cells[:-1]
            if any(cell.strip() for cell in cells):
                yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{printable(file)}, line {line:,}: is no CSV ({error})") from error


def _delimiter(text: str, fewest_columns: int) -> str:
    """Return the delimiter that divides the first rows into equally many cells, the most."""
    head = text[: 1 << 16].splitlines()[:_LOOKED_AT]
    best, score = ",", (False, 1)
    for delimiter in _DELIMITERS:
        try:
            rows = [
                row for row in csv.reader(head, delimiter=delimiter, skipinitialspace=True) if row
            ]
        except csv.Error:
            continue
        # A single column may hold names with blanks.
        if delimiter == " " and fewest_columns == 1 and not _is_data(rows[-1][:1] if rows else ()):
            continue
        widths = {len(row) for row in rows}
        found = (len(widths) == 1, min(widths, default=1))
        # A blank divides sentences too: it is taken where nothing else divides.
        if found[1] > 1 and (found > score) and not (delimiter == " " and score[1] > 1):
            best, score = delimiter, found
    return best


def _is_data(cells: Sequence[str]) -> bool:
    """Tell whether a first row is data: a cell of it ends like a picture's name."""
    from seewhy.data.sources.picture_suffixes import picture_suffixes, suffix_of

    return any(suffix_of(cell) in picture_suffixes() for cell in cells)


def _check_names(file: Path, names: Sequence[str], fewest: int) -> None:
    where = printable(file)
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{where}: has {len(names):,} columns; expected at most {MOST_COLUMNS:,}")
    if len(names) < fewest:
        raise DataError(
            f"{where}: has the single column {names[0]!r}; expected a column of paths and one of "
            "labels, divided by commas, semicolons or tabs"
        )
    for k, name in enumerate(names):
        if name in names[:k]:
            raise DataError(f"{where}: has two columns named {name!r}; rename one")


def _json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    for line, text in enumerate(_text(file).splitlines(), start=1):
        if text.strip():
            try:
                yield line, json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{printable(file)}, line {line:,}: is no JSON ({error})"
                ) from error


def _json_entries(file: Path) -> list[Any]:
    try:
        content = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(file)}: is no JSON ({error})") from error
    return export_rows(content, file)


def _from_records(file: Path, records: Iterable[tuple[int, Any]], unit: str) -> Table:
    """Put dictionaries into columns; a key that a record lacks is an empty cell."""
    columns: dict[str, list[str]] = {}
    places: list[int] = []
    for place, record in records:
        if not isinstance(record, dict):
            raise DataError(
                f"{printable(file)}, {unit} {place:,}: expected an object with a path and a label"
            )
        for name, value in record.items():
            if isinstance(value, (dict, list)):
                continue  # nested values, such as boxes of detection data sets, are no column
            if name not in columns:
                if len(columns) >= MOST_COLUMNS:
                    raise DataError(f"{printable(file)}: has more than {MOST_COLUMNS:,} columns")
                columns[name] = [""] * len(places)
            columns[name].append(_cell(value))
        places.append(place)
        for column in columns.values():
            if len(column) < len(places):
                column.append("")
    return Table(file, columns, places, unit)


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _parquet(file: Path) -> Table:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{printable(file)}: reading Parquet needs pyarrow; install seewhy[parquet]"
        ) from error
    try:
        frame = pq.read_table(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{printable(file)}: cannot be read as Parquet ({error})") from error
    columns = {
        name: [_cell(value) for value in frame.column(name).to_pylist()]
        for name, kind in zip(frame.schema.names, frame.schema.types, strict=True)
        if not str(kind).startswith(("struct", "list", "large_list", "map", "binary"))
    }
    return Table(file, columns, list(range(1, frame.num_rows + 1)), "row")
