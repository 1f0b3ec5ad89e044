"""What the evaluation finds: evaluation.json of a backbone, comparison.json of a study.

Plain values that JSON can hold, so that the report draws them without computing anything. How
each number is worked out is in ``evaluation/`` and docs/statistics.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from seewhy.storage.schemas.study import Rate, Stage, clamped

Correlation = Annotated[float, clamped(-1, 1), Field(ge=-1, le=1)]
Over = Literal["folds", "seeds"]
FoldTest = Literal["corrected t", "paired t"]
PairTest = Literal["exact binomial", "chi-squared"]
Topic = Literal[
    "ranking",
    "overfitting",
    "classes",
    "confusions",
    "stages",
    "people",
    "calibration",
    "agreement",
    "maps",
    "folds",
    "caution",
]


class _Finding(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Interval(_Finding):
    """A number and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class ClassScores(_Finding):
    """One class on the test images; with no images (or none predicted) a rate is 0."""

    images: int
    predicted: int
    precision: Interval
    recall: Interval
    f1: Interval


class ConfusionCell(_Finding):
    """Images of one class that were taken for another, or for itself.

    `rate` is their share of the images of the class.
    """

    label: str
    predicted: str
    images: int
    rate: Rate


class ReliabilityBin(_Finding):
    """Images whose confidence lies in (low, high]; the means are None where there are none."""

    low: Rate
    high: Rate
    images: int
    confidence: Rate | None = None
    accuracy: Rate | None = None


class Calibration(_Finding):
    """How far confidences are from the share that is right.

    Attributes
    ----------
    error : Interval
        Expected calibration error over `bins`, equally wide.
    error_if_calibrated : float
        What the same confidences would show on average were they exactly right.
    error_if_calibrated_high : float
        What they would then stay below in 95 of 100 test sets: an error above it is no chance.
    confidence : float
        Mean confidence; above the accuracy, the classifier is too sure of itself.
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


class TemperatureScaling(_Finding):
    """Temperature scaling fitted on the validation images, measured on the test images.

    `temperature` and `scaled` are None where none could be fitted; `skipped` then says why.
    A temperature above 1 makes probabilities less sure.
    """

    images: int
    temperature: float | None = None
    scaled: Calibration | None = None
    skipped: str | None = None


class StageEvaluation(_Finding):
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


class Evaluation(_Finding):
    """evaluation.json: one backbone on the test images, with 95 % bootstrap intervals.

    `draws` and `seed` are the bootstrap's. `baseline` is None where there is none, or where its
    predictions were not kept; baseline.json says which.
    """

    draws: int
    seed: int
    baseline: StageEvaluation | None = None
    stages: dict[Stage, StageEvaluation]


class Disagreement(_Finding):
    """A test image that two classifiers name differently, and how surely."""

    id: str
    label: str
    first: str
    second: str
    first_confidence: Rate
    second_confidence: Rate


class MapDifference(_Finding):
    """How alike two maps of one image are; see `MapAgreement`."""

    id: str
    label: str
    pearson: Correlation
    spearman: Correlation
    overlap: Rate


class MapAgreement(_Finding):
    """How alike two classifiers' maps of the same images are, each for the image's label.

    Attributes
    ----------
    images, left_out : int
        Images compared; images left out because a map is empty, or the same everywhere.
    grid : tuple of int
        Height and width of the common grid.
    pearson, spearman : Interval, optional
        Mean correlation over the places of an image; None where no image is left.
    overlap : Interval, optional
        Mean intersection over union of the highest fifth of the places.
    overlap_by_chance : float, optional
        What two random choices of as many places overlap on average.
    pearson_other_image, overlap_other_image : float, optional
        The same for maps of two different images: what the maps of a classifier have in common
        whatever they show, such as a habit of looking at the middle.
    classes : dict of str to float
        Mean Pearson correlation over the images of each class that has any.
    least_alike : list of MapDifference
        The images with the lowest Pearson correlation, lowest first.
    """

    images: int
    left_out: int
    grid: tuple[int, int]
    pearson: Interval | None = None
    spearman: Interval | None = None
    overlap: Interval | None = None
    overlap_by_chance: Rate | None = None
    pearson_other_image: Correlation | None = None
    overlap_other_image: Rate | None = None
    classes: dict[str, Correlation] = Field(default_factory=dict)
    least_alike: list[MapDifference] = Field(default_factory=list)


class ClassifierPair(_Finding):
    """Two classifiers on the same test images at the same stage.

    Attributes
    ----------
    stage : Stage
    first, second : str
        Slugs of the backbones.
    images, both_right, first_only, second_only, both_wrong : int
        Which of the two names how many images rightly.
    difference : Interval
        Accuracy of the first less that of the second, images paired.
    test : {"exact binomial", "chi-squared"}
        McNemar's test: exact below 25 discordant images, else chi-squared with continuity
        correction.
    statistic : float, optional
        Chi-squared, one degree of freedom.
    p, p_holm : float
        Two-sided; the latter corrected for all pairs of the stage after Holm.
    agreement : float
        Share of images that both name alike, rightly or not.
    kappa : float, optional
        Cohen's; None where both name one and the same class throughout.
    disagreements : list of Disagreement
        The images where both are surest of different classes, surest first.
    maps : MapAgreement, optional
        None where a stage has no maps.
    """

    stage: Stage
    first: str
    second: str
    images: int
    both_right: int
    first_only: int
    second_only: int
    both_wrong: int
    difference: Interval
    test: PairTest
    statistic: float | None = None
    p: Rate
    p_holm: Rate
    agreement: Rate
    kappa: Correlation | None = None
    disagreements: list[Disagreement]
    maps: MapAgreement | None = None


class MapMovement(_Finding):
    """How the maps moved from adaptation to fine-tuning.

    Attributes
    ----------
    agreement : MapAgreement
        Between the two stages' maps of the same images.
    shift : Interval, optional
        Mean distance between their centres of mass, as a share of the image's side.
    right, down : float, optional
        Mean movement to the right and downwards, as shares of the side.
    class_shift : dict of str to float
        Mean distance over the images of each class.
    most_moved : list of str
        Ids of the images whose centre moved farthest, farthest first.
    """

    agreement: MapAgreement
    shift: Interval | None = None
    right: float | None = None
    down: float | None = None
    class_shift: dict[str, float] = Field(default_factory=dict)
    most_moved: list[str] = Field(default_factory=list)


class StageChange(_Finding):
    """What fine-tuning changed in a backbone after adaptation, on the same test images.

    `accuracy` and `recall` are fine-tuning less adaptation, images paired; `first_only` counts
    images only adaptation names rightly, `second_only` those only fine-tuning does, and `p` is
    McNemar's for them. A class without test images is not in `recall`.
    """

    accuracy: Interval
    recall: dict[str, Interval]
    first_only: int
    second_only: int
    test: PairTest
    p: Rate
    maps: MapMovement | None = None


class FoldScores(_Finding):
    """One backbone's accuracy over folds or seeds: mean, sample standard deviation, values."""

    mean: Rate
    deviation: float
    values: list[Rate]


class FoldDifference(_Finding):
    """Two backbones over folds or seeds.

    Attributes
    ----------
    first, second : str
    difference : float
        Mean difference in accuracy, the first less the second.
    low, high : float, optional
        Its 95 % interval, of this pair alone.
    p, p_holm : float, optional
        Two-sided; the latter corrected for all pairs after Holm. None where nothing was tested.
    """

    first: str
    second: str
    difference: float
    low: float | None = None
    high: float | None = None
    p: Rate | None = None
    p_holm: Rate | None = None


# What versions wrote that had Friedman's test, and a test whose ratio was 1 / (k − 1).
_EARLIER = ("statistic", "p", "critical_difference", "groups")


class FoldComparison(_Finding):
    """Backbones over the same folds, or seeds, of one stage.

    Attributes
    ----------
    stage : Stage
    over : {"folds", "seeds"}
        Over folds the values are of the held-out images, over seeds of the test images.
    repetitions : list of str
        Such as ``fold 1``.
    backbones : dict of str to FoldScores
    test : {"corrected t", "paired t"}, optional
        Of every pair: the corrected resampled t-test over folds, the paired t-test over seeds,
        which share all their images. None where there is nothing to test, and `untested` says why.
    held_out_ratio : float, optional
        Images held out over images trained on, the mean over the folds; what the test is corrected
        by.
    mean_ranks : dict of str to float
        1 is best; ties share their ranks. A description: no test is made of them.
    pairs : list of FoldDifference
    """

    stage: Stage
    over: Over = "folds"
    repetitions: list[str]
    backbones: dict[str, FoldScores]
    test: FoldTest | None = None
    untested: str | None = None
    held_out_ratio: float | None = None
    mean_ranks: dict[str, float] = Field(default_factory=dict)
    pairs: list[FoldDifference] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _without_earlier_claims(cls, values: Any) -> Any:
        """Read what an earlier version wrote, without the tests it should not have made."""
        if not _is_earlier(values):
            return values
        kept = {key: value for key, value in values.items() if key not in _EARLIER}
        pairs = [{**pair, "p": None} for pair in kept.get("pairs", ())]
        reason = kept.get("untested") or (
            "an earlier version tested them in a way that finds differences too often; "
            "`seewhy evaluate RUN` compares them again"
        )
        return {**kept, "test": None, "untested": reason, "pairs": pairs}


def _is_earlier(values: Any) -> bool:
    return isinstance(values, dict) and any(key in values for key in _EARLIER)


class Sentence(_Finding):
    """One sentence made from the numbers, and what it speaks of."""

    topic: Topic
    text: str


class Comparison(_Finding):
    """comparison.json: backbones, stages and folds side by side, and what that says in words.

    Attributes
    ----------
    names : dict of str to str
        What each backbone is called in the sentences, by slug.
    images : int
        Test images.
    pairs : list of ClassifierPair
        Every pair of backbones at every stage; empty with one backbone.
    changes : dict of str to StageChange
        By slug.
    folds : list of FoldComparison
        Empty where the study has no folds.
    sentences : list of Sentence
    """

    names: dict[str, str]
    images: int
    pairs: list[ClassifierPair]
    changes: dict[str, StageChange]
    folds: list[FoldComparison]
    sentences: list[Sentence]

    @model_validator(mode="before")
    @classmethod
    def _without_earlier_claims(cls, values: Any) -> Any:
        """Leave out what an earlier version said of folds; see `FoldComparison`."""
        if isinstance(values, dict) and any(map(_is_earlier, values.get("folds", ()))):
            said = [one for one in values.get("sentences", ()) if one.get("topic") != "folds"]
            return {**values, "sentences": said}
        return values
