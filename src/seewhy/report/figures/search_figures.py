"""Figures of the search: its course, each parameter against the value, what mattered.

A trial that failed, or was pruned before it reached anything, has no value: its sign is drawn at
the foot of the figure. A layer count has one colour and one sign in all figures of the search.
Every figure has a `name`, unique in the page, and a text alternative, `alt`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from seewhy.report.figures.svg import (
    INK,
    MUTED,
    STYLE,
    WIDTH_INCHES,
    SvgFigure,
    inline,
    series_look,
)
from seewhy.statistics.classification import LOWER_IS_BETTER
from seewhy.storage.schemas.search import Trial


class Scale(NamedTuple):
    """The bounds on which a search's values are drawn, and the bounds that they can have."""

    low: float
    high: float
    least: float = 0.0
    most: float = 1.0


# Of metrics that are no share in 0 … 1.
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("kappa", "matthews", "quadratic_kappa"), (-1.0, 1.0)),
    **dict.fromkeys(LOWER_IS_BETTER, (0.0, math.inf)),
}

# What a trial may vary, by its field, in the order in which it is shown.
PARAMETERS = {
    "learning_rate": "learning rate",
    "dropout": "dropout",
    "units_p": "units p",
    "batch_size": "batch size",
    "loss": "loss",
}
LOSSES = {"cross-entropy": "cross-entropy", "kl-divergence": "KL divergence"}
# Small multiples stand two in a row on a phone and five on a wide page: a size for both.
_PANEL_INCHES = (2.2, 1.95)
_PANEL_STYLE = {
    **STYLE,
    "font.size": 10,
    "axes.titlesize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
}
_FOOT = 0.045
_GOLDEN = (math.sqrt(5) - 1) / 2


def reached(trial: Trial) -> float | None:
    """Return a trial's value; None where it has none that can be drawn."""
    return trial.value if trial.value is not None and math.isfinite(trial.value) else None


def best_so_far(trials: Sequence[Trial], lower: bool = False) -> list[float | None]:
    """Return the running best over the completed trials of one layer count; None before one.

    The best is the highest value, or the lowest where `lower` values are better. A pruned trial
    reports what it had reached, not what its head is worth: it does not count.
    """
    best: float | None = None
    course = []
    for trial in trials:
        value = reached(trial) if trial.state == "complete" else None
        if value is not None:
            best = value if best is None else (min if lower else max)(best, value)
        course.append(best)
    return course


def varied(trials: Sequence[Trial], parameter: str) -> list[Trial]:
    """Return the trials of those layer counts in which `parameter` took more than one value."""
    seen: dict[int, set[object]] = {}
    for trial in trials:
        seen.setdefault(trial.layers, set()).add(getattr(trial, parameter))
    return [trial for trial in trials if len(seen[trial.layers]) > 1]


def value_scale(trials: Sequence[Trial], metric: str | None = None) -> Scale:
    """Return the bounds on which all figures of a backbone's search are drawn.

    `metric` is what the values are, where they are not accuracies.
    """
    values = [value for trial in trials if (value := reached(trial)) is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = max(high - low, 0.02)
    room = 0.16 if len(values) < len(trials) else 0.07
    bounds = _BOUNDS.get(metric or "", (0.0, 1.0))
    return Scale(low - room * span, high + 0.07 * span, *bounds)


def course(
    trials: Sequence[Trial],
    best_trial: int | None,
    before: float | None,
    scale: Scale,
    name: str,
    alt: str,
    lower: bool = False,
) -> SvgFigure:
    """Draw every trial of one layer count and the best so far, against the trial's number.

    The trial numbered `best_trial` gets a ring. `before` is the best value with fewer hidden
    layers, which this layer count had to beat; `lower` says that lower values are better.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 2.6), layout="constrained")
        axes = figure.subplots()
        if before is not None:
            axes.axhline(before, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
        numbers = [trial.number for trial in trials]
        best = [math.nan if value is None else value for value in best_so_far(trials, lower)]
        colour = series_look(trials[0].layers - 1)["color"]
        axes.plot(numbers, best, drawstyle="steps-post", color=colour, linewidth=1.8)
        _dots(axes, trials, numbers)
        for trial in trials:
            if trial.number == best_trial and (value := reached(trial)) is not None:
                axes.plot(trial.number, value, marker="o", markersize=10, color=INK, mfc="none")
        axes.set_xlim(min(numbers) - 0.7, max(numbers) + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("trial")
        _values(axes, scale)
        return inline(figure, name, alt)


def against(
    trials: Sequence[Trial], parameter: str, scale: Scale, name: str, alt: str
) -> SvgFigure:
    """Draw the trials' values against one searched parameter, one of a row of small multiples.

    The `parameter` is a field of `Trial`; ``learning_rate`` is drawn on a logarithmic axis,
    ``batch_size`` and ``loss`` as columns. It was searched in all `trials`, of any layer counts.
    """
    with rc_context(_PANEL_STYLE):
        figure = Figure(figsize=_PANEL_INCHES)
        # Set by hand, so that the axes of one row lie on one line.
        figure.subplots_adjust(left=0.24, right=0.91, bottom=0.21, top=0.88)
        axes = figure.subplots()
        if parameter in ("batch_size", "loss"):
            places = _columns(axes, trials, parameter)
        else:
            places = [float(getattr(trial, parameter)) for trial in trials]
            if parameter == "learning_rate":
                _rates(axes, min(places), max(places))
            else:
                axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
                axes.margins(x=0.08)
        for layers in sorted({trial.layers for trial in trials}):
            own = [k for k, trial in enumerate(trials) if trial.layers == layers]
            _dots(axes, [trials[k] for k in own], [places[k] for k in own])
        axes.set_title(PARAMETERS[parameter])
        _values(axes, scale, ticks=4)
        return inline(figure, name, alt)


def importance_bars(importance: Mapping[str, float], layers: int, name: str, alt: str) -> SvgFigure:
    """Draw each parameter's share of the variance of the value, the largest on top.

    `importance` has shares in 0 … 1; `layers` are those of the heads that were searched.
    """
    order = ranked(importance)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 0.55 + 0.29 * len(order)), layout="constrained")
        axes = figure.subplots()
        rows = range(len(order))
        shares = [importance[key] for key in order]
        axes.barh(rows, shares, height=0.55, color=series_look(layers - 1)["color"])
        for row, part in zip(rows, shares, strict=True):
            axes.annotate(
                f"{part:.2f}", (part, row), (4, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(rows, [parameter_name(key) for key in order], parse_math=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        # A bar as long as the axis still has its number beside it.
        axes.set_xlim(0, 1.08)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        return inline(figure, name, alt)


def ranked(importance: Mapping[str, float]) -> list[str]:
    """Return the parameters by falling importance, equal ones by name."""
    return sorted(importance, key=lambda key: (-importance[key], key))


def parameter_name(key: str) -> str:
    """Return what a searched parameter is called in the report."""
    return PARAMETERS.get(key, "units p" if key in ("units", "p") else key.replace("_", " "))


def rate(value: float) -> str:
    """Write a learning rate short, ``0.00056`` or ``5.6e-5``."""
    return f"{value:.3g}".replace("e-0", "e-")


def _dots(axes: Axes, trials: Sequence[Trial], places: Sequence[float]) -> None:
    """Draw trials of one layer count, a sign per state; those without a value at the foot."""
    complete = series_look(trials[0].layers - 1, 4.6)
    colour = complete["color"]
    signs: dict[str, dict[str, Any]] = {
        "complete": {**complete, "alpha": 0.8},
        "pruned": {"marker": "v", "markersize": 5.5, "color": colour, "mfc": "none"},
        "failed": {"marker": "x", "markersize": 5, "color": INK, "mew": 1.3},
    }
    for state, look in signs.items():
        own = [k for k, trial in enumerate(trials) if trial.state == state]
        values = [reached(trials[k]) for k in own]
        high = [(places[k], v) for k, v in zip(own, values, strict=True) if v is not None]
        foot = [places[k] for k, v in zip(own, values, strict=True) if v is None]
        if high:
            axes.plot(*zip(*high, strict=True), linestyle="none", **look)
        if foot:
            at_foot: dict[str, Any] = {"linestyle": "none", "transform": axes.get_xaxis_transform()}
            axes.plot(foot, [_FOOT] * len(foot), **at_foot, **look)


def _values(axes: Axes, scale: Scale, ticks: int = 6) -> None:
    axes.set_ylim(scale.low, scale.high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=ticks))
    digits = 3 if scale.high - scale.low < 0.06 else 2
    # The foot may reach below what the values can be.
    axes.yaxis.set_major_formatter(
        lambda value, _: (
            f"{value:.{digits}f}" if scale.least - 1e-9 < value < scale.most + 1e-9 else ""
        )
    )


def _columns(axes: Axes, trials: Sequence[Trial], parameter: str) -> list[float]:
    """Label a column per choice and return each trial's place in its own, never by chance."""
    choices = sorted({getattr(trial, parameter) for trial in trials})
    # A name in two lines leaves room for the one beside it.
    names = [LOSSES.get(one, str(one)).replace("-", "-\n").replace(" ", "\n") for one in choices]
    axes.set_xticks(range(len(choices)), names, parse_math=False)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(choices) - 0.5)
    axes.grid(visible=False, axis="x")
    # Multiples of the golden ratio spread any run of numbers evenly.
    return [
        choices.index(getattr(trial, parameter)) + 0.6 * (trial.number * _GOLDEN % 1 - 0.5)
        for trial in trials
    ]


def _rates(axes: Axes, low: float, high: float) -> None:
    """Make the learning rate's axis: whole decades, or the part of one that is used."""
    axes.set_xscale("log")
    room = (high / low) ** 0.08
    if high >= 10 * low:
        exponents = range(
            math.floor(math.log10(low) + 1e-6), math.ceil(math.log10(high) - 1e-6) + 1
        )
        ticks = [10.0**exponent for exponent in exponents]
        axes.set_xlim(min(low / room, ticks[0]), max(high * room, ticks[-1]))
    else:
        ticks = [low, high]
        axes.set_xlim(low / room, high * room)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    )
