"""The stages trained again on other folds and with other seeds: folds.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from seewhy.storage.schemas.base import Rate, Record, Stage
from seewhy.storage.schemas.predictions import Rates
from seewhy.storage.schemas.training import HeadSummary


@dataclass(frozen=True)
class RepetitionPredictions:
    """What one stage predicted when it was trained again, on a fold or with another seed.

    `held_out` (M, K) are probabilities of the fold's images, M is 0 where only the seed was
    another; `test` (T, K) are those of the test images.
    """

    epochs: int
    held_out: NDArray[np.float32]
    test: NDArray[np.float32]


class RepetitionScores(Record):
    """One training again: how many images it had, and what it reached.

    `held_out` is None where no fold was held out.
    """

    name: str
    seed: int
    train: int
    validation: int
    epochs: int
    held_out: Rates | None = None
    test: Rates


class Spread(Record):
    """Mean and sample standard deviation; of a single value there is none."""

    mean: Rate
    deviation: float | None = None


class StageRepetitions(Record):
    """A stage over all folds, or all seeds.

    `held_out` and `test` have a spread for each of accuracy, precision and recall; `held_out` is
    empty over seeds.
    """

    repeats: list[RepetitionScores]
    held_out: dict[str, Spread] = Field(default_factory=dict)
    test: dict[str, Spread]


class StageRepeats(Record):
    """A stage over folds and over seeds, where there are any."""

    folds: StageRepetitions | None = None
    seeds: StageRepetitions | None = None


class FoldsRecord(Record):
    """folds.json: the stages trained again, on other folds of the images and with other seeds.

    `folds` is 0 where only seeds were repeated; `left_out` is the column whose values are the
    folds, where `data.leave_out` names one; `seeds` has the study's own first, whose figures
    are those of its stages. Records with equal `division` were trained and scored on the same
    images: their figures are paired. `head` is the one that was trained, the same everywhere.
    """

    folds: int
    left_out: str | None = None
    seeds: list[int]
    division: str
    head: HeadSummary
    stages: dict[Stage, StageRepeats]
