"""Averages over each image and its mirror image: the pass, and what its records say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seewhy.data.pixels import mirror
from seewhy.evaluation.ensemble import average
from seewhy.evaluation.mirror import evaluate_mirror
from seewhy.evaluation.predictions import predict_at_cut
from seewhy.models.classifier import TailAndHead
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.ensemble import member
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.storage.schemas.predictions import Predictions
from seewhy.training.cut_activations import CutInput


def predict_mirrored(
    work: StudyContext,
    slug: str,
    tail_and_head: TailAndHead,
    at_cut: CutInput,
    validation: Predictions,
    test: Predictions,
) -> None:
    """Predict the mirrored images with ``evaluation.mirror``, and write averages with the others.

    Mirror images are not kept at the cut: this is one more pass of both sets through the prefix.
    """
    if not work.config.evaluation.mirror:
        return
    data = work.data
    held, tested = data.where("validation"), data.where("test")
    with work.progress.task(f"{slug}: mirrored images", len(held) + len(tested)) as advance:

        def mirrored(indices: NDArray[np.int64]) -> Tensor:
            activations = at_cut.activations(mirror(at_cut.images(indices)))
            advance(len(indices))
            return activations

        averages = [
            average([found, predict_at_cut(tail_and_head, mirrored, data, rows, work.compute)])
            for found, rows in ((test, tested), (validation, held))
        ]
    work.run.mirror.write_predictions(slug, averages[0], averages[1], data.classes)


def write_mirror(
    run: RunDirectory, slug: str, records: BackboneRecords, evaluation: Evaluation, seed: int
) -> None:
    """Write mirror.json where the study predicted mirrored images; else there is none."""
    classes = run.data.read().classes
    found = run.mirror.read_predictions(slug, classes)
    if found is None:
        run.mirror.delete(slug)
        return
    plain = member(records, evaluation)
    test = replace(found[0], groups=plain.test.groups)
    run.mirror.write(slug, evaluate_mirror(plain, test, found[1], classes, seed))
