"""Figures of a ranking of two classes: the ROC and the precision-recall curve.

Every figure has a `name`, unique in the page, and a text alternative, `alt`.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seewhy.evaluation.operating_point import RankingCurves
from seewhy.report.figures.svg import (
    INK,
    MUTED,
    STAGE_PAINT,
    STYLE,
    WIDTH_INCHES,
    SvgFigure,
    inline,
)
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.imbalance import ThresholdRates

_CHANCE = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (3, 2))}


def roc_and_precision(
    found: Mapping[Stage, RankingCurves], point: ThresholdRates | None, name: str, alt: str
) -> SvgFigure:
    """Draw both curves of each stage side by side, and mark the operating point.

    The dashed lines are those of a random ranking. A stage may be missing.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.6), layout="constrained")
        roc, precise = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], **_CHANCE)
        for stage, one in found.items():
            look = {"color": STAGE_PAINT[stage], "linewidth": 1.6}
            precise.plot([0, 1], [one.prevalence] * 2, **_CHANCE)
            roc.plot(one.false_alarms, one.sensitivity, **look)
            precise.step(one.recall, one.precision, where="pre", **look)
        if point is not None and point.sensitivity is not None:
            sensitivity = point.sensitivity.value
            if point.specificity is not None:
                _mark(roc, 1 - point.specificity.value, sensitivity)
            if point.precision is not None:
                _mark(precise, sensitivity, point.precision.value)
        roc.set_title("ROC")
        roc.set_xlabel("1 − specificity")
        roc.set_ylabel("sensitivity")
        precise.set_title("Precision and recall")
        precise.set_xlabel("recall (sensitivity)")
        precise.set_ylabel("precision")
        for axes in (roc, precise):
            axes.set_xlim(-0.03, 1.03)
            axes.set_ylim(-0.03, 1.03)
        return inline(figure, name, alt)


def _mark(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y], linestyle="none", marker="D", markersize=6, color=INK, mfc="none", mew=1.4)
