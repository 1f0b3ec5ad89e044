"""The part of the evaluation on averages of predictions: the ensemble, mirrored images."""

from __future__ import annotations

from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.comparison import ClassifierPair, LogLosses
from seewhy.storage.schemas.evaluation import StageEvaluation
from seewhy.storage.schemas.mirror import Mirror
from seewhy.storage.titles import ENSEMBLE_TITLE


def averages_section(study: ReportInput) -> Section:
    """Return a table of the averages against single predictions; empty without any."""
    rows: list[tuple[Value, ...]] = []
    for slug, mirror in _mirrors(study).items():
        name = study.names[slug]
        rows.append(
            (f"{name}, mirrored", name, *_cells(mirror.scores, mirror.pair, mirror.log_loss))
        )
    found = study.ensemble
    if found is not None:
        best = study.names[found.best] if found.best else None
        rows.append((ENSEMBLE_TITLE, best, *_cells(found.scores, found.pair, found.log_loss)))
    columns = (
        *("Average", "Compared with", "Accuracy", "Difference in accuracy", "Test", "p"),
        *("Log loss", "Difference in log loss"),
    )
    title = "Averages of predictions against a single prediction"
    return {
        "mirrored": bool(_mirrors(study)),
        "ensemble": found is not None,
        "table": ReportTable("averages", title, columns, tuple(rows)) if rows else None,
        "members": _members(study) if found else None,
    }


def averages_reading(study: ReportInput) -> list[Section]:
    """Return a sentence for each average, one part per topic."""
    mirrored = [
        f"{study.names[slug]}: {one.sentence}" if len(study.names) > 1 else one.sentence
        for slug, one in _mirrors(study).items()
    ]
    ensemble = [study.ensemble.sentence] if study.ensemble else []
    parts = (("Mirrored images", mirrored), ("Ensemble", ensemble))
    return [{"topic": topic, "sentences": texts} for topic, texts in parts if texts]


def _mirrors(study: ReportInput) -> dict[str, Mirror]:
    return {slug: one for slug, one in study.mirrors.items() if one is not None}


def _cells(
    scores: StageEvaluation, pair: ClassifierPair | None, losses: LogLosses | None
) -> tuple[Value, ...]:
    if pair is None or losses is None:
        return (scores.accuracy, None, None, None, None, None)
    test = (pair.difference, pair.test, pair.p)
    return (scores.accuracy, *test, losses.first, losses.difference)


def _members(study: ReportInput) -> ReportTable | None:
    if study.ensemble is None:
        return None
    rows = [
        (study.names[one.backbone], one.weight, one.temperature) for one in study.ensemble.members
    ]
    columns = ("Backbone", "Weight", "Temperature")
    return ReportTable("ensemble-members", "Members of the ensemble", columns, tuple(rows))
