"""One backbone on the test images: evaluation.json.

Plain values that JSON can hold, so that the report draws them without computing anything. How
each number is computed is in ``evaluation/`` and docs/statistics.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import FrozenRecord, Rate, Stage


class ClassScores(FrozenRecord):
    """One class on the test images; with no images (or none predicted) a rate is 0."""

    images: int
    predicted: int
    precision: Interval
    recall: Interval
    f1: Interval


class ConfusionCell(FrozenRecord):
    """Images of one class predicted as one class; `rate` is their share of the former."""

    label: str
    predicted: str
    images: int
    rate: Rate


class ReliabilityBin(FrozenRecord):
    """Images whose confidence is in (low, high]; the means are None where there are none."""

    low: Rate
    high: Rate
    images: int
    confidence: Rate | None = None
    accuracy: Rate | None = None


class Calibration(FrozenRecord):
    """How far confidences are from the share of correct predictions.

    Attributes
    ----------
    error : Interval
        Expected calibration error over `bins`, equally wide.
    error_if_calibrated : float
        The mean error that the same confidences would show if they were exactly right.
    error_if_calibrated_high : float
        What it would then stay below in 95 of 100 test sets: an error above it is not chance.
    confidence : float
        Mean confidence; above the accuracy, the classifier is overconfident.
    nll : float
        Mean negative log-likelihood of the labels, nats.
    bins : list of ReliabilityBin
    """

    error: Interval
    error_if_calibrated: Rate
    error_if_calibrated_high: Rate
    confidence: Rate
    nll: float
    bins: list[ReliabilityBin]


class TemperatureScaling(FrozenRecord):
    """Temperature scaling fitted on the validation images, measured on the test images.

    `temperature` and `scaled` are None where none could be fitted; `skipped` then says why.
    A temperature above 1 makes probabilities less sure.
    """

    images: int
    temperature: float | None = None
    scaled: Calibration | None = None
    skipped: str | None = None


class StageEvaluation(FrozenRecord):
    """One stage (or the baseline) on the test images.

    Attributes
    ----------
    images : int
    accuracy, precision, recall, f1 : Interval
        The last three are macro means: each class counts the same.
    top : dict of int to Interval
        Share of images whose label is among the k likeliest classes, for k = 2, 3 and 5 below the
        number of classes.
    classes : dict of str to ClassScores
        In the order of the classes.
    confusion : list of ConfusionCell
        Every cell that is not empty, label by label.
    calibration : Calibration, optional
        None for the baseline: a group's score is no probability among the classes.
    temperature : TemperatureScaling, optional
    """

    images: int
    accuracy: Interval
    precision: Interval
    recall: Interval
    f1: Interval
    top: dict[int, Interval]
    classes: dict[str, ClassScores]
    confusion: list[ConfusionCell]
    calibration: Calibration | None = None
    temperature: TemperatureScaling | None = None

    def matrix(self) -> NDArray[np.int64]:
        """Return the confusion matrix, (K, K) images; rows are labels, columns predictions."""
        place = {name: k for k, name in enumerate(self.classes)}
        found = np.zeros((len(place), len(place)), dtype=np.int64)
        for cell in self.confusion:
            found[place[cell.label], place[cell.predicted]] = cell.images
        return found


class Evaluation(FrozenRecord):
    """evaluation.json: one backbone on the test images, with 95 % bootstrap intervals.

    `draws` and `seed` are the bootstrap's. `baseline` is None where there is none, or where its
    predictions were not kept; baseline.json says which.
    """

    draws: int
    seed: int
    baseline: StageEvaluation | None = None
    stages: dict[Stage, StageEvaluation]
