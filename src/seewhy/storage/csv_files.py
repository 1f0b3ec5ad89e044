"""Tables as CSV files, written and read; a file that does not fit is refused in one sentence."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.schemas.base import first_problem

Rows = Sequence[Mapping[str, str]]
Value = TypeVar("Value")


class CsvTable(NamedTuple):
    """A header and the lines under it."""

    header: Sequence[str]
    rows: Iterable[Sequence[Any]]


def write_table(path: Path, table: CsvTable) -> None:
    """Write a table as a CSV file, UTF-8."""
    with writing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        # With this ending a name that holds either half of it is quoted.
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(table.header)
        writer.writerows(table.rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file's lines, by their header.

    Raises
    ------
    RunError
        Where it is missing or no CSV.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, strict=True))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error


def read_parsed(path: Path, parse: Callable[[Rows], Value]) -> Value:
    """Read a CSV file's lines and parse them.

    Raises
    ------
    RunError
        Where it is missing, no CSV, or `parse` raises ValueError, KeyError or TypeError.
    """
    rows = read_rows(path)
    try:
        return parse(rows)
    except ValidationError as error:
        raise RunError(f"{path}: is not as seewhy writes it ({first_problem(error)})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: is not as seewhy writes it ({error})") from error
