"""The report's section on the data: images per class, data checks, images set aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.report.figures import photographs as pictures
from seewhy.report.figures.photographs import PictureStore
from seewhy.report.sections.data_quality import findings_section
from seewhy.report.sections.section import MOST_ROWS, ReportInput, Section
from seewhy.report.text.tables import ReportTable
from seewhy.storage.schemas.dataset import SPLITS


def data_section(
    study: ReportInput, rows: Sequence[Sequence[NDArray[np.uint8]]], store: PictureStore
) -> Section:
    """Return counts per class and split, samples, the findings of the checks, images set aside."""
    counts = study.data.counts()
    totals = [sum(split[name] for split in counts.values()) for name in study.data.classes]
    most = max([*totals, 1])
    lines = [
        {
            "name": name,
            "counts": {split: counts[split][name] for split in counts},
            "widths": {split: f"{100 * counts[split][name] / most:.2f}%" for split in counts},
            "total": total,
            "samples": pictures.strip(row),
            "shown": len(row),
        }
        for name, total, row in zip(study.data.classes, totals, rows, strict=True)
    ]
    return {
        "lines": lines,
        "tables": _tables(study),
        "findings": findings_section(study, store),
        "totals": {split: sum(counts[split].values()) for split in counts},
        "source": study.data.source,
        "set_aside": study.data.set_aside,
        "height": int(study.data.pixels.shape[1]),
        "width": int(study.data.pixels.shape[2]),
        "cropped": study.findings.cropped if study.findings else 0.0,
        "padded": study.findings.padded if study.findings else 0.0,
        "stretched": study.findings.stretched if study.findings else 1.0,
        "many": len(lines) > MOST_ROWS,
    }


def _tables(study: ReportInput) -> list[ReportTable]:
    counts = study.data.counts()
    tables = [
        ReportTable(
            "images-of-each-class",
            "Images per class",
            ("Class", "Training", "Validation", "Test"),
            tuple((name, *(counts[s][name] for s in SPLITS)) for name in study.data.classes),
        )
    ]
    if study.data.set_aside:
        rows = tuple((item.path, item.reason) for item in study.data.set_aside)
        tables.append(ReportTable("set-aside", "Images set aside", ("Image", "Reason"), rows))
    return tables
