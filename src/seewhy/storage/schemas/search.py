"""The hyperparameter search: trials.csv, best.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from seewhy.config import Metric
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import Rate, Record
from seewhy.storage.schemas.training import HeadSummary

TrialState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One line of trials.csv: a head that the search tried.

    `number` is among the trials with as many hidden layers, from 0. `value` is the objective, the
    mean validation metric of the last 5 epochs: of a pruned trial what it had reached, None where
    it failed, for the `reason`. `units` follow from the searched `units_p`.
    `best_validation_accuracy` is that of its best epoch.
    """

    layers: int
    number: int
    state: TrialState
    value: float | None
    best_validation_accuracy: float | None
    units_p: int
    units: tuple[int, ...]
    dropout: float
    learning_rate: float
    batch_size: int
    loss: str
    epochs: int
    seconds: float
    reason: str = ""


class LayerSearch(Record):
    """The search among heads with one number of hidden layers.

    `importance` gives each searched parameter's share of the objective's variance (fANOVA, sums
    to 1); it is empty where too few trials ended to say. `ended` says why there are fewer trials
    than were allowed; it is empty where there are not.
    """

    layers: int
    trials: int
    complete: int
    pruned: int
    failed: int
    best_trial: int
    best_value: Annotated[float, Field(allow_inf_nan=False)]
    head: HeadSummary
    importance: dict[str, Rate] = Field(default_factory=dict)
    ended: str = ""
    seconds: float


class FoldComparison(Record):
    """How the best candidate of a search does beside what is configured, on held-out images.

    `difference` is its metric less the configured one's, positive where the candidate is better,
    whatever the metric; each of `images` images is predicted by classifiers of `folds` folds that
    were not trained on it. None where no folds could be made. `reason` says it in a sentence.
    """

    accepted: bool
    difference: Interval | None = None
    folds: int = 0
    images: int = 0
    reason: str


class SearchRecord(Record):
    """best.json: what the search found for one backbone, written last.

    `stopped` says in a sentence why no further layer was tried; `layer_counts` has one entry for
    each number of hidden layers, ascending; `head` is the best one. `metric` is None where the
    validation accuracy chose it. `comparison` is None where the best head is taken in any case
    (``search.accept = "always"``).
    """

    sampler: str
    pruner: str
    objective: str
    metric: Metric | None = None
    layer_counts: list[LayerSearch]
    head: HeadSummary
    stopped: str
    comparison: FoldComparison | None = None
    seconds: float

    @model_validator(mode="after")
    def _found(self) -> SearchRecord:
        if all(one.head != self.head for one in self.layer_counts):
            raise ValueError("no layer count has the chosen head")
        if not self.metric and any(not 0 <= one.best_value <= 1 for one in self.layer_counts):
            raise ValueError("a validation accuracy is not between 0 and 1")
        return self

    @property
    def accepted(self) -> bool:
        """Whether adaptation trains the best head, and not the configured one."""
        return self.comparison is None or self.comparison.accepted

    @property
    def best(self) -> LayerSearch:
        """The layer count that has the best head."""
        return next(one for one in self.layer_counts if one.head == self.head)
