"""Tables as CSV and Markdown: the numbers whole, the names never a formula and never markup."""

from __future__ import annotations

import csv
import io

import pytest

from seewhy.report.text.tables import (
    ReportTable,
    as_csv,
    as_markdown,
    cell,
    found_in,
)
from seewhy.statistics.bootstrap import Interval

TABLE = ReportTable(
    "scores",
    "Scores of a|b",
    ("Class", "Images", "Recall", "Accuracy"),
    (("=1+1", 1200, 1 / 3, Interval(value=0.5, low=0.25, high=0.75)), ("-dog\n", -5, None, None)),
)


def _read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_has_whole_numbers_and_intervals_in_three_columns() -> None:
    header, first, second = _read(as_csv(TABLE))
    assert header == ["Class", "Images", "Recall", "Accuracy", "Accuracy, low", "Accuracy, high"]
    assert first == ["'=1+1", "1200", repr(1 / 3), "0.5", "0.25", "0.75"]
    # A negative number is a number; a text that begins like one is not.
    assert second == ["'-dog\n", "-5", "", "", "", ""]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "\n=1"])
def test_no_name_is_a_formula(name: str) -> None:
    table = ReportTable("t", "t", (name,), ((name,),))
    assert _read(as_csv(table)) == [[f"'{name}"], [f"'{name}"]]


def test_an_ordinary_name_stays_as_it_is() -> None:
    assert _read(as_csv(ReportTable("t", "t", ("a",), (("cat, = dog",),))))[1] == ["cat, = dog"]


def test_markdown() -> None:
    assert as_markdown(TABLE) == (
        "**Scores of a\\|b**\n\n"
        "| Class | Images | Recall | Accuracy |\n"
        "| :--- | ---: | ---: | ---: |\n"
        "| =1+1 | 1,200 | 0.333 | 0.500 (0.250 to 0.750) |\n"
        "| -dog | -5 | – | – |\n"
    )
    hostile = ReportTable("t", "t", ("<script>",), (("[a](b) *c* `d` $e$ &lt;",),))
    assert as_markdown(hostile).splitlines()[2:] == [
        "| \\<script\\> |",
        "| :--- |",
        "| \\[a\\](b) \\*c\\* \\`d\\` \\$e\\$ \\&lt; |",
    ]


def test_cells() -> None:
    assert [cell(value) for value in (None, 0.12345, 1234, "a")] == ["–", "0.123", "1,234", "a"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 cells"):
        ReportTable("t", "t", ("a", "b"), ((1,),))


def test_parts_are_found_in_their_order_wherever_they_stand() -> None:
    first, second = ReportTable("a", "a", ("x",), ()), ReportTable("b", "b", ("x",), ())
    assert list(found_in({"k": [1, {"t": first}], "l": (second, "text")}, ReportTable)) == [
        first,
        second,
    ]
