"""The report's section on the data: what there is of each class, and what was set aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.report import pictures
from seewhy.report.study import MOST_ROWS, Section, Study


def data_section(study: Study, rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Section:
    """Return counts a class and split, samples, and what was set aside."""
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
        "totals": {split: sum(counts[split].values()) for split in counts},
        "source": study.data.source,
        "set_aside": study.data.set_aside,
        "size": int(study.data.pixels.shape[1]),
        "many": len(lines) > MOST_ROWS,
    }
