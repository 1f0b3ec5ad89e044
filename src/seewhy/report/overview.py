"""The report's opening: the sentences, the one table, one image a class."""

from __future__ import annotations

from seewhy.report.gallery import Gallery
from seewhy.report.reading import best_backbone, headline, score_groups
from seewhy.report.study import Section, Study

HIGHLIGHTS = 8


def summary_section(study: Study, gallery: Gallery) -> Section:
    """Return the sentences, the one table, and one image a class as an opening picture."""
    groups = score_groups(study.summary)
    best = list(study.names).index(best_backbone(study.summary))
    highlights = gallery.surest(best, HIGHLIGHTS)
    return {
        "sentences": headline(study.summary, study.records),
        "groups": groups,
        "paper": any(group.paper_name for group in groups),
        "cifar": bool(study.human),
        "highlights": highlights,
        # On a narrow page: one row of up to five, else two rows.
        "columns": len(highlights) if len(highlights) <= 5 else (len(highlights) + 1) // 2,
        "best": best,
    }
