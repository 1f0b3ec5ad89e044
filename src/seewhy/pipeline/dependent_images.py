"""Which test images depend on each other, for the intervals and tests of their results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seewhy.data.groups import column_groups, units
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords


def with_groups(run: RunDirectory, records: BackboneRecords) -> BackboneRecords:
    """Return a backbone's records, its test predictions with the groups of ``data.group``.

    Unchanged where the configuration groups no images.
    """
    groups = _test_groups(run)
    if groups is None:
        return records
    baseline = records.baseline_predictions
    return replace(
        records,
        predictions={
            stage: replace(found, groups=groups) for stage, found in records.predictions.items()
        },
        baseline_predictions=replace(baseline, groups=groups) if baseline else None,
    )


def _test_groups(run: RunDirectory) -> NDArray[np.int64] | None:
    data = run.data.read()
    if not data.group_by:
        return None
    groups = units(column_groups(data.metadata, data.group_by, data.source))
    return groups[data.where("test")]
