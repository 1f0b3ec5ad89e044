"""The part of the evaluation on unequal classes: measures, curves and an operating point."""

from __future__ import annotations

from seewhy.evaluation.operating_point import DEFAULT_THRESHOLD, ranking_curves
from seewhy.report.figures.ranking_figures import roc_and_precision
from seewhy.report.figures.svg import SvgFigure
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
OF_ORDERED = {
    "quadratic_kappa": "Quadratic kappa",
    "mean_absolute_error": "Mean absolute error",
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
        "order": _order(any_one),
        "points": [
            {"name": study.names[slug], "sentence": one.operating_point.sentence}
            for slug, one in found.items()
            if one.operating_point is not None
        ],
        "thresholds": _thresholds(study, found),
        "curves": [
            {"name": study.names[slug], "figure": figure}
            for slug, one in found.items()
            if (figure := _curves(study, slug, one)) is not None
        ],
    }


def _positive(one: Imbalance) -> str:
    if one.positive is None:
        return ""
    return (
        f"The positive class is {one.positive!r}"
        f"{'' if one.positive_was_named else ', which has fewer training images'}: sensitivity is "
        "its recall, specificity the recall of the other class."
    )


def _thresholds(study: ReportInput, found: dict[str, Imbalance]) -> ReportTable | None:
    """Return the table of what 0.5 and the chosen thresholds give on the test images."""
    rows: list[tuple[Value, ...]] = []
    for slug, one in found.items():
        point = one.operating_point
        if point is None:
            continue
        for threshold, rates in (
            (DEFAULT_THRESHOLD, point.usual),
            (point.threshold, point.chosen),
        ):
            if rates is not None:
                three = (rates.sensitivity, rates.specificity, rates.precision)
                rows.append((study.names[slug], threshold, *three))
    if not rows:
        return None
    return ReportTable(
        "operating-point",
        "Operating point of the fine-tuned classifier, with 95 % CI",
        ("Backbone", "Threshold", "Sensitivity", "Specificity", "Precision"),
        tuple(rows),
    )


def _curves(study: ReportInput, slug: str, one: Imbalance) -> SvgFigure | None:
    """Return the curves of two classes; None where the test images do not define them."""
    if one.positive is None:
        return None
    positive = study.data.classes.index(one.positive)
    found = {
        stage: curves
        for stage in STAGES
        if (curves := ranking_curves(study.records[slug].predictions[stage], positive)) is not None
    }
    if not found:
        return None
    point = one.operating_point.chosen if one.operating_point else None
    alt = f"ROC and precision-recall curves of {study.names[slug]} for class {one.positive}"
    return roc_and_precision(found, point, f"ranking-curves-{slug}", alt)


def _order(one: Imbalance) -> str:
    if one.order is None:
        return ""
    return (
        f"The classes are ordered: {', '.join(one.order)}. Quadratic kappa weighs an error by the "
        "square of its distance, and the mean absolute error is the mean distance, in classes."
    )


def _rows(one: Imbalance) -> list[tuple[str, ImbalanceScores]]:
    first = [("Baseline", one.baseline)] if one.baseline else []
    return first + [(STAGE_TITLES[s], one.stages[s]) for s in STAGES if s in one.stages]


def _measures(study: ReportInput, found: dict[str, Imbalance]) -> ReportTable:
    shown = dict(MEASURES)
    if any(one.positive is not None for one in found.values()):
        shown |= OF_TWO
    if any(one.order for one in found.values()):
        shown |= OF_ORDERED
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
