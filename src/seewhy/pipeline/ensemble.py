"""The average of a study's backbones, from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seewhy.errors import RunError
from seewhy.evaluation.ensemble import Member, evaluate_ensemble
from seewhy.evaluation.predictions import as_predictions
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.wording import listing


def write_ensemble(
    run: RunDirectory,
    slugs: Sequence[str],
    records: Mapping[str, BackboneRecords],
    evaluations: Mapping[str, Evaluation],
    names: Mapping[str, str],
    seed: int,
) -> None:
    """Write ensemble.json and ensemble.csv where the study has several backbones, `slugs`.

    Raises
    ------
    RunError
        Where one of them could not be evaluated: an average of the others would be another one.
    """
    run.ensemble.delete()
    if len(slugs) < 2:
        return
    missing = [names[slug] for slug in slugs if slug not in evaluations]
    if missing:
        raise RunError(f"{listing(missing)} could not be evaluated")
    data = run.data.read()
    members = {slug: member(records[slug], evaluations[slug]) for slug in slugs}
    found, predictions = evaluate_ensemble(members, names, data.classes, seed)
    # With the columns of the images' table, as predictions.csv has them.
    described = as_predictions(data, data.where("test"), predictions.probabilities)
    run.ensemble.write(found, described, data.classes)


def member(records: BackboneRecords, evaluation: Evaluation) -> Member:
    """Return a fine-tuned backbone's predictions with the temperature of its evaluation."""
    scaling = evaluation.stages["finetuning"].temperature
    return Member(
        test=records.predictions["finetuning"],
        validation=records.validation["finetuning"],
        temperature=scaling.temperature if scaling else None,
    )
