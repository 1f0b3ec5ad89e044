"""Backbones, stages and folds side by side: comparison.json.

Plain values that JSON can hold, so that the report draws them without computing anything. How
each number is computed is in ``evaluation/`` and docs/statistics.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import Correlation, FrozenRecord, Rate, Stage

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


class Disagreement(FrozenRecord):
    """A test image that two classifiers predict as different classes, with their confidences."""

    id: str
    label: str
    first: str
    second: str
    first_confidence: Rate
    second_confidence: Rate


class MapDifference(FrozenRecord):
    """How alike two maps of one image are; see `MapAgreement`."""

    id: str
    label: str
    pearson: Correlation
    spearman: Correlation
    overlap: Rate


class MapAgreement(FrozenRecord):
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


class ClassifierPair(FrozenRecord):
    """Two classifiers on the same test images at the same stage.

    Attributes
    ----------
    first, second : str
        Slugs of the backbones.
    images, both_right, first_only, second_only, both_wrong : int
        How many images both, one or none of the two predicts correctly.
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
        Share of images with the same prediction.
    kappa : float, optional
        Cohen's; None where both always predict one and the same class.
    disagreements : list of Disagreement
        The images with different predictions, the most confident first.
    maps : MapAgreement, optional
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


class MapMovement(FrozenRecord):
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


class StageChange(FrozenRecord):
    """What fine-tuning changed in a backbone after adaptation, on the same test images.

    `accuracy` and `recall` are fine-tuning less adaptation, images paired; `first_only` counts
    images that only adaptation predicts correctly, `second_only` those only fine-tuning does, and
    `p` is McNemar's for them. A class without test images is not in `recall`.
    """

    accuracy: Interval
    recall: dict[str, Interval]
    first_only: int
    second_only: int
    test: PairTest
    p: Rate
    maps: MapMovement | None = None


class FoldScores(FrozenRecord):
    """One backbone's accuracy over folds or seeds: mean, sample standard deviation, values."""

    mean: Rate
    deviation: float
    values: list[Rate]


class FoldDifference(FrozenRecord):
    """Two backbones over folds or seeds.

    `difference` is the mean difference in accuracy, the first less the second; `low` and `high` are
    its 95 % interval, of this pair alone. `p` and `p_holm` are two-sided, the latter corrected for
    all pairs after Holm; None where nothing was tested.
    """

    first: str
    second: str
    difference: float
    low: float | None = None
    high: float | None = None
    p: Rate | None = None
    p_holm: Rate | None = None


class FoldComparison(FrozenRecord):
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


class Sentence(FrozenRecord):
    """One sentence made from the numbers, and its topic."""

    topic: Topic
    text: str


class Comparison(FrozenRecord):
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
    """

    names: dict[str, str]
    images: int
    pairs: list[ClassifierPair]
    changes: dict[str, StageChange]
    folds: list[FoldComparison]
    sentences: list[Sentence]
