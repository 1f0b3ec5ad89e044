"""The manifest of a study: summary.json, with one part per backbone."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from seewhy.config import Metric
from seewhy.storage.schemas.base import Rate, Record, Stage
from seewhy.storage.schemas.faithfulness import FaithfulnessSummary
from seewhy.storage.schemas.input_size import InputSize
from seewhy.storage.schemas.training import HeadSummary

# Of a run directory: raised when file names or JSON keys change; see `run_version`.
SCHEMA_VERSION: Literal[2] = 2
Step = Literal[
    "data checks",
    "folds",
    "label issues",
    "map choice",
    "faithfulness",
    "audit",
    "mirrored images",
    "evaluation",
    "ensemble",
    "comparison",
    "mitigation",
    "provenance",
    "report",
]


class FailedStep(Record):
    """An optional step that failed, and why; the study ended without its result.

    `backbone` is a slug where the step is one backbone's, `stage` the stage that was audited.
    """

    step: Step
    reason: str
    backbone: str | None = None
    stage: Stage | None = None


class Skipped(Record):
    """Replaces a result that is missing, with the reason."""

    skipped: str


class BaselineSummary(Record):
    """A baseline's part of summary.json where there is one."""

    accuracy: Rate
    precision: Rate
    recall: Rate


class SearchSummary(Record):
    """The search's part of summary.json; of the two best values one is given.

    `metric` and `best_validation_metric` are given where validation accuracy did not choose.
    """

    layers: int
    trials: int
    best_validation_accuracy: Rate | None = None
    metric: Metric | None = None
    best_validation_metric: float | None = None
    seconds: float

    @model_serializer(mode="wrap")
    def _without_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class StageSummary(Record):
    """A stage's part of summary.json."""

    accuracy: Rate
    precision: Rate
    recall: Rate
    per_class_recall: dict[str, Rate]
    epochs: int
    seconds: float


class ExplanationSummary(Record):
    """The maps' part of summary.json; `faithfulness` is null where it was not measured."""

    method: str
    layer: str
    images: int
    seconds: float
    faithfulness: FaithfulnessSummary | None = None


class BackboneSummary(Record):
    """One backbone's part of summary.json."""

    keeps_null: ClassVar[bool] = True

    backbone: str
    weights: str
    parameters: int
    weighted_layers: int
    cut: str
    input_size: InputSize
    baseline: BaselineSummary | Skipped
    head: HeadSummary
    search: SearchSummary | None
    adaptation: StageSummary
    finetuning: StageSummary
    explanation: ExplanationSummary
    failed: list[FailedStep] = Field(default_factory=list)


class DataSummary(Record):
    """The data's part of summary.json."""

    source: str
    classes: list[str]
    train: int
    validation: int
    test: int


class Summary(Record):
    """summary.json, written last: a run directory that has one is complete.

    `failed` has all optional steps that failed, the study's and each backbone's.
    """

    keeps_null: ClassVar[bool] = True

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    seed: int
    device: str
    precision: str
    data: DataSummary
    backbones: dict[str, BackboneSummary]
    failed: list[FailedStep] = Field(default_factory=list)
