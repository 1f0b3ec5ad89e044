"""The report's opening: the main sentences, one table, one image per class."""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.report.sections.averages import averages_reading
from seewhy.report.sections.breakdown import worst_groups
from seewhy.report.sections.failed_steps import MissingResults
from seewhy.report.sections.gallery import GalleryBuilder
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.sections.shortcuts import warnings
from seewhy.report.text.statements import ScoreGroup, best_backbone, headline, score_groups
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.comparison import Topic

HIGHLIGHTS = 8
# The topics that open the report, and the names of the others.
LEAD: tuple[Topic, ...] = ("ranking", "caution")
TOPICS: dict[Topic, str] = {
    "stages": "Fine-tuning",
    "overfitting": "Overfitting",
    "classes": "Recall",
    "confusions": "Errors",
    "people": "Human accuracy",
    "calibration": "Calibration",
    "agreement": "Agreement",
    "maps": "Maps",
    "folds": "Folds",
}


def summary_section(study: ReportInput, gallery: GalleryBuilder) -> Section:
    """Return the sentences, one table, and one image per class as an opening picture."""
    groups = score_groups(study.summary, study.mirrors, study.ensemble)
    best = list(study.names).index(best_backbone(study.summary))
    highlights = gallery.surest(best, HIGHLIGHTS)
    return {
        "table": _table(groups),
        "sentences": [
            *MissingResults(study).opening(),
            *_lead(study),
            *worst_groups(study.breakdowns.get(best_backbone(study.summary))),
        ],
        "warnings": warnings(study),
        "reading": _reading(study),
        "groups": groups,
        "paper": any(group.paper_name for group in groups),
        "cifar": bool(study.human),
        "highlights": highlights,
        # On a narrow page: one row of up to five, else two rows.
        "columns": len(highlights) if len(highlights) <= 5 else (len(highlights) + 1) // 2,
        "best": best,
    }


def _lead(study: ReportInput) -> list[str]:
    """Return the few sentences at the top of the report."""
    if study.comparison is None:
        return headline(study.summary, study.records)
    return [one.text for one in study.comparison.sentences if one.topic in LEAD]


def _reading(study: ReportInput) -> list[Section]:
    """Return the other sentences, one part per topic."""
    parts: dict[str, Section] = {}
    for one in study.comparison.sentences if study.comparison else ():
        if one.topic not in LEAD:
            topic = TOPICS[one.topic]
            parts.setdefault(topic, {"topic": topic, "sentences": []})["sentences"].append(one.text)
    return [*parts.values(), *averages_reading(study)]


def _table(groups: Sequence[ScoreGroup]) -> ReportTable:
    paper = any(group.paper_name for group in groups)
    columns = ["Backbone", "Stage", "Accuracy", "Precision", "Recall"]
    columns += [f"{name}, paper" for name in columns[2:]] if paper else []
    rows: list[tuple[Value, ...]] = []
    for group in groups:
        for row in group.rows:
            theirs = row.paper
            line = [group.name, row.stage, row.accuracy, row.precision, row.recall]
            if paper:
                line += [theirs.accuracy, theirs.precision, theirs.recall] if theirs else [None] * 3
            rows.append(tuple(line))
    return ReportTable("test-performance", "Test performance", tuple(columns), tuple(rows))
