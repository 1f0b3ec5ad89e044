"""The search for fine-tuning's settings: finetuning_trials.csv, finetuning.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seewhy.config import Metric
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import Record


@dataclass(frozen=True)
class FinetuningTrial:
    """One line of finetuning_trials.csv: fine-tuning with some settings, for some epochs.

    `candidate` numbers the settings; 0 are the configured ones. With 1 of `views`, images are
    trained on as they are; with more, their augmented versions too. `value` is the metric of the
    best epoch on the validation images, `loss` its validation loss: None where the trial failed,
    for the `reason`.
    """

    candidate: int
    epochs: int
    learning_rate: float
    first_layer_rate: float
    mixup: float
    views: int
    state: Literal["complete", "failed"]
    value: float | None
    loss: float | None
    seconds: float
    reason: str = ""


class FinetuningSettings(Record):
    """What is searched."""

    learning_rate: float
    first_layer_rate: float
    mixup: float
    views: int


class FinetuningSearchRecord(Record):
    """finetuning.json: what the search found for one backbone, written last.

    `candidates` counts settings, the configured ones among them; `chosen` is the number of those
    that fine-tuning takes. `difference` is the metric of the best candidate less that of the
    configured one, on `images` images, each predicted by classifiers of `folds` folds that were
    not trained on it; None where the configured one was the best already. It is positive where the
    best candidate is better, whatever the metric. `stopped` says in a sentence why it was chosen.
    """

    metric: Metric
    candidates: int
    chosen: int
    settings: FinetuningSettings
    difference: Interval | None = None
    folds: int
    images: int
    stopped: str
    seconds: float
