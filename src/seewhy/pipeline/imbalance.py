"""One backbone's measures for classes of unequal sizes and costs, from a run directory."""

from __future__ import annotations

from seewhy.evaluation.imbalance import imbalance, rarer_class
from seewhy.evaluation.operating_point import operating_point
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords


def write_imbalance(run: RunDirectory, slug: str, records: BackboneRecords, seed: int) -> None:
    """Write imbalance.json.

    The positive class of two is the configuration's, else the one with fewer training images.
    """
    data, config = run.data.read(), run.config.read()
    wanted, order = config.evaluation, config.data.ordered
    classes, predictions = data.classes, records.predictions
    positive = rarer_class(data.labels[data.where("train")], len(classes))
    if positive is not None and wanted.positive is not None:
        positive = classes.index(wanted.positive)
    ordered = (classes if order else None) if isinstance(order, bool) else order
    baseline = records.baseline_predictions
    found = imbalance(predictions, baseline, classes, positive, seed, order=ordered)
    point = None
    if wanted.target is not None and positive is not None:
        validation = records.validation.get("finetuning")
        point = operating_point(
            wanted.target, validation, predictions["finetuning"], classes, positive
        )
    named = positive is not None and wanted.positive is not None
    update = {"operating_point": point, "positive_was_named": named}
    run.imbalance.write(slug, found.model_copy(update=update))
