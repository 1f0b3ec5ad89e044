"""Figures as inline SVG: training curves and recall per class.

Names of classes come from users: they are never read as mathematics or as markup. Every figure
has a `name`, unique in the page, and a text alternative, `alt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

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
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.training import Epoch
from seewhy.storage.titles import STAGE_TITLES
from seewhy.wording import plain


@dataclass(frozen=True)
class DotSeries:
    """Shares per class, drawn as one kind of dot; a class may be missing.

    `paint` is ``baseline``, ``adaptation``, ``finetuning``, ``human``, or a backbone's number, from
    0.
    """

    name: str
    values: Mapping[str, float]
    paint: str


def curves(
    history: Mapping[Stage, Sequence[Epoch]],
    best: Mapping[Stage, int],
    quantity: str,
    name: str,
    alt: str,
) -> SvgFigure:
    """Draw the curves of both stages, side by side on one scale.

    `quantity` is ``loss``, ``accuracy`` or ``metric``, which is of the validation images alone;
    `best` are the epochs whose weights were kept, 0 where
    none was better than the start.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.7), layout="constrained")
        lengths = [max(len(history[stage]), 1) for stage in STAGES]
        # A short stage stays wide enough to read.
        widths = [max(length, sum(lengths) * 0.3) for length in lengths]
        panels = figure.subplots(1, 2, sharey=True, width_ratios=widths)
        for axes, stage in zip(panels, STAGES, strict=True):
            _course(axes, history[stage], best[stage], quantity, stage)
            axes.set_title(STAGE_TITLES[stage])
            axes.set_xlabel("epoch")
        return inline(figure, name, alt)


def recall_dots(
    classes: Sequence[str], series: Sequence[DotSeries], name: str, alt: str
) -> SvgFigure:
    """Draw recall per class: one row per class, one dot per series.

    A line joins adaptation and fine-tuning and shows the direction of the change.
    """
    with rc_context(STYLE):
        height = 0.75 + 0.26 * len(classes)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(classes))
        name_rows(axes, classes)
        _join_stages(axes, classes, series)
        lowest = 1.0
        for one in series:
            values = np.array([one.values.get(name, np.nan) for name in classes])
            lowest = min([lowest, *values[~np.isnan(values)].tolist()])
            axes.plot(values, rows, linestyle="none", **_dot(one.paint))
        axes.set_xlim(max(0.0, np.floor(lowest * 10 - 0.5) / 10) - 0.02, 1.02)
        axes.set_xlabel("recall")
        return inline(figure, name, alt)


def confusion_matrix(
    confusion: NDArray[np.int64], classes: Sequence[str], name: str, alt: str
) -> SvgFigure:
    """Draw a confusion matrix (K, K): one row per class, colour by the share of the row."""
    count = len(classes)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    with rc_context(STYLE):
        names = [plain(one, 20) for one in classes]
        # Set by hand: a layout that measures every text takes longer than all the rest.
        room, cells = 0.45 + 0.075 * max(map(len, names)), 0.34 * count
        side = room + cells + 0.1
        figure = Figure(figsize=(side, side))
        axes = figure.add_axes((room / side, 0.1 / side, cells / side, cells / side))
        for row, column in np.ndindex(count, count):
            images, part = int(confusion[row, column]), float(shares[row, column])
            corner = (column - 0.46, row - 0.46)
            paint = STAGE_PAINT["finetuning"]
            axes.add_patch(
                Rectangle(corner, 0.92, 0.92, color=paint, alpha=0.05 + 0.95 * part, lw=0)
            )
            if images:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, str(images), ha="center", va="center", weight=weight)
        axes.set_xticks(range(count), names, rotation=90, parse_math=False)
        axes.set_yticks(range(count), names, parse_math=False)
        axes.tick_params(length=0, labelcolor=INK)
        axes.xaxis.tick_top()
        middle = (room + cells / 2) / side
        figure.text(middle, 1 - 0.1 / side, "predicted as", ha="center", va="top")
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.grid(visible=False)
        axes.set_aspect("equal")
        axes.spines[["left", "bottom"]].set_visible(False)
        return inline(figure, name, alt)


def _course(axes: Axes, history: Sequence[Epoch], best: int, quantity: str, stage: Stage) -> None:
    colour = STAGE_PAINT[stage]
    epochs = [epoch.epoch for epoch in history]
    styles = {"train": (0, (3, 2)), "validation": "solid"}
    if quantity == "metric":
        del styles["train"]
    for part, style in styles.items():
        values = [getattr(epoch, f"{part}_{quantity}") for epoch in history]
        axes.plot(
            epochs,
            values,
            color=colour,
            linestyle=style,
            linewidth=1.1 if part == "train" else 1.9,
            marker="o" if len(epochs) < 3 else None,
            markersize=3,
        )
        if part == "validation" and best in epochs:
            axes.axvline(best, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)))
            value = values[epochs.index(best)]
            axes.plot(best, value, marker="o", markersize=7, color=colour, markerfacecolor="none")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    axes.margins(x=0.06 if len(epochs) > 1 else 0.5)
    axes.grid(visible=False, axis="x")
    if quantity == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2f}")


def _join_stages(axes: Axes, classes: Sequence[str], series: Sequence[DotSeries]) -> None:
    both = {one.paint: one.values for one in series if one.paint in STAGES}
    if len(both) < len(STAGES):
        return
    for row, name in enumerate(classes):
        if all(name in values for values in both.values()):
            ends = [both[stage][name] for stage in STAGES]
            axes.plot(ends, [row, row], color=STAGE_PAINT["finetuning"], linewidth=1.6, alpha=0.45)


def _dot(paint: str) -> dict[str, Any]:
    """Return the style of the dots of a series: never colour alone."""
    if paint == "human":
        return {"marker": "|", "markersize": 12, "markeredgewidth": 1.6, "color": INK}
    if paint == "baseline":
        return {"marker": "D", "markersize": 4.5, "color": STAGE_PAINT[paint], "mfc": "none"}
    if paint in STAGES:
        shape = "o" if paint == "finetuning" else "s"
        return {"marker": shape, "markersize": 6, "color": STAGE_PAINT[paint], "mew": 0}
    return series_look(int(paint), 6)
