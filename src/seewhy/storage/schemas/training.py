"""What a stage is trained on, with which head, and its epochs: features.json, history.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seewhy.storage.schemas.base import Record

Place = Literal["memory", "disk", "recompute"]


class FeaturesRecord(Record):
    """features.json: the one pass over the images.

    `at_cut` says in a sentence where the activations at the cut are kept (in memory, on disk,
    recomputed) and why; `place` is where they were to be kept when the backbone started, and
    stays so when the study is resumed.
    """

    images: int
    channels: int
    seconds: float
    at_cut: str
    place: Place | None = None


class HeadSummary(Record):
    """A head and how it is trained."""

    units: list[int]
    dropout: float
    learning_rate: float
    batch_size: int
    loss: str


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv; losses are means per image, accuracies shares in 0 … 1.

    `validation_metric` is what chose the best epoch; None where that is the validation accuracy.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    validation_metric: float | None = None

    @property
    def objective(self) -> float:
        """What chose the best epoch, on the validation images."""
        metric = self.validation_metric
        return self.validation_accuracy if metric is None else metric
