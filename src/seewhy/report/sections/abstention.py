"""The part of the evaluation on abstention: threshold, coverage, accuracy of what is kept."""

from __future__ import annotations

from seewhy.report.figures.statistics_figures import risk_coverage_curves
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.abstention import Abstention
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.titles import STAGE_TITLES


def abstention_section(study: ReportInput) -> Section:
    """Return a table, a curve per backbone and what is missing; empty without thresholds."""
    read = {slug: study.run.abstention.read(slug) for slug in study.names}
    found = {slug: one for slug, one in read.items() if one is not None}
    if not found:
        return {}
    return {
        "error": next(iter(found.values())).error,
        "table": _table(study, found),
        "figures": [_figure(study.names[slug], slug, one) for slug, one in found.items()],
        "missing": [
            f"No threshold for {study.names[slug]} after {STAGE_TITLES[stage].lower()}: "
            f"{part.skipped}"
            for slug, one in found.items()
            for stage, part in one.stages.items()
            if part.skipped
        ],
    }


def _table(study: ReportInput, found: dict[str, Abstention]) -> ReportTable:
    rows: list[tuple[Value, ...]] = []
    for slug, one in found.items():
        for stage in STAGES:
            part = one.stages.get(stage)
            if part is None:
                continue
            known, test = part.validation, part.test
            rows.append(
                (
                    *(study.names[slug], STAGE_TITLES[stage], part.threshold),
                    *((known.coverage, known.accuracy) if known else (None, None)),
                    *((test.kept, test.coverage, test.accuracy) if test else (None,) * 3),
                    *(part.curve[-1].risk, part.area),
                )
            )
    return ReportTable(
        "abstention",
        "Abstention",
        (
            *("Backbone", "Stage", "Threshold", "Coverage, validation"),
            *("Accuracy of the kept, validation", "Images kept, test", "Coverage, test"),
            *("Accuracy of the kept, test", "Error of all, test", "Area under the curve"),
        ),
        tuple(rows),
    )


def _figure(name: str, slug: str, found: Abstention) -> Section:
    alt = (
        f"Error rate of the kept test images of {name} against coverage, per stage; the table "
        "above has the thresholds"
    )
    drawn = risk_coverage_curves(found.stages, found.error, f"risk-coverage-{slug}", alt)
    return {"name": name, "figure": drawn}
