"""Figures of the statistics: reliability, abstention, changes, folds, faithfulness.

Every figure has a `name`, unique in the page, and a text alternative, `alt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seewhy.report.figures.svg import (
    INK,
    MUTED,
    STAGE_PAINT,
    STYLE,
    WIDTH_INCHES,
    SvgFigure,
    inline,
    name_rows,
    series_look,
)
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.abstention import StageAbstention
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.comparison import FoldComparison
from seewhy.storage.schemas.evaluation import Calibration
from seewhy.storage.schemas.faithfulness import FaithfulnessCurve
from seewhy.storage.titles import STAGE_TITLES


def reliability(
    found: Mapping[Stage, Calibration], scaled: Mapping[Stage, Calibration], name: str, alt: str
) -> SvgFigure:
    """Draw accuracy against confidence, one panel per stage.

    `found` is the classifier as it is, `scaled` after temperature scaling; a stage may be missing.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.5), layout="constrained")
        panels = figure.subplots(1, len(STAGES), sharey=True)
        for axes, stage in zip(panels, STAGES, strict=True):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
            if stage in found:
                _bins(axes, found[stage], STAGE_PAINT[stage])
            if stage in scaled:
                bins = [one for one in scaled[stage].bins if one.images]
                axes.plot(
                    [one.confidence for one in bins],
                    [one.accuracy for one in bins],
                    linestyle="none",
                    marker="D",
                    markersize=4,
                    color=INK,
                    mfc="none",
                )
            axes.set_title(STAGE_TITLES[stage])
            axes.set_xlabel("confidence")
            axes.set_xlim(-0.03, 1.03)
            axes.set_ylim(-0.03, 1.03)
        panels[0].set_ylabel("accuracy")
        return inline(figure, name, alt)


def change_dots(
    classes: Sequence[str],
    changes: Sequence[Mapping[str, Interval]],
    name: str,
    alt: str,
) -> SvgFigure:
    """Draw the change in recall per class by fine-tuning, with intervals.

    `classes` are from top to bottom; `changes` has a mapping per backbone, which may lack classes.
    """
    with rc_context(STYLE):
        step = 0.14 * len(changes)
        height = 0.75 + (0.16 + step) * len(classes)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.9)
        for number, change in enumerate(changes):
            look = series_look(number)
            shift = (number - (len(changes) - 1) / 2) * 0.5 / max(1, len(changes))
            rows = [k + shift for k, one in enumerate(classes) if one in change]
            spans = [change[one] for one in classes if one in change]
            axes.hlines(
                rows,
                [one.low for one in spans],
                [one.high for one in spans],
                color=look["color"],
                linewidth=1.4,
                alpha=0.55,
            )
            axes.plot([one.value for one in spans], rows, linestyle="none", **look)
        name_rows(axes, classes)
        axes.set_xlabel("change in recall by fine-tuning")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2f}" if value else "0")
        return inline(figure, name, alt)


def fold_dots(folds: FoldComparison, names: Mapping[str, str], name: str, alt: str) -> SvgFigure:
    """Draw each backbone's accuracy over the folds, its mean and deviation; `names` are by slug."""
    slugs = list(folds.backbones)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 0.8 + 0.4 * len(slugs)), layout="constrained")
        axes = figure.subplots()
        for row, slug in enumerate(slugs):
            scores, look = folds.backbones[slug], series_look(row)
            ends = (scores.mean - scores.deviation, scores.mean + scores.deviation)
            axes.hlines(row, *ends, color=look["color"], linewidth=6, alpha=0.3)
            axes.plot([scores.mean] * 2, [row - 0.25, row + 0.25], color=look["color"])
            axes.plot(scores.values, [row] * len(scores.values), linestyle="none", **look)
        name_rows(axes, [names.get(slug, slug) for slug in slugs])
        axes.set_xlabel("accuracy")
        return inline(figure, name, alt)


def faithfulness_curves(curves: Mapping[str, FaithfulnessCurve], name: str, alt: str) -> SvgFigure:
    """Draw how probable the explained class stays as the image is changed, one panel per title."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.5), layout="constrained")
        panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for axes, (title, curve) in zip(panels, curves.items(), strict=True):
            for values, look in (
                (curve.maps, {"color": STAGE_PAINT["finetuning"], "linewidth": 2, "marker": "o"}),
                (curve.random, {"color": MUTED, "linestyle": (0, (3, 2)), "marker": "s"}),
                (curve.gaussian, {"color": INK, "linestyle": (0, (1, 1.5)), "marker": "D"}),
            ):
                axes.plot(curve.shares, values, markersize=3, **look)
            axes.set_title(title, parse_math=False)
            axes.set_xlabel("share of pixels")
            axes.set_ylim(0, 1.02)
        panels[0].set_ylabel("probability")
        return inline(figure, name, alt)


def risk_coverage_curves(
    stages: Mapping[Stage, StageAbstention], error: float, name: str, alt: str
) -> SvgFigure:
    """Draw the error rate of the kept test images against coverage, a line per stage.

    A square (adaptation) or a dot (fine-tuning) marks the threshold; the dashed line is the `error`
    that was asked for.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.5), layout="constrained")
        axes = figure.subplots()
        axes.axhline(error, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        for stage, found in stages.items():
            colour = STAGE_PAINT[stage]
            coverage = [point.coverage for point in found.curve]
            risk = [point.risk for point in found.curve]
            axes.plot(coverage, risk, color=colour, linewidth=1.6)
            kept = found.test
            if kept is not None and kept.accuracy is not None:
                place = ([kept.coverage], [1 - kept.accuracy.value])
                sign = "s" if stage == "adaptation" else "o"
                axes.plot(*place, linestyle="none", marker=sign, markersize=6, color=colour, mew=0)
        axes.set_xlabel("coverage: share of test images that are kept")
        axes.set_ylabel("error rate")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(bottom=0)
        return inline(figure, name, alt)


def _bins(axes: Axes, found: Calibration, colour: str) -> None:
    """Draw a bin as a bar up to its accuracy, darker with more images."""
    most = max(one.images for one in found.bins)
    for one in found.bins:
        if one.accuracy is not None:
            axes.bar(
                (one.low + one.high) / 2,
                one.accuracy,
                width=(one.high - one.low) * 0.86,
                color=colour,
                alpha=0.3 + 0.7 * one.images / most,
                linewidth=0,
            )
