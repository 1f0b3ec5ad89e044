"""How a Matplotlib figure becomes a part of the page: its style, its colours, its SVG.

Matplotlib draws with stand-in colours and leaves text as text; `inline` then turns the stand-ins
into the page's own colours (CSS variables, so that light and dark both work) and takes out what
would leak from one inline picture into the page: ids, style sheets, metadata.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from seewhy.wording import plain

# Matplotlib needs colours it can parse; these stand for CSS variables of the page.
INK, MUTED, RULE = "#010203", "#010204", "#010205"
STAGE_PAINT: dict[str, str] = {
    "baseline": "#010301",
    "adaptation": "#010302",
    "finetuning": "#010303",
}
SERIES_PAINT = tuple(f"#0104{number:02x}" for number in range(1, 7))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--{stage})" for stage, colour in STAGE_PAINT.items()},
    **{colour: f"var(--series-{k})" for k, colour in enumerate(SERIES_PAINT, 1)},
}
_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "seewhy",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
# Matplotlib's markers and, for the key beside the figure, the signs that look like them.
MARKERS, SIGNS = "osD^vP", "●■◆▲▼✚"
WIDTH_INCHES = 4.5


class SvgFigure(Markup):
    """An ``<svg>`` element of the page; `name` is unique and its file's too, `alt` describes it."""

    name: str
    alt: str

    @classmethod
    def of(cls, svg: str, name: str, alt: str) -> SvgFigure:
        """Name an ``<svg>`` element."""
        drawing = cls(svg)
        drawing.name, drawing.alt = name, alt
        return drawing


def inline(figure: Figure, name: str, alt: str) -> SvgFigure:
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
    return SvgFigure.of(ET.tostring(root, encoding="unicode"), name, alt)


def series_look(number: int, size: float = 5) -> dict[str, Any]:
    """Return Matplotlib's style of a series' dots: a sign as well as a colour."""
    colour = SERIES_PAINT[number % len(SERIES_PAINT)]
    return {"marker": MARKERS[number % len(MARKERS)], "markersize": size, "color": colour, "mew": 0}


def key_entry(number: int, name: str) -> dict[str, Any]:
    """Return how the key beside a figure names a series: its sign, and the number of its colour."""
    return {"sign": SIGNS[number % len(SIGNS)], "name": name, "paint": number % len(SIGNS) + 1}


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Make one row per name, from top to bottom."""
    axes.set_yticks(np.arange(len(names)), [plain(one, 28) for one in names], parse_math=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def standalone(drawing: SvgFigure, colours: Mapping[str, str]) -> str:
    """Return a drawing as an SVG file of its own, with the page's colours by variables' names."""
    root = ET.fromstring(drawing)
    _, _, width, height = root.attrib["viewBox"].split()
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "href":
                # The older name is the one that every program knows.
                element.attrib["xlink:href"] = element.attrib.pop(key)
            elif key != "aria-label":
                element.attrib[key] = _VARIABLE.sub(lambda found: colours[found[1]], value)
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "xmlns:xlink": "http://www.w3.org/1999/xlink",
        "width": f"{width}pt",
        "height": f"{height}pt",
        "font-family": "Helvetica, Arial, sans-serif",
    }
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


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
