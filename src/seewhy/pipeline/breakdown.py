"""One backbone's test results by the columns of the images' table, from a run directory."""

from __future__ import annotations

import numpy as np

from seewhy.evaluation.breakdown import (
    association,
    break_down,
    columns_to_show,
    summarise_breakdown,
)
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.predictions import Predictions


def write_breakdown(run: RunDirectory, slug: str, predictions: Predictions, seed: int) -> None:
    """Write breakdown.json where the images have columns to break results down by."""
    data, wanted = run.data.read(), run.config.read().data.breakdown
    test = data.where("test")
    metadata = {
        name: [cells[i] for i in test] for name, cells in data.metadata.items() if name != "split"
    }
    columns = columns_to_show(metadata, None if wanted == "auto" else wanted)
    if not columns:
        run.breakdown.delete(slug)
        return
    found = []
    for name, cells in columns.items():
        one = break_down(predictions, data.classes, name, cells, seed)
        everywhere = columns_to_show(data.metadata, [name])[name]
        v = association(everywhere, np.asarray(data.labels))
        found.append(one.model_copy(update={"association": v}))
    run.breakdown.write(slug, summarise_breakdown(found))
