"""The test performance with intervals, and calibration."""

from __future__ import annotations

from collections.abc import Iterator

from seewhy.report.figures.statistics_figures import reliability
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.evaluation import Evaluation, StageEvaluation
from seewhy.storage.titles import ENSEMBLE_TITLE, MIRRORED_TITLE, STAGE_TITLES


def performance_section(study: ReportInput) -> Section:
    """Return tables of measures with intervals, and of calibration; empty without records."""
    found = {slug: one for slug, one in study.evaluations.items() if one is not None}
    if not found:
        return {}
    any_one = next(iter(found.values()))
    return {
        "table": _measures(study, found),
        "classes": [_classes(study.of(slug), slug, one) for slug, one in found.items()],
        "calibration": _calibration(study, found),
        "diagrams": [_diagram(study.names[slug], slug, one) for slug, one in found.items()],
        "draws": any_one.draws,
        "unscaled": _unscaled(study, found),
    }


def _rows(evaluation: Evaluation) -> list[tuple[str, StageEvaluation]]:
    first = [("Baseline", evaluation.baseline)] if evaluation.baseline else []
    return first + [
        (STAGE_TITLES[s], evaluation.stages[s]) for s in STAGES if s in evaluation.stages
    ]


def _all_rows(
    study: ReportInput, found: dict[str, Evaluation]
) -> Iterator[tuple[str, str, StageEvaluation]]:
    """Yield name, stage and scores of all classifiers, then those of their averages."""
    for slug, one in found.items():
        for stage, part in _rows(one):
            yield study.names[slug], stage, part
        mirror = study.mirrors.get(slug)
        if mirror is not None:
            yield study.names[slug], MIRRORED_TITLE, mirror.scores
    if study.ensemble is not None:
        yield ENSEMBLE_TITLE, STAGE_TITLES["finetuning"], study.ensemble.scores


def _measures(study: ReportInput, found: dict[str, Evaluation]) -> ReportTable:
    top = sorted({k for one in found.values() for _, part in _rows(one) for k in part.top})
    rows: list[tuple[Value, ...]] = []
    for name, stage, part in _all_rows(study, found):
        measures = (part.accuracy, part.precision, part.recall, part.f1)
        rows.append((name, stage, *measures, *(part.top.get(k) for k in top)))
    columns = ("Backbone", "Stage", "Accuracy", "Precision", "Recall", "F1")
    return ReportTable(
        "test-performance-intervals",
        "Test performance with 95 % CI",
        (*columns, *(f"Top {k}" for k in top)),
        tuple(rows),
    )


def _classes(whose: str, slug: str, evaluation: Evaluation) -> ReportTable:
    rows: list[tuple[Value, ...]] = []
    for stage, part in _rows(evaluation):
        for label, scores in part.classes.items():
            cells = (scores.images, scores.predicted, scores.precision, scores.recall, scores.f1)
            rows.append((label, stage, *cells))
    return ReportTable(
        f"classes-{slug}",
        f"Precision, recall and F1 per class{whose}",
        ("Class", "Stage", "Images", "Predictions", "Precision", "Recall", "F1"),
        tuple(rows),
    )


def _calibration(study: ReportInput, found: dict[str, Evaluation]) -> ReportTable:
    rows: list[tuple[Value, ...]] = []
    for name, stage, part in _all_rows(study, found):
        own, scaling = part.calibration, part.temperature
        if own is None:
            continue
        scaled = scaling.scaled if scaling else None
        temperature = scaling.temperature if scaling else None
        rows.append(
            (
                *(name, stage, own.confidence, part.accuracy.value),
                *(own.error, own.error_if_calibrated, own.nll, temperature),
                *(scaled.error if scaled else None, scaled.nll if scaled else None),
            )
        )
    return ReportTable(
        "calibration",
        "Calibration",
        (
            *("Backbone", "Stage", "Mean confidence", "Accuracy", "Calibration error"),
            *("If calibrated", "Negative log-likelihood", "Temperature"),
            *("Calibration error, scaled", "Negative log-likelihood, scaled"),
        ),
        tuple(rows),
    )


def _unscaled(study: ReportInput, found: dict[str, Evaluation]) -> dict[str, list[str]]:
    """Return the classifiers without a temperature, by reason."""
    missing: dict[str, list[str]] = {}
    for slug, one in found.items():
        for stage, part in one.stages.items():
            if part.temperature and part.temperature.skipped:
                where = f"{study.names[slug]} after {STAGE_TITLES[stage].lower()}"
                missing.setdefault(part.temperature.skipped, []).append(where)
    return missing


def _diagram(name: str, slug: str, evaluation: Evaluation) -> Section:
    stages = evaluation.stages
    own = {stage: part.calibration for stage, part in stages.items() if part.calibration}
    scaled = {
        stage: part.temperature.scaled
        for stage, part in stages.items()
        if part.temperature and part.temperature.scaled
    }
    alt = f"Accuracy of {name} against its confidence, after each stage"
    return {"name": name, "figure": reliability(own, scaled, f"reliability-{slug}", alt)}
