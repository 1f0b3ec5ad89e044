"""Tell whether maps change when the network forgets what it learnt.

Layers are randomised from the output down; a map that stays the same does not show what the
network has learnt. Takes any classifier and any method of ``methods/``; knows nothing of studies
or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.engine import undisturbed
from seewhy.explanation.explain import explain
from seewhy.explanation.measures.randomisation import (
    CascadeLevel,
    ModuleOrder,
    cascade,
    follow,
    shuffled,
)
from seewhy.explanation.measures.replay import Replay
from seewhy.explanation.methods.registry import find_method
from seewhy.explanation.targets import Target
from seewhy.statistics.bootstrap import Interval, mean_interval

Values = NDArray[np.float64]
_TINY = np.finfo(np.float64).tiny
# Of structural similarity, for values in 0 … 1.
_WINDOW, _C1, _C2 = 7, 0.01**2, 0.03**2


@dataclass(frozen=True)
class CascadeDepth:
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
    ssim : Interval
        Mean structural similarity of the maps, each scaled to 0 … 1; 1 is no change.
    flat : int
        Images whose map became constant.
    unchanged : bool
        Whether the interval of the rank correlation is wholly above the threshold.
    """

    lowest: str
    layers: int
    spearman: Interval
    pearson: Interval
    ssim: Interval
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
    depths : tuple of CascadeDepth
        From the output layer alone to everything.
    """

    layer: str
    images: int
    unrelated: Interval | None
    depths: tuple[CascadeDepth, ...]


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
    layers stay so. Weights are shuffled within each tensor. What is below the randomised part
    is run once for all methods.

    Parameters
    ----------
    model : nn.Module
        Any classifier, in any mode. Its weights, modes and hooks come back exactly, also where
        an exception passes; meanwhile its weights are held twice, and a plain forward pass of
        another thread meets shuffled ones.
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
    by initialising again, judged by rank correlation and structural similarity).
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
    plan = _Plan(layers, course, cascade(course, levels), seed, target)
    chosen = _given_classes(classes, len(images))
    parts = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    batches = [_cascaded(model, images[part], chosen and chosen[part], plan) for part in parts]
    results: dict[str, MethodSanity] = {}
    for method, names in layers.items():
        maps = np.concatenate([batch[method] for batch in batches], axis=1)
        label = ", ".join(names) or "input"
        results[method] = _summary(label, maps, plan.levels, threshold, seed, draws)
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
    course: ModuleOrder
    levels: tuple[CascadeLevel, ...]
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
    """Return each method's maps (levels + 1, n, h, w) of one batch, the untouched first."""
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
                found[method].append(answer.maps[:, 0].double().cpu().numpy())
    return {method: np.stack(maps) for method, maps in found.items()}


def _summary(
    layer: str,
    maps: Values,
    levels: Sequence[CascadeLevel],
    threshold: float,
    seed: int,
    draws: int,
) -> MethodSanity:
    """Compare maps (levels + 1, N, h, w) with the untouched ones, which come first."""
    maps = maps[:, np.ptp(maps[0], axis=(1, 2)) > 0]
    count = maps.shape[1]
    if not count:
        return MethodSanity(layer, 0, None, ())
    flat = maps.reshape(*maps.shape[:2], -1)
    before, depths = flat[0], []
    for depth, level in enumerate(levels, start=1):
        after = flat[depth]
        spearman = mean_interval(rank_correlation(before, after), draws=draws, seed=seed)
        depths.append(
            CascadeDepth(
                lowest=level.name,
                layers=level.weighted,
                spearman=spearman,
                pearson=mean_interval(correlation(before, after), draws=draws, seed=seed),
                ssim=mean_interval(
                    structural_similarity(maps[0], maps[depth]), draws=draws, seed=seed
                ),
                flat=int((np.ptp(after, axis=1) == 0).sum()),
                unchanged=spearman.low > threshold,
            )
        )
    others = rank_correlation(before, np.roll(before, 1, axis=0))
    unrelated = mean_interval(others, draws=draws, seed=seed) if count > 1 else None
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
    return correlation(rankdata(left, axis=1), rankdata(right, axis=1))


def structural_similarity(left: Values, right: Values) -> Values:
    r"""Return the structural similarity (N,) of two stacks of maps (N, h, w).

    .. math:: \mathrm{SSIM} = \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
              {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}

    with means μ, variances and covariance σ over windows of 7 × 7 places (the whole axis where it
    is shorter), C₁ = 0.01² and C₂ = 0.03²; the mean over all windows. Each map is scaled to
    0 … 1 by its minimum and maximum first, a constant one becomes zero.

    References
    ----------
    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
    IEEE Transactions on Image Processing 2004; there with Gaussian windows of 11 × 11.
    """
    # Map by map: a map's windows take 49 times its memory.
    return np.array([_similarity(x, y) for x, y in zip(left, right, strict=True)])


def _similarity(left: Values, right: Values) -> float:
    sides = tuple(min(_WINDOW, side) for side in left.shape)
    x, y = (
        sliding_window_view(_unit_range(map_), sides).reshape(-1, prod(sides))
        for map_ in (left, right)
    )
    mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
    covariance = (x * y).mean(axis=1) - mean_x * mean_y
    like = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    most = (mean_x**2 + mean_y**2 + _C1) * (x.var(axis=1) + y.var(axis=1) + _C2)
    return float((like / most).mean())


def _unit_range(map_: Values) -> Values:
    low, high = map_.min(), map_.max()
    return (map_ - low) / (high - low) if high > low else np.zeros_like(map_)


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
    changes = ", ".join(f"{_what(d, result)} ({d.spearman.value:.2f})" for d in still)
    return (
        f"{method}: hardly changes (rank correlation in brackets) when these are randomised: "
        f"{changes}; its maps do not show what was learnt there"
    )


def _what(depth: CascadeDepth, result: MethodSanity) -> str:
    if depth is result.depths[0]:
        return f"the output layer {depth.lowest!r}"
    if depth is result.depths[-1]:
        return "all layers"
    return f"everything from {depth.lowest!r} on"
