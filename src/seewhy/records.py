"""What the stages hand to each other.

Records are plain values: numbers, names and NumPy arrays, no tensors and no networks, so that the
report can be redrawn anywhere. How they lie on disk is in ``rundir.py``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from seewhy.faithfulness_records import Faithfulness, FaithfulnessSummary

Split = Literal["train", "validation", "test"]
Stage = Literal["adaptation", "finetuning"]
TrialState = Literal["complete", "pruned", "failed"]
Fault = Literal["odd-shaped", "small", "blank", "dark", "blurred"]
AuditKind = Literal["detail", "moving detail", "place", "colour", "texture"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
STAGES: tuple[Stage, ...] = ("adaptation", "finetuning")


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


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


Rate = Annotated[float, Field(ge=0, le=1)]


class WordGroup(_Record):
    """One class of the data set among the ImageNet classes."""

    word: str
    synsets: list[str]
    members: int


class Baseline(_Record):
    """baseline.json: the untouched ImageNet classifier, or why there is none."""

    accuracy: Rate | None = None
    precision: Rate | None = None
    recall: Rate | None = None
    skipped: str | None = None
    grouping: str | None = None
    groups: dict[str, WordGroup] = Field(default_factory=dict)
    per_class_recall: dict[str, Rate] = Field(default_factory=dict)


class FeaturesRecord(_Record):
    """features.json: the one pass over the images.

    `at_cut` says in a sentence where the activations at the cut lie (in memory, on disk,
    computed anew) and why.
    """

    images: int
    channels: int
    seconds: float
    at_cut: str


class StageMetrics(_Record):
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


class StageSummary(_Record):
    """A stage's part of summary.json."""

    accuracy: Rate
    precision: Rate
    recall: Rate
    per_class_recall: dict[str, Rate]
    epochs: int
    seconds: float


class BaselineSummary(_Record):
    """A baseline's part of summary.json where there is one."""

    accuracy: Rate
    precision: Rate
    recall: Rate


class Skipped(_Record):
    """Stands where a result would, with the reason why there is none."""

    skipped: str


class HeadSummary(_Record):
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


class LayerSearch(_Record):
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


class SearchRecord(_Record):
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


class SearchSummary(_Record):
    """The search's part of summary.json."""

    layers: int
    trials: int
    best_validation_accuracy: Rate
    seconds: float


@dataclass(frozen=True)
class Answers:
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


class Rates(_Record):
    """Accuracy, macro precision and macro recall."""

    accuracy: Rate
    precision: Rate
    recall: Rate


class Repeat(_Record):
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


class Spread(_Record):
    """Mean and sample standard deviation; of a single value there is none."""

    mean: Rate
    deviation: float | None = None


class Repeats(_Record):
    """A stage over all folds, or all seeds.

    `held_out` and `test` have a spread for each of accuracy, precision and recall; `held_out` is
    empty over seeds.
    """

    repeats: list[Repeat]
    held_out: dict[str, Spread] = Field(default_factory=dict)
    test: dict[str, Spread]


class StageRepeats(_Record):
    """A stage over folds and over seeds, where there are any."""

    folds: Repeats | None = None
    seeds: Repeats | None = None


class FoldsRecord(_Record):
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


class ExplanationSummary(_Record):
    """The maps' part of summary.json; `faithfulness` is null where it was not measured."""

    method: str
    layer: str
    images: int
    seconds: float
    faithfulness: FaithfulnessSummary | None = None


class BackboneSummary(_Record):
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


class DataSummary(_Record):
    """The data's part of summary.json."""

    source: str
    classes: list[str]
    train: int
    validation: int
    test: int


class Summary(_Record):
    """summary.json, written last: a run directory that has one is complete."""

    schema_version: Literal[1] = 1
    name: str
    seed: int
    device: str
    precision: str
    data: DataSummary
    backbones: dict[str, BackboneSummary]


class FlaggedImage(_Record):
    """One image that the checks name.

    `value` is what was measured (see `ImageFault.rule`), `reason` puts it into words, as in
    "dark: 99 % of it are darker than 12 of 255".
    """

    id: str
    path: str
    label: str
    split: Split
    value: float
    reason: str


class ImageFault(_Record):
    """All images with one fault: how many (0 too), and the first of them, the worst first.

    `rule` says in a sentence what counts as the fault.
    """

    fault: Fault
    rule: str
    count: int
    first: list[FlaggedImage]


class DuplicateImage(_Record):
    """One member of a group of duplicates."""

    id: str
    path: str
    label: str
    split: Split


class DuplicateGroup(_Record):
    """Images that show the same picture.

    `kind` is "exact" where all members have the same pixels at the working size. `similarity` is
    the least one that holds the group together, 1 for exact copies. `labels` and `splits` are those
    of all `size` members, each once; `images` the first members, at least one of each label and
    split where there is room.
    """

    kind: Literal["exact", "near"]
    size: int
    similarity: float
    labels: list[str]
    splits: list[Split]
    images: list[DuplicateImage]


class DuplicatesRecord(_Record):
    """Groups of duplicates: how many, and the first of them.

    Attributes
    ----------
    threshold : float
        Similarity from which two images count as near duplicates (``data.near_duplicates``).
    images, groups, exact, near : int
        Images in groups; groups in all, of exact copies alone, and others.
    leaking, conflicting : int
        Groups with members in several splits; with several labels.
    seen : dict of str to int
        For "validation": its images that have a duplicate among the training images. For "test":
        those that have one among the training or validation images.
    kept_together : int
        Groups within one split, where a split was drawn with duplicates kept together; else 0.
    first : list of DuplicateGroup
        The leaking ones first, then the conflicting ones, then the others.
    """

    threshold: float
    images: int
    groups: int
    exact: int
    near: int
    leaking: int
    conflicting: int
    seen: dict[str, int]
    kept_together: int
    first: list[DuplicateGroup]


class ClassBalance(_Record):
    """How evenly the training images are spread over the classes.

    `ratio` is that of the `largest` class to the `smallest`; `few` names the classes (the first
    of them) with less than `few_below` training images.
    """

    largest: str
    smallest: str
    ratio: float
    few_below: int
    few: list[str]


class DataFindings(_Record):
    """What the checks found among the images; lists are bounded, counts are not.

    `sentences` say in plain words what is wrong, one thing each; empty where nothing is.
    """

    images: int
    faults: list[ImageFault]
    duplicates: DuplicatesRecord
    balance: ClassBalance
    sentences: list[str]


class DataChecks(_Record):
    """checks.json: what the data look like before anything is trained.

    `findings` is None in studies that are older than these checks.
    """

    source: str
    working_size: int
    counts: dict[str, dict[str, int]]
    set_aside: list[dict[str, str]]
    masks: bool
    findings: DataFindings | None = None


class Suspect(_Record):
    """One image that may be mislabelled, or may belong to no class.

    Attributes
    ----------
    id, path, split, label
        The image, its split and the label it was given.
    suggested : str or None
        The class the classifier would give it; None for a foreign image.
    score : float
        In 0 … 1, the higher the more suspect; comparable within one list only.
    reason : str
        What speaks against it, with the numbers.
    """

    id: str
    path: str
    split: Split
    label: str
    suggested: str | None = None
    score: Rate
    reason: str


class SuspectList(_Record):
    """Suspects of one kind, the most suspect first.

    `looked_at` images were judged, `count` of them pass the rule that `rule` says in a sentence;
    `first` are the most suspect of these. Where nothing could be judged, `skipped` says why.
    """

    rule: str = ""
    looked_at: int = 0
    count: int = 0
    first: list[Suspect] = Field(default_factory=list)
    skipped: str | None = None


class Suspects(_Record):
    """suspects.json: likely label errors and foreign images, as one backbone sees them.

    Nothing is trained, chosen or left out because of them. Each image was judged by a classifier
    that was not trained on it.
    """

    label_errors: SuspectList
    foreign: SuspectList


class EffectRecord(_Record):
    """What carrying something over, or taking it out, does to a class's probability.

    Attributes
    ----------
    change, low, high : float
        Mean difference of the probability to a comparison at the same place, paired image by
        image, and its 95 % bootstrap interval.
    p : float
        Of a permutation null, corrected for the number of candidates (Holm).
    turned, turned_without : float
        Share of the images that were decided for the class, with it and with the comparison.
    images : int
    """

    change: float
    low: float
    high: float
    p: Rate
    turned: Rate
    turned_without: Rate
    images: int


class CarrierScore(_Record):
    """Test images of one class that carry a finding, or do not, and how many are known."""

    images: int
    accuracy: Rate | None


class Finding(_Record):
    """One suspect that the classifier itself has answered for.

    Attributes
    ----------
    kind : {"detail", "moving detail", "place", "colour", "texture"}
    verdict : {"shortcut", "suspicious"}
    sentence : str
        The finding in plain words, with its numbers.
    where : str
        In words.
    box : list of float or None
        Top, left, bottom, right as shares of the side, where it has one place.
    carriers : list of str
        Ids of the images that gave.
    share, share_of_others : float or None
        Share of the class's images, and of the others, that carry it; None for colour and
        texture, of which every image has one, and for a place.
    transplant : EffectRecord
        Carried into validation images of other classes.
    strange : float or None
        Of a detail: the change by patches of the same shape from other images, for comparison.
    removal : EffectRecord or None
        Taken out of the carriers; the change is the loss of the class's probability.
    with_it, without_it : CarrierScore or None
        The class's test images; None where carriers cannot be told by their pixels.
    examples : int
        Pictures of it in audit.npz.
    """

    kind: AuditKind
    verdict: Literal["shortcut", "suspicious"]
    sentence: str
    where: str
    box: list[float] | None = None
    carriers: list[str]
    share: Rate | None = None
    share_of_others: Rate | None = None
    transplant: EffectRecord
    strange: float | None = None
    removal: EffectRecord | None = None
    with_it: CarrierScore | None = None
    without_it: CarrierScore | None = None
    examples: int = 0


class EvidencePlace(_Record):
    """Where one class's evidence lies, as shares of it; see ``docs/audit.md``."""

    excess: float
    concentration: Rate
    border: Rate
    corners: Rate
    outside: Rate | None = None


class ClassAudit(_Record):
    """One class's part of audit.json.

    `verdict` is that of its worst finding; `candidates` were tried, and an effect of
    `detectable` would have been found in nine of ten cases, for each kind.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    verdict: Literal["shortcut", "suspicious", "none"]
    findings: list[Finding] = Field(default_factory=list)
    evidence: EvidencePlace | None = None
    candidates: int
    detectable: dict[AuditKind, float] = Field(default_factory=dict)


class Audit(_Record):
    """audit.json: wrong reasons of one classifier, found and proven on validation images.

    `images` were looked at, `candidates` tried; `sentences` open the report, the gravest first;
    `searched` says what was looked for and how strong an effect would have been seen.
    """

    stage: Stage
    images: int
    candidates: int
    seconds: float
    sentences: list[str]
    searched: str
    classes: list[ClassAudit]


class Begun(_Record):
    """begun.json: what a study that goes on later must find unchanged.

    `starts` counts how often it was begun or taken up again.
    """

    device: str
    precision: str
    weights_keys: dict[str, str]
    data_key: str
    versions: dict[str, str]
    started: str
    starts: int


class Provenance(_Record):
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


@dataclass(frozen=True)
class BackboneRecords:
    """All that lies under ``backbones/SLUG/``, as the report reads it.

    `validation` has a stage's predictions of the validation images, `baseline_predictions` the
    baseline's shares of the test images, `out_of_fold` says of every training and validation
    image what a head says that was not trained on it, `folds` how the stages did on folds and with
    other seeds. Studies of earlier versions have none of these; where the baseline was skipped it
    has no predictions, and small classes cannot be divided into folds.
    """

    slug: str
    features: FeaturesRecord
    baseline: Baseline
    history: dict[Stage, list[Epoch]]
    predictions: dict[Stage, Predictions]
    metrics: dict[Stage, StageMetrics]
    maps: dict[Stage, Maps]
    confusion: dict[Stage, NDArray[np.int64]] = field(default_factory=dict)
    search: SearchRecord | None = None
    trials: tuple[Trial, ...] = ()
    faithfulness: Faithfulness | None = None
    suspects: Suspects | None = None
    validation: dict[Stage, Predictions] = field(default_factory=dict)
    baseline_predictions: Predictions | None = None
    out_of_fold: Predictions | None = None
    folds: FoldsRecord | None = None
    audits: dict[Stage, Audit] = field(default_factory=dict)
    audit_pictures: dict[Stage, dict[str, NDArray[np.uint8]]] = field(default_factory=dict)
