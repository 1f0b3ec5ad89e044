"""What the stages hand to each other.

Records are plain values: numbers, names and NumPy arrays, no tensors and no networks, so that the
report can be redrawn anywhere. How they are written is in ``files/``, where in ``rundir.py``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from seewhy.storage.schemas.faithfulness import FaithfulnessSummary
from seewhy.storage.schemas.levels import NO_LEVELS, Levels

Split = Literal["train", "validation", "test"]
Stage = Literal["adaptation", "finetuning"]
Place = Literal["memory", "disk", "recompute"]
TrialState = Literal["complete", "pruned", "failed"]
# Of a run directory: raised when file names or JSON keys change; see `run_version`.
SCHEMA_VERSION: Literal[2] = 2
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
STAGES: tuple[Stage, ...] = ("adaptation", "finetuning")
Step = Literal[
    "data checks",
    "folds",
    "label issues",
    "faithfulness",
    "audit",
    "evaluation",
    "comparison",
    "mitigation",
    "provenance",
    "report",
]


@dataclass(frozen=True)
class Preprocess:
    """How pixels become a backbone's input; it follows the weights.

    Attributes
    ----------
    size : int
        Side of the square input, pixels.
    mean, std : tuple of float
        Three each, red green blue, for values in 0 … 1.
    interpolation : {"bilinear", "bicubic"}
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class SetAside:
    """One image that is not part of the study, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """All images of a study, decoded, in one fixed order.

    Attributes
    ----------
    source : str
        Where they come from, for people.
    classes : tuple of str
        Class names; a label is an index into them.
    ids : tuple of str
        One an image, unique, the same in every record of the study.
    paths : tuple of str
        Where each image came from, for people.
    labels : ndarray of int64, (N,)
    splits : tuple of str
        ``train``, ``validation`` or ``test``, one an image.
    pixels : ndarray of uint8, (N, S, S, 3)
        Memory-mapped RGB at the working size.
    masks : ndarray of bool, (N, S, S), optional
        Ground-truth object masks, where the source has them.
    set_aside : tuple of SetAside
    groups : ndarray of int64, (N,), optional
        Equal numbers for duplicates that stay together when images are divided, -1 for any other.
    levels : Levels
        What was taken for black and white in images of more than 8 bits a value.
    """

    source: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None = None
    set_aside: tuple[SetAside, ...] = ()
    groups: NDArray[np.int64] | None = None
    levels: Levels = NO_LEVELS

    def where(self, split: Split) -> NDArray[np.int64]:
        """Return the indices of one split's images, ascending."""
        return np.flatnonzero(np.asarray(self.splits) == split).astype(np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return images a split and class, zeros included."""
        seen = Counter(zip(self.splits, self.labels.tolist(), strict=True))
        return {
            split: {name: seen[split, k] for k, name in enumerate(self.classes)} for split in SPLITS
        }


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv; losses are means an image, accuracies shares in 0 … 1."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Predictions:
    """A classifier's answers for some of a study's images, most often the test images.

    Attributes
    ----------
    ids : tuple of str
    labels : ndarray of int64, (N,)
    probabilities : ndarray of float32, (N, K)
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

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


@dataclass(frozen=True)
class Maps:
    """Class activation maps of the test images, two an image, of one stage.

    Attributes
    ----------
    ids : tuple of str
    maps : ndarray of float16, (N, h, w)
        For the predicted class, at feature resolution, not normalised, never negative. A map
        that float16 cannot hold well is kept times a power of two, its scale.
    label_maps : ndarray of float16, (N, h, w)
        For the labelled class, from the same forward pass; the same where the prediction is
        right.
    explained : ndarray of int64, (N,)
        The predicted class, which `maps` are for.
    scales, label_scales : ndarray of float32, (N,)
        What each map was multiplied with: 1 but for very small or very large maps.
    empty, label_empty : ndarray of bool, (N,)
        Which maps are zero everywhere: nothing spoke for the class.
    method, layer : str
    stage : {"adaptation", "finetuning"}
    """

    ids: tuple[str, ...]
    maps: NDArray[np.float16]
    label_maps: NDArray[np.float16]
    explained: NDArray[np.int64]
    scales: NDArray[np.float32]
    label_scales: NDArray[np.float32]
    empty: NDArray[np.bool_]
    label_empty: NDArray[np.bool_]
    method: str
    layer: str
    stage: Stage


class Record(BaseModel):
    """What all records in JSON share: an unknown key is refused."""

    model_config = ConfigDict(extra="forbid")


# Sums and ratios of float32 numbers stray this far beyond the bound they cannot pass.
ROUNDING = 1e-5


def clamped(low: float, high: float) -> BeforeValidator:
    """Return what brings a number that passes a bound by rounding alone back to the bound.

    A number farther outside, and one that is no number, stays as it is and is refused.
    """

    def clamp(value: object) -> object:
        if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
            number = float(value)
            if low - ROUNDING <= number <= high + ROUNDING:
                return min(max(number, low), high)
        return value

    return BeforeValidator(clamp)


Rate = Annotated[float, clamped(0, 1), Field(ge=0, le=1)]


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


class FeaturesRecord(Record):
    """features.json: the one pass over the images.

    `at_cut` says in a sentence where the activations at the cut are kept (in memory, on disk,
    computed anew) and why; `place` is where they were to be kept when the backbone was begun, and
    stays so when the study is resumed.
    """

    images: int
    channels: int
    seconds: float
    at_cut: str
    place: Place | None = None


class StageMetrics(Record):
    """metrics.json: one stage on the test images, and how it was trained.

    `best_epoch` is 0 where no epoch was better than the start. What it took is in history.csv
    and features.json: equal studies have equal metrics.json.
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


class StageSummary(Record):
    """A stage's part of summary.json."""

    accuracy: Rate
    precision: Rate
    recall: Rate
    per_class_recall: dict[str, Rate]
    epochs: int
    seconds: float


class BaselineSummary(Record):
    """A baseline's part of summary.json where there is one."""

    accuracy: Rate
    precision: Rate
    recall: Rate


class Skipped(Record):
    """Stands where a result would, with the reason why there is none."""

    skipped: str


class HeadSummary(Record):
    """A head and how it is trained."""

    units: list[int]
    dropout: float
    learning_rate: float
    batch_size: int
    loss: str


@dataclass(frozen=True)
class Trial:
    """One line of trials.csv: a head that the search tried.

    Attributes
    ----------
    layers, number : int
        Hidden layers, and the trial's number among those with as many, from 0.
    state : {"complete", "pruned", "failed"}
    value : float or None
        The objective: mean validation accuracy of the last 5 epochs; of a pruned trial what it
        had reached; None where it failed.
    best_validation_accuracy : float or None
        Of its best epoch.
    units_p : int
        The searched p, from which `units` follow.
    units : tuple of int
    dropout, learning_rate, batch_size, loss
        The head's.
    epochs : int
    seconds : float
    reason : str
        Why it failed; else empty.
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
    to 1); it is empty where too few trials ended to say.
    """

    layers: int
    trials: int
    complete: int
    pruned: int
    failed: int
    best_trial: int
    best_value: Rate
    head: HeadSummary
    importance: dict[str, Rate] = Field(default_factory=dict)
    seconds: float


class SearchRecord(Record):
    """best.json: what the search found for one backbone, written last.

    `stopped` says in a sentence why no further layer was tried; `layer_counts` has one entry for
    each number of hidden layers, ascending; `head` is the one that goes on.
    """

    sampler: str
    pruner: str
    objective: str
    layer_counts: list[LayerSearch]
    head: HeadSummary
    stopped: str
    seconds: float

    @model_validator(mode="after")
    def _found(self) -> SearchRecord:
        if all(one.head != self.head for one in self.layer_counts):
            raise ValueError("no layer count has the head that goes on")
        return self

    @property
    def best(self) -> LayerSearch:
        """The layer count whose head goes on."""
        return next(one for one in self.layer_counts if one.head == self.head)


class SearchSummary(Record):
    """The search's part of summary.json."""

    layers: int
    trials: int
    best_validation_accuracy: Rate
    seconds: float


@dataclass(frozen=True)
class RepetitionPredictions:
    """What one stage said when it was trained again, on a fold or with another seed.

    Attributes
    ----------
    epochs : int
        It was trained.
    held_out : ndarray of float32, (M, K)
        Probabilities of the fold's images; M is 0 where only the seed was another.
    test : ndarray of float32, (T, K)
        Of the test images.
    """

    epochs: int
    held_out: NDArray[np.float32]
    test: NDArray[np.float32]


class Rates(Record):
    """Accuracy, macro precision and macro recall."""

    accuracy: Rate
    precision: Rate
    recall: Rate


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

    `folds` is 0 where only seeds were repeated; `seeds` has the study's own first, whose figures
    are those of its stages. Records with equal `division` were trained and scored on the same
    images: their figures are paired. `head` is the one that was trained, the same everywhere.
    """

    folds: int
    seeds: list[int]
    division: str
    head: HeadSummary
    stages: dict[Stage, StageRepeats]


class FailedStep(Record):
    """An optional step that failed, and why; the study ended without its result.

    `backbone` is a slug where the step is one backbone's, `stage` the stage that was audited.
    """

    step: Step
    reason: str
    backbone: str | None = None
    stage: Stage | None = None


class ExplanationSummary(Record):
    """The maps' part of summary.json; `faithfulness` is null where it was not measured."""

    method: str
    layer: str
    images: int
    seconds: float
    faithfulness: FaithfulnessSummary | None = None


class BackboneSummary(Record):
    """One backbone's part of summary.json."""

    backbone: str
    weights: str
    parameters: int
    weighted_layers: int
    cut: str
    input_size: int
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

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    seed: int
    device: str
    precision: str
    data: DataSummary
    backbones: dict[str, BackboneSummary]
    failed: list[FailedStep] = Field(default_factory=list)


class RunFingerprint(Record):
    """fingerprint.json: what a study that goes on later must find unchanged.

    `starts` counts how often it was begun or resumed. `named` has the absolute path of each folder
    and file that the configuration names, by its key.
    """

    device: str
    precision: str
    weights_keys: dict[str, str]
    data_key: str
    versions: dict[str, str]
    started: str
    starts: int
    named: dict[str, str] = Field(default_factory=dict)


class Provenance(Record):
    """provenance.json: what the numbers depend on, and what they took."""

    seewhy: str
    python: str
    platform: str
    processor: str
    cores: int
    device: str
    precision: str
    seed: int
    versions: dict[str, str]
    command: list[str]
    started: str
    finished: str
    starts: int = 1
    seconds: float
    seconds_by_part: dict[str, float] = Field(default_factory=dict)
    peak_memory_gib: float
    data_key: str
    weights_keys: dict[str, str] = Field(default_factory=dict)
