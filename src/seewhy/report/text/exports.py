"""Files next to the page: every table as CSV, every drawing as SVG, and a text for pasting.

All of it is drawn from the same values as the page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.report.figures.svg import SvgFigure, standalone
from seewhy.report.text.tables import ReportTable, as_csv, as_markdown, found_in, markdown_text
from seewhy.storage.atomic_writing import write_text, writing
from seewhy.storage.run_directory import RunDirectory

# Sections in the order in which a reader asks, by their names in the page's values.
HEADINGS = {
    "summary": "Result",
    "shortcuts": "Shortcuts",
    "evaluation": "Performance and errors",
    "explanations": "Explanations",
    "comparison": "Comparison",
    "training": "Training",
    "search": "Search",
    "data": "Data",
    "provenance": "Provenance",
}
# Longer tables are linked, not pasted.
MOST_LINES = 30
_PALETTE = re.compile(r"--([a-z0-9-]+):\s*(#[0-9a-f]{6});")


def write_parts(run: RunDirectory, page: Mapping[str, Any], style: str) -> None:
    """Write every table and drawing of the page into ``report/tables`` and ``report/figures``.

    The first colours of the style sheet are those of the light page.
    """
    folder = run.report.path.parent
    for table in found_in(dict(page), ReportTable):
        # CSV has its own line ends, which must stay as they are.
        with writing(folder / "tables" / f"{table.name}.csv") as part:
            part.write_bytes(as_csv(table).encode("utf-8", "replace"))
    colours = palette(style)
    for drawing in found_in(dict(page), SvgFigure):
        write_text(folder / "figures" / f"{drawing.name}.svg", standalone(drawing, colours))


def write_markdown(run: RunDirectory, page: Mapping[str, Any]) -> Path:
    """Write ``report/report.md``: sentences, tables, and links to the drawings of `write_parts`."""
    blocks = [f"# {markdown_text(page['study'].name)}"]
    for key, heading in HEADINGS.items():
        body = _section(page.get(key))
        if body:
            blocks += [f"## {heading}", *body]
    path = run.report.path.with_name("report.md")
    write_text(path, "\n\n".join(blocks) + "\n")
    return path


def palette(style: str) -> dict[str, str]:
    """Return the light page's colours by their CSS variables' names."""
    light = style[: style.index("}")]
    return dict(_PALETTE.findall(light))


def _section(section: Any) -> list[str]:
    """Return the paragraphs, tables and drawings of a section."""
    texts: list[Sequence[str]] = []
    if isinstance(section, dict):
        texts = [section.get("sentences", ()), section.get("warnings", ())]
        texts += [part["sentences"] for part in section.get("reading", ())]
    blocks = [" ".join(map(markdown_text, sentences)) for sentences in texts if sentences]
    for table in found_in(section, ReportTable):
        if len(table.rows) <= MOST_LINES:
            blocks.append(as_markdown(table).rstrip())
        else:
            link = f"[this file](tables/{table.name}.csv)"
            blocks.append(f"{markdown_text(table.title)}: {len(table.rows)} rows in {link}.")
    blocks += [
        f"![{markdown_text(drawing.alt)}](figures/{drawing.name}.svg)"
        for drawing in found_in(section, SvgFigure)
    ]
    return blocks
