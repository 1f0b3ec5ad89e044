"""Trainings on folds and with several seeds: how accurate each is, and how far they vary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.data.folds import Repetition
from seewhy.evaluation.metrics import score
from seewhy.evaluation.predictions import as_predictions
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions, Rates
from seewhy.storage.schemas.repetitions import (
    RepetitionPredictions,
    RepetitionScores,
    Spread,
    StageRepetitions,
)
from seewhy.storage.schemas.summary import StageSummary

RATES = ("accuracy", "precision", "recall")


def out_of_fold(
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], data: Dataset
) -> Predictions:
    """Put the folds' held-out predictions together, in the data set's order.

    Each of `folds` has indices (M,) and probabilities (M, K); no image is in two folds. So each
    image has the prediction of a head that neither was trained on it nor stopped by it.
    """
    indices = np.concatenate([held_out for held_out, _ in folds])
    probabilities = np.concatenate([predicted for _, predicted in folds])
    order = np.argsort(indices)
    return as_predictions(data, indices[order], probabilities[order])


def score_repeat(
    repetition: Repetition, answers: RepetitionPredictions, test: NDArray[np.int64]
) -> RepetitionScores:
    """Score the predictions of one training again; `test` are the indices of the test images."""
    data, held_out = repetition.data, repetition.held_out
    return RepetitionScores(
        name=repetition.name,
        seed=repetition.seed,
        train=len(data.where("train")),
        validation=len(data.where("validation")),
        epochs=answers.epochs,
        held_out=_rates(answers.held_out, held_out, data) if len(held_out) else None,
        test=_rates(answers.test, test, data),
    )


def own_repeat(seed: int, data: Dataset, stage: StageSummary) -> RepetitionScores:
    """Return the study's own training as one among its repetitions."""
    return RepetitionScores(
        name=f"seed {seed}",
        seed=seed,
        train=len(data.where("train")),
        validation=len(data.where("validation")),
        epochs=stage.epochs,
        test=Rates(**{rate: getattr(stage, rate) for rate in RATES}),
    )


def spread(repeats: Sequence[RepetitionScores]) -> StageRepetitions:
    """Return mean and sample deviation of each rate over the repetitions, at least one."""
    return StageRepetitions(
        repeats=list(repeats),
        held_out=_spreads([one.held_out for one in repeats if one.held_out]),
        test=_spreads([one.test for one in repeats]),
    )


def _spreads(rates: Sequence[Rates]) -> dict[str, Spread]:
    values = {rate: np.array([getattr(one, rate) for one in rates]) for rate in RATES if rates}
    return {
        rate: Spread(
            mean=float(found.mean()),
            deviation=float(found.std(ddof=1)) if len(found) > 1 else None,
        )
        for rate, found in values.items()
    }


def _rates(probabilities: NDArray[np.float32], indices: NDArray[np.int64], data: Dataset) -> Rates:
    predicted = probabilities.argmax(axis=1).astype(np.int64)
    found = score(data.labels[indices], predicted, data.classes)
    return Rates(**{rate: getattr(found, rate) for rate in RATES})
