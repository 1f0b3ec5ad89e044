"""When one backbone's classifiers abstain, from a run directory."""

from __future__ import annotations

from seewhy.evaluation.abstention import abstain
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.abstention import Abstention
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.evaluation import Evaluation


def write_abstention(
    run: RunDirectory, slug: str, records: BackboneRecords, evaluation: Evaluation
) -> None:
    """Write abstention.json where the configuration asks for it; else there is none."""
    error = run.config.read().evaluation.abstain_error
    if error is None:
        run.abstention.delete(slug)
        return
    stages = {}
    for stage, predictions in records.predictions.items():
        scaling = evaluation.stages[stage].temperature
        temperature = scaling.temperature if scaling else None
        stages[stage] = abstain(predictions, records.validation.get(stage), temperature, error)
    run.abstention.write(slug, Abstention(error=error, stages=stages))
