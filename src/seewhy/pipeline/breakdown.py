"""One backbone's test results by the columns of the images' table, from a run directory."""

from __future__ import annotations

import numpy as np

from seewhy.data.groups import column_groups, units
from seewhy.evaluation.breakdown import (
    association,
    break_down,
    columns_to_show,
    summarise_breakdown,
)
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.predictions import Predictions


def write_breakdown(run: RunDirectory, slug: str, predictions: Predictions, seed: int) -> None:
    """Write breakdown.json where the images have columns to break results down by.

    Where the configuration groups images, intervals are made of whole groups.
    """
    data, wanted = run.data.read(), run.config.read().data.breakdown
    test = data.where("test")
    metadata = {
        name: [cells[i] for i in test] for name, cells in data.metadata.items() if name != "split"
    }
    columns = columns_to_show(metadata, None if wanted == "auto" else wanted)
    if not columns:
        run.breakdown.delete(slug)
        return
    clusters = None
    if data.group_by:
        clusters = units(column_groups(data.metadata, data.group_by, data.source))[test]
    found = []
    for name, cells in columns.items():
        one = break_down(predictions, data.classes, name, cells, clusters, seed)
        everywhere = columns_to_show(data.metadata, [name])[name]
        v = association(everywhere, np.asarray(data.labels))
        found.append(one.model_copy(update={"association": v}))
    run.breakdown.write(slug, summarise_breakdown(found))
