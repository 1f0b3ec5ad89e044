"""``seewhy compare``: the classifiers of several studies with the same test images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from seewhy.cli.console import out, print_message, print_result
from seewhy.errors import SeewhyError

if TYPE_CHECKING:
    from seewhy.report.text.tables import ReportTable

EXAMPLES = (
    "seewhy compare runs/vgg16 runs/resnet50",
    "seewhy compare runs/a runs/b runs/c --out compared.json",
    "seewhy compare runs/a runs/b --format md > compared.md",
)


def compare(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Two or more run directories.")
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.json", help="JSON file for the comparison."),
    ] = None,
    output_format: Annotated[
        str, typer.Option("--format", help="text, or md: Markdown to paste into a paper.")
    ] = "text",
) -> None:
    """Compare the classifiers of finished studies that have the same test images.

    Prints accuracies with confidence intervals, a test per pair (McNemar's; of whole groups where
    images are grouped), and how well predictions and maps agree.
    """
    if output_format not in ("text", "md"):
        raise SeewhyError(f"--format: expected text or md, but got {output_format!r}")
    from seewhy.pipeline.comparison import compare_studies
    from seewhy.report.text.tables import as_markdown, markdown_text

    compared = compare_studies(run_dirs, out_file)
    is_markdown = output_format == "md"
    for table in compared.tables:
        if is_markdown:
            print_result(as_markdown(table))
        else:
            out.print(_terminal_table(table))
    for sentence in compared.comparison.sentences:
        print_result(f"- {markdown_text(sentence.text)}" if is_markdown else sentence.text)
    if out_file:
        print_message(f"written: {out_file}")


def _terminal_table(table: ReportTable) -> Table:
    """Return a table of the report as one for the terminal."""
    from seewhy.report.text.tables import cell

    shown = Table(title=table.title)
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*(escape(cell(value)) for value in row))
    return shown
