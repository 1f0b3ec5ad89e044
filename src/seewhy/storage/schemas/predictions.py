"""A classifier's predictions, and what they score: predictions.csv, metrics.json, baseline.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from seewhy.config import Metric
from seewhy.storage.schemas.base import Rate, Record, Stage


@dataclass(frozen=True)
class Predictions:
    """A classifier's answers for some of a study's images, most often the test images.

    Attributes
    ----------
    ids : tuple of str
    labels : ndarray of int64, (N,)
    probabilities : ndarray of float32, (N, K)
    metadata : mapping of str to tuple of str
        Further columns of the images' table; written beside the predictions, not read back.
    groups : ndarray of int64, (N,), optional
        Equal for images that depend on each other (of one patient, of one film); default: each
        image stands alone.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: NDArray[np.int64] | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest class of each image, (N,)."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return best

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the likeliest class, (N,)."""
        top: NDArray[np.float32] = self.probabilities.max(axis=1)
        return top


class Rates(Record):
    """Accuracy, macro precision and macro recall."""

    accuracy: Rate
    precision: Rate
    recall: Rate


class StageMetrics(Record):
    """metrics.json: one stage on the test images, and how it was trained.

    `best_epoch` is 0 where no epoch was better than the start. Where validation accuracy did not
    choose it, `metric` names what did, and `best_validation_metric` is its value. Times are in
    history.csv and features.json: equal studies have equal metrics.json.
    """

    stage: Stage
    images: int
    accuracy: Rate
    precision: Rate
    recall: Rate
    per_class_precision: dict[str, Rate]
    per_class_recall: dict[str, Rate]
    best_validation_accuracy: Rate
    best_epoch: int
    epochs: int
    metric: Metric | None = None
    best_validation_metric: float | None = None


class WordGroup(Record):
    """One class of the data set among the ImageNet classes."""

    word: str
    synsets: list[str]
    members: int


class Baseline(Record):
    """baseline.json: the untouched ImageNet classifier, or why there is none."""

    accuracy: Rate | None = None
    precision: Rate | None = None
    recall: Rate | None = None
    skipped: str | None = None
    grouping: str | None = None
    groups: dict[str, WordGroup] = Field(default_factory=dict)
    per_class_recall: dict[str, Rate] = Field(default_factory=dict)
