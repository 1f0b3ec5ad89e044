"""Draws the report of a study: records in, one self-contained HTML file out, with its parts.

It reads only the run directory, so that ``seewhy report`` redraws it anywhere, byte for byte. It
knows no networks and never imports torch.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.explanation.overlay import colour
from seewhy.report.figures import photographs as pictures
from seewhy.report.figures.photographs import PictureStore
from seewhy.report.sections.comparison import comparison_section
from seewhy.report.sections.data import data_section
from seewhy.report.sections.evaluation import evaluation_section
from seewhy.report.sections.explanations import explanation_section
from seewhy.report.sections.failed_steps import MissingResults
from seewhy.report.sections.finetuning_search import finetuning_searches
from seewhy.report.sections.gallery import GalleryBuilder
from seewhy.report.sections.images import embedded, images_payload
from seewhy.report.sections.provenance import provenance_section
from seewhy.report.sections.search import search_section
from seewhy.report.sections.section import ReportInput
from seewhy.report.sections.shortcuts import shortcuts_section
from seewhy.report.sections.summary import summary_section
from seewhy.report.sections.training import training_section
from seewhy.report.text.exports import HEADINGS, write_markdown, write_parts
from seewhy.report.text.tables import cell
from seewhy.runtime.arguments import run_root
from seewhy.storage.atomic_writing import write_text, writing
from seewhy.storage.lock import under_lock
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.summary import Summary
from seewhy.wording import count, share

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("report.css", "images.css")
# One script made of several files, each using those before it.
SCRIPTS = ("images.js", "tiles.js", "viewer.js", "explorer.js", "matrix.js", "report.js")


def build_report(run: RunDirectory, summary: Summary, failures: Failures | None = None) -> Path:
    """Write a study's report from its records, and return the HTML file.

    The contact sheet, every table as CSV and every drawing as SVG are written next to it.

    Parameters
    ----------
    run : RunDirectory
        Holds every record but, perhaps, ``summary.json``, which is written last.
    summary : Summary
    failures : Failures, optional
        Records failures of optional sections; the others are drawn. Default: errors are raised.

    Raises
    ------
    RunError
        Where a record is missing or is not as seewhy writes it, or the report cannot be written.
    """
    study = _read(run, summary)
    store = PictureStore(study.data)
    samples = pictures.samples(study.data)
    page = _sections(study, store, samples, failures)
    # Last: photographs that the page already holds are not stored again.
    images = images_payload(study, store)
    shown = {**images, "shown": len(images["ids"])}
    with _part(failures, "the contact sheet"), writing(run.data.contact_sheet_path) as part:
        pictures.write_contact_sheet(part, study.data.classes, samples)
    with _part(failures, "tables and figures as files"):
        write_parts(run, page, _joined(STYLES))
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(page, store=store, images=shown, images_data=embedded(images), **_assets())
    )
    write_text(run.report.path, html)
    return run.report.path


@under_lock
def redraw_report(root: Path | str) -> Path:
    """Draw a finished study's report again from its records alone, and return the HTML file.

    Raises
    ------
    RunError
        Where there is no finished study, or a record is missing or damaged.

    Examples
    --------
    >>> from seewhy import redraw_report
    >>> redraw_report("runs/photos").as_posix()
    'runs/photos/report/index.html'
    """
    run = RunDirectory.open(run_root(root))
    summary = run.summary.read()
    summary.failed = [one for one in summary.failed if one.step != "report"]
    path = build_report(run, summary)
    run.summary.remove_failed(("report",))
    return path


@under_lock
def write_as_markdown(root: Path | str) -> Path:
    """Write a finished study's report as Markdown, ``report/report.md``, and return its path.

    Its tables and drawings are written beside it.

    Raises
    ------
    RunError
        Where there is no finished study, or a record is missing or damaged.
    """
    run = RunDirectory.open(run_root(root))
    study = _read(run, run.summary.read())
    page = _sections(study, PictureStore(study.data), pictures.samples(study.data))
    write_parts(run, page, _joined(STYLES))
    return write_markdown(run, page)


def _sections(
    study: ReportInput,
    store: PictureStore,
    samples: Sequence[Sequence[NDArray[np.uint8]]],
    failures: Failures | None = None,
) -> dict[str, Any]:
    """Return the values of every section; a section that failed has none."""
    records, names = list(study.records.values()), list(study.names.values())
    gallery = GalleryBuilder(study.data, records, names, store)
    page: dict[str, Any] = {
        "study": study.summary,
        "missing": MissingResults(study),
        "several": len(study.records) > 1,
        "summary": summary_section(study, gallery),
        "data": data_section(study, samples, store),
    }
    optional: dict[str, Callable[[], Any]] = {
        "search": lambda: {**search_section(study), "finetuning": finetuning_searches(study)},
        "training": lambda: training_section(study),
        "evaluation": lambda: evaluation_section(study),
        "comparison": lambda: comparison_section(study, gallery),
        "explanations": lambda: explanation_section(study, gallery),
        "shortcuts": lambda: shortcuts_section(study),
        "provenance": lambda: provenance_section(study),
    }
    undrawn: dict[str, str] = {}
    for name, draw in optional.items():
        page[name] = {}
        before = len(failures.found) if failures else 0
        with _part(failures, f"the section {HEADINGS[name]}"):
            page[name] = draw()
        if failures and len(failures.found) > before:
            undrawn[name] = failures.found[-1].reason
    return {**page, "undrawn": undrawn, "headings": HEADINGS}


def _part(failures: Failures | None, part: str) -> AbstractContextManager[None]:
    """Return the context in which a part is drawn: its failure is recorded, or raised."""
    return failures.optional("report", part=part) if failures else nullcontext()


def _read(run: RunDirectory, summary: Summary) -> ReportInput:
    classes = summary.data.classes
    try:
        config = (run.root / "config.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{run.root / 'config.toml'}: cannot be read ({error})") from error
    return ReportInput(
        run=run,
        summary=summary,
        data=run.data.read(),
        records={slug: run.backbones.read(slug, classes) for slug in summary.backbones},
        provenance=run.provenance.read(),
        config=config,
        evaluations={slug: run.evaluation.read(slug) for slug in summary.backbones},
        imbalances={slug: run.imbalance.read(slug) for slug in summary.backbones},
        breakdowns={slug: run.breakdown.read(slug) for slug in summary.backbones},
        localisations={slug: run.localisation.read(slug) for slug in summary.backbones},
        mirrors={slug: run.mirror.read(slug) for slug in summary.backbones},
        ensemble=run.ensemble.read(),
        comparison=run.evaluation.read_comparison(),
        findings=run.data.read_checks().findings,
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(share=share, count=count, cell=cell)
    return environment


def _joined(names: Sequence[str]) -> str:
    """Return the texts of several templates as one."""
    return "\n".join((TEMPLATES / name).read_text("utf-8") for name in names)


def _assets() -> dict[str, object]:
    """Return style and script, and the hash by which the page allows only this script."""
    script = f'(() => {{\n"use strict";\n{_joined(SCRIPTS)}}})();'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    ramp = colour(np.linspace(0, 1, 12))
    stops = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in ramp.tolist())
    return {
        "style": Markup(_joined(STYLES)),
        "script": Markup(script),
        "script_digest": digest,
        "ramp": f"linear-gradient(90deg, {stops})",
    }
