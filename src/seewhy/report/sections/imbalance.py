"""The part of the evaluation on unequal classes: measures that rare classes count in."""

from __future__ import annotations

from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.imbalance import Imbalance, ImbalanceScores
from seewhy.storage.titles import STAGE_TITLES

# The measures by their fields, in the order of the table's columns.
MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "kappa": "Cohen’s kappa",
    "matthews": "Matthews’ correlation",
}
OF_TWO = {"sensitivity": "Sensitivity", "specificity": "Specificity"}


def imbalance_section(study: ReportInput) -> Section:
    """Return the table of measures and one per backbone and class; empty without records."""
    found = {slug: one for slug, one in study.imbalances.items() if one is not None}
    if not found:
        return {}
    any_one = next(iter(found.values()))
    return {
        "table": _measures(study, found),
        "classes": [_classes(study.of(slug), slug, one) for slug, one in found.items()],
        "draws": any_one.draws,
        "positive": _positive(any_one),
    }


def _positive(one: Imbalance) -> str:
    if one.positive is None:
        return ""
    return (
        f"The positive class is {one.positive!r}, which has fewer training images: sensitivity is "
        "its recall, specificity the recall of the other class."
    )


def _rows(one: Imbalance) -> list[tuple[str, ImbalanceScores]]:
    first = [("Baseline", one.baseline)] if one.baseline else []
    return first + [(STAGE_TITLES[s], one.stages[s]) for s in STAGES if s in one.stages]


def _measures(study: ReportInput, found: dict[str, Imbalance]) -> ReportTable:
    shown = dict(MEASURES)
    if any(one.positive is not None for one in found.values()):
        shown |= OF_TWO
    rows: list[tuple[Value, ...]] = [
        (study.names[slug], stage, *(getattr(part, name) for name in shown))
        for slug, one in found.items()
        for stage, part in _rows(one)
    ]
    return ReportTable(
        "unequal-classes",
        "Measures for unequal classes with 95 % CI",
        ("Backbone", "Stage", *shown.values()),
        tuple(rows),
    )


def _classes(whose: str, slug: str, one: Imbalance) -> ReportTable:
    rows: list[tuple[Value, ...]] = [
        (label, stage, scores.images, scores.auroc, scores.average_precision)
        for stage, part in _rows(one)
        for label, scores in part.classes.items()
    ]
    return ReportTable(
        f"ranking-{slug}",
        f"AUROC and average precision per class{whose}",
        ("Class", "Stage", "Images", "AUROC", "Average precision"),
        tuple(rows),
    )
