"""The report's opening: the sentences, the one table, one image a class."""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.report.gallery import Gallery
from seewhy.report.reading import ScoreGroup, best_backbone, headline, score_groups
from seewhy.report.study import Section, Study
from seewhy.report.tables import Table, Value

HIGHLIGHTS = 8


def summary_section(study: Study, gallery: Gallery) -> Section:
    """Return the sentences, the one table, and one image a class as an opening picture."""
    groups = score_groups(study.summary)
    best = list(study.names).index(best_backbone(study.summary))
    highlights = gallery.surest(best, HIGHLIGHTS)
    return {
        "table": _table(groups),
        "sentences": headline(study.summary, study.records),
        "groups": groups,
        "paper": any(group.paper_name for group in groups),
        "cifar": bool(study.human),
        "highlights": highlights,
        # On a narrow page: one row of up to five, else two rows.
        "columns": len(highlights) if len(highlights) <= 5 else (len(highlights) + 1) // 2,
        "best": best,
    }


def _table(groups: Sequence[ScoreGroup]) -> Table:
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
    return Table("test-performance", "Test performance", tuple(columns), tuple(rows))
