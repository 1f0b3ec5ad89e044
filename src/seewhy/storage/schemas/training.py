"""What a stage is trained on, with which head, and its epochs: features.json, history.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from seewhy.storage.schemas.base import Rate, Record

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


class FittedHeadSummary(Record):
    """A head that was fitted at once instead of being trained in epochs.

    `parameter` is C of the logistic regression, or the shrinkage of the nearest mean's covariance;
    logits were divided by `temperature`. Log loss and accuracy are those of training images in
    `folds` that were held out; without folds there are none. `chosen` says in a sentence which
    head it is and why.
    """

    kind: Literal["logistic", "nearest-mean"]
    parameter: float
    temperature: float
    images_per_class: float
    folds: int
    log_loss: float | None = None
    accuracy: Rate | None = None
    chosen: str


class HeadSummary(Record):
    """A head and how it is trained.

    `fitted` is given where adaptation fitted it; the other settings are those of fine-tuning then.
    """

    units: list[int]
    dropout: float
    learning_rate: float
    batch_size: int
    loss: str
    fitted: FittedHeadSummary | None = None

    @model_serializer(mode="wrap")
    def _without_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


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
