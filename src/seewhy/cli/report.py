"""``seewhy report``: the report of a finished study, drawn again."""

from __future__ import annotations

from typing import Annotated

import typer

from seewhy.cli.console import print_result
from seewhy.cli.options import RunArgument
from seewhy.errors import SeewhyError

EXAMPLES = ("seewhy report runs/demo", "seewhy report runs/demo --format md")


def report(
    run_dir: RunArgument,
    output_format: Annotated[
        str, typer.Option("--format", help="html, or md: Markdown to paste into a paper.")
    ] = "html",
) -> None:
    """Redraw a finished study's report from its stored records.

    Also writes its tables (CSV) and figures (SVG).
    """
    from seewhy.report.build import redraw_report, write_as_markdown

    writers = {"html": redraw_report, "md": write_as_markdown}
    if output_format not in writers:
        raise SeewhyError(f"--format: expected html or md, but got {output_format!r}")
    print_result(f"report: {writers[output_format](run_dir)}")
