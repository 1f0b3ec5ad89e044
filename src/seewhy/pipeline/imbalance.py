"""One backbone's measures for classes of unequal sizes and costs, from a run directory."""

from __future__ import annotations

from seewhy.evaluation.imbalance import imbalance, rarer_class
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords


def write_imbalance(run: RunDirectory, slug: str, records: BackboneRecords, seed: int) -> None:
    """Write imbalance.json; the positive class of two is the one with fewer training images."""
    data = run.data.read()
    positive = rarer_class(data.labels[data.where("train")], len(data.classes))
    found = imbalance(
        records.predictions, records.baseline_predictions, data.classes, positive, seed
    )
    run.imbalance.write(slug, found)
