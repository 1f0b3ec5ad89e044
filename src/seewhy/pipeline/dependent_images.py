"""Which test images depend on each other, for the intervals and tests of their results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seewhy.data.groups import column_groups, units
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords


def with_groups(run: RunDirectory, records: BackboneRecords) -> BackboneRecords:
    """Return a backbone's records, its predictions with the groups of ``data.group``.

    Unchanged where the configuration groups no images.
    """
    data = run.data.read()
    if not data.group_by:
        return records
    groups = units(column_groups(data.metadata, data.group_by, data.source))
    found = grouped(records, groups[data.where("test")])
    held = groups[data.where("validation")]
    return replace(
        found,
        validation={stage: replace(one, groups=held) for stage, one in found.validation.items()},
    )


def grouped(records: BackboneRecords, groups: NDArray[np.int64]) -> BackboneRecords:
    """Return a backbone's records, its predictions of the N test images with groups (N,)."""
    baseline = records.baseline_predictions
    return replace(
        records,
        predictions={
            stage: replace(found, groups=groups) for stage, found in records.predictions.items()
        },
        baseline_predictions=replace(baseline, groups=groups) if baseline else None,
    )
