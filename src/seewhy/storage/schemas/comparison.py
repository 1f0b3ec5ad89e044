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
PairTest = Literal["exact binomial", "chi-squared", "sign-flip"]
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

    `left_out` images have a map that is empty, or the same everywhere; `grid` is the common height
    and width. `pearson` and `spearman` are mean correlations over the places of an image, None
    where no image is left; `overlap` is the mean intersection over union of the highest fifth of
    the places, and `overlap_by_chance` that of two random choices of as many places.
    `pearson_other_image` and `overlap_other_image` are the same for maps of two different images:
    what the maps of a classifier have in common whatever they show, such as high values in the
    middle. `classes` has the mean Pearson correlation of each class, `least_alike` the images with
    the lowest, lowest first.
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
    """Two classifiers on the same test images at the same stage, by the slugs of their backbones.

    `both_right`, `first_only`, `second_only` and `both_wrong` count the images that both, one or
    none predicts correctly. `difference` is the accuracy of the first less that of the second,
    images paired. `test` is McNemar's, exact below 25 discordant images, else chi-squared with
    continuity correction and its `statistic`; of grouped images, a sign-flip test. `p` and `p_holm`
    are two-sided, the latter corrected for all pairs of the stage after Holm. `agreement` is the
    share of images with the same
    prediction, `kappa` Cohen's, None where both always predict one and the same class.
    `disagreements` are the images with different predictions, the most confident first.
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


class LogLosses(FrozenRecord):
    """The log loss of two classifiers on the same test images, nats per image.

    `difference` is that of the first less that of the second, images paired.
    """

    first: Interval
    second: Interval
    difference: Interval


class MapMovement(FrozenRecord):
    """How the maps moved from adaptation to fine-tuning, with the `agreement` of both stages' maps.

    `shift` is the mean distance between their centres of mass, `right` and `down` the mean
    movement, as shares of the image's side. `class_shift` is the mean distance over the images of
    each class; `most_moved` are the ids of the images whose centre moved farthest, farthest first.
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
    `p` is that of `test`. A class without test images is not in `recall`.
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

    Over folds the values are of the held-out images, over seeds of the test images. `test` is that
    of every pair: the corrected resampled t-test over folds, the paired t-test over seeds, which
    share all their images; None where there is nothing to test, and `untested` says why.
    `held_out_ratio` is images held out over images trained on, the mean over the folds, by which
    the test is corrected. In `mean_ranks` 1 is best and ties share their ranks: a description,
    which is not tested. `left_out` is the column of which each fold is one value, if any.
    """

    stage: Stage
    over: Over = "folds"
    repetitions: list[str]
    backbones: dict[str, FoldScores]
    test: FoldTest | None = None
    untested: str | None = None
    held_out_ratio: float | None = None
    left_out: str | None = None
    mean_ranks: dict[str, float] = Field(default_factory=dict)
    pairs: list[FoldDifference] = Field(default_factory=list)


class Sentence(FrozenRecord):
    """One sentence made from the numbers, and its topic."""

    topic: Topic
    text: str


class Comparison(FrozenRecord):
    """comparison.json: backbones, stages and folds side by side, and what that says in sentences.

    `names` has what each backbone is called in the sentences, by slug. `images` counts test images.
    `pairs` are all pairs of backbones at every stage.
    """

    names: dict[str, str]
    images: int
    pairs: list[ClassifierPair]
    changes: dict[str, StageChange]
    folds: list[FoldComparison]
    sentences: list[Sentence]
