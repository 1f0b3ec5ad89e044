"""A table of the report as plain values, and its forms: cells of the page, CSV, Markdown.

Every `ReportTable` in a section's values is also written to a file of its own, under its name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from seewhy.statistics.bootstrap import Interval
from seewhy.wording import share

Part = TypeVar("Part")
# A spreadsheet reads such a text as a formula; an apostrophe before it keeps it text.
_FORMULA = re.compile(r"^\s*[=+\-@\t\r]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$&])")


Value = str | int | float | Interval | None


@dataclass(frozen=True)
class ReportTable:
    """A table; its file's `name` has letters, digits, dot, hyphen and underscore.

    The first cell of each row names the row. None is shown as missing.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.name}: expected {len(self.columns)} cells, but got {wrong[0]}")

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds nothing but numbers, where it holds anything."""
        return tuple(
            all(row[k] is None or _is_number(row[k]) for row in self.rows)
            for k in range(len(self.columns))
        )


def found_in(values: Any, kind: type[Part]) -> Iterator[Part]:
    """Yield the parts of one kind in a section's values, in their order."""
    if isinstance(values, kind):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from found_in(value, kind)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from found_in(value, kind)


def cell(value: Value) -> str:
    """Return a cell as the page and Markdown show it: shares with three digits."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return share(value, 3).replace("-", "−")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Interval):
        return f"{cell(value.value)} ({cell(value.low)} to {cell(value.high)})"
    return value


def as_csv(table: ReportTable) -> str:
    """Return a table as CSV: numbers whole, an interval in three columns, no formulas."""
    bounded = [
        any(isinstance(row[k], Interval) for row in table.rows) for k in range(len(table.columns))
    ]
    header: list[str] = []
    for title, has_bounds in zip(table.columns, bounded, strict=True):
        header += [title, f"{title}, low", f"{title}, high"] if has_bounds else [title]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow([_safe(title) for title in header])
    for row in table.rows:
        line: list[object] = []
        for value, has_bounds in zip(row, bounded, strict=True):
            if isinstance(value, Interval):
                line += [value.value, value.low, value.high]
            else:
                line += [_safe(value), "", ""] if has_bounds else [_safe(value)]
        writer.writerow(line)
    return stream.getvalue()


def as_markdown(table: ReportTable) -> str:
    """Return a table as Markdown, its title above it."""
    lines: Sequence[Sequence[str]] = [
        [markdown_text(title) for title in table.columns],
        ["---:" if is_number else ":---" for is_number in table.numeric],
        *([markdown_text(cell(value)) for value in row] for row in table.rows),
    ]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"**{markdown_text(table.title)}**\n\n{body}\n"


def markdown_text(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float | Interval)


def _safe(value: str | int | float | None) -> str | int | float:
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
