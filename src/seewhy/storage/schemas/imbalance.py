"""Measures for classes of unequal sizes and unequal costs: imbalance.json."""

from __future__ import annotations

from typing import Literal

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import FrozenRecord, Rate, Stage


class ClassRanking(FrozenRecord):
    """How well the probability of one class separates its test images from all others.

    `auroc` and `average_precision` are None where no image, or every image, is of the class.
    """

    images: int
    auroc: Interval | None = None
    average_precision: Interval | None = None


class ImbalanceScores(FrozenRecord):
    """One stage (or the baseline) on the test images.

    Attributes
    ----------
    images : int
    balanced_accuracy : Interval
        Mean recall over the classes that have test images.
    auroc, average_precision : Interval, optional
        Means over the classes whose own value is not None.
    log_loss : Interval, optional
        None for the baseline: the scores of its groups are not probabilities of the classes.
    kappa : Interval, optional
        Cohen's; None where all labels and all predictions are one class.
    matthews : Interval
        Matthews' correlation of labels and predictions; 0 where either is one class.
    sensitivity, specificity : Interval, optional
        Of the positive class of two: the recall of this class and that of the other.
    quadratic_kappa, mean_absolute_error : Interval, optional
        Of ordered classes: kappa with quadratic weights, and the mean distance of label and
        prediction in classes.
    classes : dict of str to ClassRanking
        In the order of the classes.
    """

    images: int
    balanced_accuracy: Interval
    auroc: Interval | None = None
    average_precision: Interval | None = None
    log_loss: Interval | None = None
    kappa: Interval | None = None
    matthews: Interval
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    quadratic_kappa: Interval | None = None
    mean_absolute_error: Interval | None = None
    classes: dict[str, ClassRanking]


class ThresholdRates(FrozenRecord):
    """Sensitivity, specificity and precision at one threshold, with Wilson's 95 % intervals.

    None where there is no image that the share is of.
    """

    sensitivity: Interval | None = None
    specificity: Interval | None = None
    precision: Interval | None = None


class OperatingPoint(FrozenRecord):
    """A threshold of the fine-tuned classifier for the probability of the positive class.

    Attributes
    ----------
    measure : {"sensitivity", "specificity", "precision"}
    target : float
        What `measure` has to reach on the validation images.
    validation_images : int
    threshold : float, optional
        The one nearest to 0.5 that reaches it; None where none does.
    usual, chosen : ThresholdRates
        On the test images, at 0.5 and at `threshold`.
    sentence : str
    """

    measure: Literal["sensitivity", "specificity", "precision"]
    target: Rate
    validation_images: int
    threshold: float | None = None
    usual: ThresholdRates
    chosen: ThresholdRates | None = None
    sentence: str


class Imbalance(FrozenRecord):
    """imbalance.json: one backbone on the test images, with 95 % bootstrap intervals.

    `draws` and `seed` are the bootstrap's. `positive` is the positive class of two, else None;
    `positive_was_named` says whether the configuration names it. `operating_point` is None where
    the configuration asks for none. `order` has the classes from the lowest to the highest where
    they are ordered.
    """

    draws: int
    seed: int
    positive: str | None = None
    positive_was_named: bool = False
    operating_point: OperatingPoint | None = None
    order: list[str] | None = None
    baseline: ImbalanceScores | None = None
    stages: dict[Stage, ImbalanceScores]
