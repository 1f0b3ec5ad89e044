"""Figures as inline SVG: training curves and recall a class.

Matplotlib draws with stand-in colours and leaves text as text; `_inline` then turns the stand-ins
into the page's own colours (CSS variables, so that light and dark both work) and takes out what
would leak from one inline picture into the page: ids, style sheets, metadata. Names of classes
come from users: they are never read as mathematics and never as markup.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seewhy.records import STAGES, Epoch, Stage
from seewhy.report.wording import STAGE_TITLES, plain

# Matplotlib needs colours it can parse; these stand for CSS variables of the page.
_INK, _MUTED, _RULE = "#010203", "#010204", "#010205"
_STAGE: dict[str, str] = {"baseline": "#010301", "adaptation": "#010302", "finetuning": "#010303"}
_BACKBONES = tuple(f"#0104{number:02x}" for number in range(1, 7))
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    **{colour: f"var(--{stage})" for stage, colour in _STAGE.items()},
    **{colour: f"var(--series-{k})" for k, colour in enumerate(_BACKBONES, 1)},
}
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "seewhy",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
# Matplotlib's markers and, for the key beside the figure, the signs that look like them.
MARKERS, SIGNS = "osD^vP", "●■◆▲▼✚"
WIDTH_INCHES = 4.5


@dataclass(frozen=True)
class Series:
    """Values a class, drawn as one kind of dot; a class may be missing.

    Attributes
    ----------
    name : str
    values : mapping of str to float
        Shares in 0 … 1.
    paint : str
        ``baseline``, ``adaptation``, ``finetuning``, ``human``, or a backbone's number, from 0.
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
) -> Markup:
    """Draw the course of both stages, side by side on one scale.

    Parameters
    ----------
    history : mapping of stage to sequence of Epoch
    best : mapping of stage to int
        The epoch whose weights came back; 0 where none was better than the start.
    quantity : {"loss", "accuracy"}
    name : str
        Unique in the page; what is used twice inside the figure carries it in its id.
    alt : str
        What one sees, for those who do not see it.

    Returns
    -------
    Markup
        An ``<svg>`` element.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.7), layout="constrained")
        lengths = [max(len(history[stage]), 1) for stage in STAGES]
        # A short stage stays wide enough to read.
        widths = [max(length, sum(lengths) * 0.3) for length in lengths]
        panels = figure.subplots(1, 2, sharey=True, width_ratios=widths)
        for axes, stage in zip(panels, STAGES, strict=True):
            _course(axes, history[stage], best[stage], quantity, stage)
            axes.set_title(STAGE_TITLES[stage])
            axes.set_xlabel("epoch")
        return _inline(figure, name, alt)


def recall_dots(classes: Sequence[str], series: Sequence[Series], name: str, alt: str) -> Markup:
    """Draw recall a class: a row a class, a dot a series.

    Adaptation and fine-tuning are joined by a line, so that one sees which way a class went.

    Parameters
    ----------
    classes : sequence of str
        From top to bottom.
    series : sequence of Series
    name : str
        Unique in the page.
    alt : str

    Returns
    -------
    Markup
        An ``<svg>`` element.
    """
    with rc_context(_STYLE):
        height = 0.75 + 0.26 * len(classes)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(classes))
        axes.set_yticks(rows, [plain(name, 28) for name in classes], parse_math=False)
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        _join_stages(axes, classes, series)
        lowest = 1.0
        for one in series:
            values = np.array([one.values.get(name, np.nan) for name in classes])
            lowest = min([lowest, *values[~np.isnan(values)].tolist()])
            axes.plot(values, rows, linestyle="none", **_dot(one.paint))
        axes.set_xlim(max(0.0, np.floor(lowest * 10 - 0.5) / 10) - 0.02, 1.02)
        axes.set_xlabel("recall")
        return _inline(figure, name, alt)


def _course(axes: Axes, history: Sequence[Epoch], best: int, quantity: str, stage: Stage) -> None:
    colour = _STAGE[stage]
    epochs = [epoch.epoch for epoch in history]
    for part, style in (("train", (0, (3, 2))), ("validation", "solid")):
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
        if part == "validation":
            for epoch, value in zip(epochs, values, strict=True):
                if epoch == best:
                    axes.axvline(epoch, color=_MUTED, linewidth=0.7, linestyle=(0, (1, 2)))
                    axes.plot(
                        epoch, value, marker="o", markersize=7, color=colour, markerfacecolor="none"
                    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    axes.margins(x=0.06 if len(epochs) > 1 else 0.5)
    axes.grid(visible=False, axis="x")
    if quantity == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2f}")


def _join_stages(axes: Axes, classes: Sequence[str], series: Sequence[Series]) -> None:
    both = {one.paint: one.values for one in series if one.paint in STAGES}
    if len(both) < len(STAGES):
        return
    for row, name in enumerate(classes):
        if all(name in values for values in both.values()):
            ends = [both[stage][name] for stage in STAGES]
            axes.plot(ends, [row, row], color=_STAGE["finetuning"], linewidth=1.6, alpha=0.45)


def _dot(paint: str) -> dict[str, Any]:
    """Return how a series' dots look: never by colour alone."""
    if paint == "human":
        return {"marker": "|", "markersize": 12, "markeredgewidth": 1.6, "color": _INK}
    if paint == "baseline":
        return {"marker": "D", "markersize": 4.5, "color": _STAGE[paint], "mfc": "none"}
    if paint in STAGES:
        shape = "o" if paint == "finetuning" else "s"
        return {"marker": shape, "markersize": 6, "color": _STAGE[paint], "mew": 0}
    number = int(paint)
    colour = _BACKBONES[number % len(_BACKBONES)]
    return {"marker": MARKERS[number % len(MARKERS)], "markersize": 6, "color": colour, "mew": 0}


def _inline(figure: Figure, name: str, alt: str) -> Markup:
    """Draw a figure as an ``<svg>`` element that can stand in a page beside others."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        # The reader's browser has the fonts; Matplotlib only guesses widths with its own.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        FigureCanvasSVG(figure)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    root = ET.fromstring(stream.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _localise(element, f"{name}-")
        if element.tag != "text" and not (element.text or "").strip():
            element.text = None
        element.tail = None
    _, _, width, height = root.get("viewBox", "0 0 1 1").split()
    root.attrib = {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": alt}
    return Markup(ET.tostring(root, encoding="unicode"))


def _localise(element: ET.Element, prefix: str) -> None:
    """Take namespaces off an element, prefix its ids and references, and paint it."""
    element.tag = _local(element.tag)
    attributes: dict[str, str] = {}
    for full_name, value in element.attrib.items():
        name = _local(full_name)
        if name == "id":
            # Groups carry ids that nothing refers to; shapes that are used again need theirs.
            if element.tag == "g":
                continue
            value = prefix + value
        elif name == "href":
            value = f"#{prefix}{value[1:]}"
        elif name == "style":
            value = _font_of_page(value)
        attributes[name] = _painted(value.replace("url(#", f"url(#{prefix}"))
    element.attrib = attributes


def _painted(value: str) -> str:
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, variable)
    return value


def _font_of_page(style: str) -> str:
    """Keep a text's size and anchor and let it inherit the page's fonts."""
    style = re.sub(r"font: [^;]*?([\d.]+)px [^;]*", r"font-size: \1px", style)
    return re.sub(r"font-family: [^;]*;? ?", "", style)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
