"""sources.csv: the files that a study was made of, as they were when it began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from seewhy.errors import RunError
from seewhy.storage.csv_files import CsvTable, read_rows, write_table


@dataclass(frozen=True)
class SourceFile:
    """One file that a study was made of.

    Attributes
    ----------
    part : str
        ``data``, or ``backbone.K`` for the weights of the configuration's backbone K.
    name : str
        Its name within its part: an image's place in its folder.
    label, split : str
        What its place says of an image; else empty.
    size, modified : int
        Bytes, and nanoseconds since 1970; -1 where it could not be read.
    sha256 : str
        Of its content, hexadecimal; empty where it could not be read.
    """

    part: str
    name: str
    label: str
    split: str
    size: int
    modified: int
    sha256: str


_HEADER = tuple(field.name for field in fields(SourceFile))


def write(path: Path, files: Iterable[SourceFile]) -> None:
    """Write sources.csv, a line a file."""
    write_table(path, CsvTable(_HEADER, map(astuple, files)))


def read(path: Path) -> tuple[SourceFile, ...]:
    """Read sources.csv.

    Raises
    ------
    RunError
        Where it is damaged.
    """
    try:
        return tuple(
            SourceFile(**{**row, "size": int(row["size"]), "modified": int(row["modified"])})  # type: ignore[arg-type]
            for row in read_rows(path)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is not as seewhy writes it ({error})") from error
