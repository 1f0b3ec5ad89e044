"""Tell whether maps change when the network forgets what it learnt.

Layers are randomised from the output down; a map that stays the same does not show what the
network has learnt. Takes any classifier and any method of ``cam.py``; knows nothing of studies
or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.cam import explain
from seewhy.explanation.engine import undisturbed
from seewhy.explanation.intervals import Interval, bootstrap_mean
from seewhy.explanation.methods.registry import find_method
from seewhy.explanation.randomise import Course, Level, cascade, follow, shuffled
from seewhy.explanation.replay import Replay
from seewhy.explanation.targets import Target

Values = NDArray[np.float64]
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Depth:
    """One level of the cascade, and how like their former selves the maps still are.

    Attributes
    ----------
    lowest : str
        The lowest layer randomised; everything that runs after it is, too.
    layers : int
        Layers with weights that are randomised.
    spearman, pearson : Interval
        Mean correlation, over images, of a map's places before and after; 1 is no change. A map
        that became constant has nothing in common with what it was: 0.
    flat : int
        Images whose map became constant.
    unchanged : bool
        Whether the interval of the rank correlation lies wholly above the threshold.
    """

    lowest: str
    layers: int
    spearman: Interval
    pearson: Interval
    flat: int
    unchanged: bool


@dataclass(frozen=True)
class MethodSanity:
    """One method under the cascade.

    Attributes
    ----------
    layer : str
        Whose maps; several are joined by commas, ``input`` stands for none.
    images : int
        Images compared: those whose map is not constant to begin with.
    unrelated : Interval or None
        Mean rank correlation of the maps of different images before anything is randomised:
        what maps share that have nothing to do with each other. None below two images.
    depths : tuple of Depth
        From the output layer alone to everything.
    """

    layer: str
    images: int
    unrelated: Interval | None
    depths: tuple[Depth, ...]


@dataclass(frozen=True)
class SanityReport:
    """Plain values; `dataclasses.asdict` makes them JSON.

    Attributes
    ----------
    images : int
        Images given.
    seed : int
    threshold : float
        As they were given.
    methods : dict of str to MethodSanity
    insensitive : tuple of str
        Methods that do not change at one depth or more.
    sentences : tuple of str
        One a method.
    """

    images: int
    seed: int
    threshold: float
    methods: dict[str, MethodSanity]
    insensitive: tuple[str, ...]
    sentences: tuple[str, ...]


def check_sanity(
    model: nn.Module,
    images: Tensor,
    classes: Sequence[int] | Tensor | None = None,
    layer: str | Sequence[str] = "auto",
    methods: Sequence[str] = ("gradcam",),
    *,
    levels: int = 5,
    threshold: float = 0.7,
    seed: int = 0,
    draws: int = 2000,
    batch_size: int = 16,
    target: Target | None = None,
) -> SanityReport:
    """Randomise a classifier from its output down, and compare the maps before and after.

    The output layer first, then ever more layers below it down to all of them; randomised
    layers stay so. Weights are shuffled within each tensor. What lies below the randomised part
    is run once for all methods.

    Parameters
    ----------
    model : nn.Module
        Any classifier, in any mode. Its weights, modes and hooks come back exactly, also where
        an exception passes; for the time being its weights are held twice.
    images : Tensor, (N, C, H, W)
        Preprocessed, on the model's device. Some 16 are enough to see whether maps change.
    classes : None, sequence or Tensor, default None
        One class an image; by default the one predicted before anything is randomised. The same
        class is explained afterwards.
    layer : str or sequence of str, default "auto"
    methods : sequence of str, default ("gradcam",)
    levels : int, default 5
        Of the cascade, at least 2.
    threshold : float, default 0.7
        A rank correlation that is surely above it counts as no change.
    seed : int, default 0
        Of shuffling and bootstrap; the global random state is neither used nor changed.
    draws : int, default 2000
    batch_size : int, default 16
        Images explained at once.
    target : callable, optional
        As `seewhy.explain` takes it.

    Returns
    -------
    SanityReport

    Raises
    ------
    ConfigError
        Where nothing can be randomised or explained, or an argument makes no sense.

    References
    ----------
    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (cascading randomisation; there
    by initialising anew).
    """
    if levels < 2 or batch_size < 1 or draws < 1 or not methods:
        raise ConfigError(
            "expected levels of at least 2, batch_size and draws of at least 1, and a method, but "
            f"got {levels}, {batch_size}, {draws} and {tuple(methods)}"
        )
    with undisturbed(model, images):
        course = follow(model, images[:1])
        layers = {
            method: find_method(method).layer_names(model, images[:1], layer) for method in methods
        }
    plan = _Plan(
        layers=layers,
        course=course,
        levels=cascade(course, levels),
        seed=seed,
        target=target,
    )
    chosen = _given_classes(classes, len(images))
    found: dict[str, list[Values]] = {method: [] for method in plan.layers}
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        wanted = None if chosen is None else chosen[part]
        for method, maps in _cascaded(model, images[part], wanted, plan).items():
            found[method].append(maps)
    results = {
        method: _summary(
            ", ".join(layers[method]) or "input",
            np.concatenate(maps, axis=1),
            plan.levels,
            threshold,
            seed,
            draws,
        )
        for method, maps in found.items()
    }
    return SanityReport(
        images=len(images),
        seed=seed,
        threshold=threshold,
        methods=results,
        insensitive=tuple(
            name for name, result in results.items() if any(d.unchanged for d in result.depths)
        ),
        sentences=tuple(_sentence(name, result) for name, result in results.items()),
    )


@dataclass(frozen=True)
class _Plan:
    layers: dict[str, tuple[str, ...]]
    course: Course
    levels: tuple[Level, ...]
    seed: int
    target: Target | None


def _given_classes(classes: Sequence[int] | Tensor | None, count: int) -> list[int] | None:
    if classes is None:
        return None
    chosen = torch.as_tensor(classes)
    if chosen.shape != (count,) or chosen.is_floating_point():
        raise ConfigError(
            f"expected classes to be one index for each of {count} images, but got {classes!r}"
        )
    return [int(index) for index in chosen]


def _cascaded(
    model: nn.Module, images: Tensor, classes: list[int] | None, plan: _Plan
) -> dict[str, Values]:
    """Return each method's maps (levels + 1, n, places) of one batch, the untouched first."""
    untouched = 1 + max(plan.course.left.values())
    states = [(untouched, ()), *((level.entered, level.parameters) for level in plan.levels)]
    with undisturbed(model, images):
        watched = {name for names in plan.layers.values() for name in names}
        replay = Replay(model, images, plan.course, [moment for moment, _ in states], watched)
    found: dict[str, list[Values]] = {method: [] for method in plan.layers}
    for moment, parameters in states:
        with shuffled(model, parameters, plan.seed), replay.before(moment):
            for method, names in plan.layers.items():
                layer = names or "auto"
                answer = explain(model, images, classes, layer, method, target=plan.target)
                classes = answer.classes[:, 0].tolist()
                found[method].append(answer.maps[:, 0].flatten(1).double().cpu().numpy())
    return {method: np.stack(maps) for method, maps in found.items()}


def _summary(
    layer: str, maps: Values, levels: Sequence[Level], threshold: float, seed: int, draws: int
) -> MethodSanity:
    """Compare maps (levels + 1, N, places) with the untouched ones, which come first."""
    maps = maps[:, np.ptp(maps[0], axis=1) > 0]
    count = maps.shape[1]
    if not count:
        return MethodSanity(layer, 0, None, ())
    before, depths = maps[0], []
    for level, after in zip(levels, maps[1:], strict=True):
        spearman = bootstrap_mean(rank_correlation(before, after), seed, draws)
        depths.append(
            Depth(
                lowest=level.name,
                layers=level.weighted,
                spearman=spearman,
                pearson=bootstrap_mean(correlation(before, after), seed, draws),
                flat=int((np.ptp(after, axis=1) == 0).sum()),
                unchanged=spearman.low > threshold,
            )
        )
    others = rank_correlation(before, np.roll(before, 1, axis=0))
    unrelated = bootstrap_mean(others, seed, draws) if count > 1 else None
    return MethodSanity(layer, count, unrelated, tuple(depths))


def correlation(left: Values, right: Values) -> Values:
    """Return Pearson's correlation (N,) of the rows of two arrays (N, P); 0 for a constant row."""
    left = left - left.mean(axis=1, keepdims=True)
    right = right - right.mean(axis=1, keepdims=True)
    # Scaled first: the squares of a map's values can be smaller than a float.
    left, right = (
        side / np.maximum(abs(side).max(axis=1), _TINY)[:, None] for side in (left, right)
    )
    norms = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    found: Values = np.where(norms > 0, (left * right).sum(axis=1) / np.maximum(norms, _TINY), 0)
    return found


def rank_correlation(left: Values, right: Values) -> Values:
    """Return Spearman's correlation (N,) of the rows of two arrays; equal values share a rank."""
    return correlation(_ranks(left), _ranks(right))


def _ranks(values: Values) -> Values:
    ranked = np.empty_like(values)
    for row, target in zip(values, ranked, strict=True):
        _, place, counts = np.unique(row, return_inverse=True, return_counts=True)
        target[:] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranked


def _sentence(method: str, result: MethodSanity) -> str:
    if not result.images:
        return f"{method}: every map is constant, so there is nothing to compare"
    still = [depth for depth in result.depths if depth.unchanged]
    if not still:
        first, last = result.depths[0].spearman.value, result.depths[-1].spearman.value
        return (
            f"{method}: changes at every depth (rank correlation with the untouched maps "
            f"{first:.2f} with the output layer randomised, {last:.2f} with all layers)"
        )
    said = ", ".join(f"{_what(d, result)} ({d.spearman.value:.2f})" for d in still)
    return (
        f"{method}: hardly changes (rank correlation in brackets) when these are randomised: "
        f"{said}; its maps do not show what was learnt there"
    )


def _what(depth: Depth, result: MethodSanity) -> str:
    if depth is result.depths[0]:
        return f"the output layer {depth.lowest!r}"
    if depth is result.depths[-1]:
        return "all layers"
    return f"everything from {depth.lowest!r} on"
