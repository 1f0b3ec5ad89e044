"""A backbone's test accuracy by the columns of the images' table: breakdown.json."""

from __future__ import annotations

from pydantic import Field

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import FrozenRecord, Rate


class GroupScores(FrozenRecord):
    """The test images of one value of a column, or of one class with that value.

    `recall`, `precision` and `f1` are means over the classes that these images have; they are None
    where `label` names a single class, whose accuracy is its recall.
    """

    value: str
    label: str | None = None
    images: int
    accuracy: Interval
    recall: Rate | None = None
    precision: Rate | None = None
    f1: Rate | None = None


class ColumnBreakdown(FrozenRecord):
    """One column: the test images of each of its values, and whether errors depend on it.

    Attributes
    ----------
    column : str
    values : list of GroupScores
        In the order of the values.
    cells : list of GroupScores
        Each class with each value, in this order.
    worst : GroupScores, optional
        The lowest accuracy of `cells` with at least `fewest` images: worst-group accuracy.
    fewest : int
    gap : Interval, optional
        Accuracy of the best value minus that of the worst, of those with at least `fewest`.
    best_value, worst_value : str, optional
        Which they are.
    p : float, optional
        Of the test whether errors and column are independent within each class; None where it
        cannot be made, and `untested` says why.
    association : float, optional
        Cramér's V of column and label, over all images of the study.
    """

    column: str
    values: list[GroupScores]
    cells: list[GroupScores]
    worst: GroupScores | None = None
    fewest: int
    gap: Interval | None = None
    best_value: str | None = None
    worst_value: str | None = None
    p: float | None = None
    untested: str | None = None
    association: float | None = None


class Breakdown(FrozenRecord):
    """breakdown.json: the fine-tuned classifier on the test images, by columns of the table."""

    columns: list[ColumnBreakdown]
    sentences: list[str] = Field(default_factory=list)
