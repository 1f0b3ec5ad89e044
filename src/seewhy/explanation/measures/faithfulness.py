"""How far maps agree with what the classifier really uses, beside maps that know nothing.

Every number is compared with the same number for random maps and for a centred Gaussian, with
confidence intervals of the paired differences. Takes any classifier and maps made in any way;
knows nothing of how they were made, of studies or of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.engine import undisturbed
from seewhy.explanation.measures.map_measure import FEWEST_IMAGES, Good, MapMeasure, compare
from seewhy.explanation.measures.scoring import BatchScores, CheckedInput, Settings, score_batch
from seewhy.explanation.targets import Activation, Target

GOOD: dict[str, Good] = {
    "deletion": "low",
    "insertion": "high",
    "average_drop": "low",
    "average_increase": "high",
    "road_morf": "low",
    "road_lerf": "high",
    "road": "high",
    "sparseness": "neither",
    "pointing_game": "high",
    "energy_inside": "high",
    "iou": "high",
}
"""Which direction of a measure is good for the maps; baselines have their measure's."""

_NEED_MASKS = ("pointing_game", "energy_inside", "iou")


@dataclass(frozen=True)
class ExchangeCurve:
    """Mean probability of the explained class over the shares of pixels exchanged.

    Attributes
    ----------
    shares : tuple of float
        0, 1/steps, …, 1.
    maps, random, gaussian : tuple of float
        For the maps, random maps and a centred Gaussian; one for each share.
    """

    shares: tuple[float, ...]
    maps: tuple[float, ...]
    random: tuple[float, ...]
    gaussian: tuple[float, ...]


@dataclass(frozen=True)
class FaithfulnessReport:
    """Plain numbers about a set of maps; `dataclasses.asdict` makes them JSON.

    Attributes
    ----------
    images : int
        Images given.
    empty : int
        Of these, images whose map is zero everywhere; they are in no number below.
    masked : int
        Images with a map and a mask that is not empty; the last three measures are over these.
    seed, steps, baselines, road_shares, random_maps, iou_threshold
        As they were given.
    forward_passes : int
        Images that went through the network.
    measures : dict of str to MapMeasure
        By name, see `measure_faithfulness`; without images there is none.
    curves : dict of str to ExchangeCurve
        The deletion and insertion curves, by the names of their measures.
    verdict : str
        One sentence.
    """

    images: int
    empty: int
    masked: int
    seed: int
    steps: int
    baselines: tuple[str, ...]
    road_shares: tuple[float, ...]
    random_maps: int
    iou_threshold: float
    forward_passes: int
    measures: dict[str, MapMeasure]
    curves: dict[str, ExchangeCurve]
    verdict: str


def measure_faithfulness(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    maps: ArrayLike | Tensor,
    classes: ArrayLike | Tensor,
    masks: ArrayLike | Tensor | None = None,
    *,
    seed: int = 0,
    steps: int = 8,
    baselines: Sequence[str] = ("mean", "blur"),
    road_shares: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    random_maps: int = 2,
    iou_threshold: float = 0.5,
    draws: int = 2000,
    batch_size: int = 32,
    target: Target | None = None,
    activation: Activation = "softmax",
    filled: ArrayLike | Tensor | None = None,
) -> FaithfulnessReport:
    """Measure how far maps agree with what the classifier uses.

    The measures, each for the maps, for random maps and for a centred Gaussian:

    ========================  ====  ==============================================================
    name                      good  what
    ========================  ====  ==============================================================
    deletion_BASELINE         low   area under the probability while the most relevant pixels are
                                    exchanged for the baseline (the image's ``mean`` colour, or
                                    its ``blur``)
    insertion_BASELINE        high  the same while they are put into the baseline
    average_drop              low   share of the probability lost when only the map's part is
                                    shown
    average_increase          high  share of images whose probability rises then
    road_morf                 low   mean probability after the most relevant pixels were imputed
    road_lerf                 high  the same for the least relevant pixels
    road                      high  (road_lerf − road_morf) / 2
    sparseness                —     Gini index; says how concentrated, not how right a map is
    pointing_game             high  share of images whose map is largest on the object
    energy_inside             high  share of the map that is on the object
    iou                       high  overlap of object and map at `iou_threshold`
    ========================  ====  ==============================================================

    Random maps and the Gaussian have the map's own resolution and, where the measure depends on
    how much a map covers (average drop and increase, energy, IoU), the map's own values in other
    places. Where a map has equal values, a further random map decides the order.

    An image costs (2 + `random_maps`) · (2 · baselines · (steps − 1) + 2 · shares + 1) + 1 +
    baselines forward passes: 151 with the defaults. 64 images are a sensible sample.

    Parameters
    ----------
    model : nn.Module
        Any classifier that turns images into logits (N, M), in any mode, which it gets back.
    images : Tensor, (N, C, H, W), or iterable of such batches
        Preprocessed, on the model's device; batches are read one at a time.
    maps : array or Tensor, (N, h, w)
        One per image, at any resolution; upsampled bilinearly, negative values count as zero
        where they do not only order pixels.
    classes : array or Tensor of int, (N,)
        The class each map is for.
    masks : array or Tensor of bool, (N, H', W'), optional
        Objects, in the images' own framing; resized to them. An image without a mask has one
        that is False everywhere.
    seed : int, default 0
        Of random maps, noise and bootstrap; the global random state is neither used nor changed,
        and an image's numbers depend on its place among the N, not on the batches.
    steps : int, default 8
        Of the deletion and insertion curves; their mean areas were within 0.01 of those of 32
        steps on photographs.
    baselines : sequence of {"mean", "blur"}, default both
    road_shares : sequence of float, default (0.2, 0.4, 0.6, 0.8)
        Shares of the pixels that ROAD imputes, between 0 and 1; none leaves ROAD out.
    random_maps : int, default 2
        An image.
    iou_threshold : float, default 0.5
        Share of a map's maximum.
    draws : int, default 2000
        Of the bootstrap.
    batch_size : int, default 32
        Largest number of images that go through the network at once.
    target, activation
        As `seewhy.explain` takes them: what makes logits of the model's output, and
        probabilities of logits.
    filled : array or Tensor of float, (N, 4), optional
        The part of each image that is no padding, default all of it: left, top, right and bottom as
        shares of its sides. Random maps and the Gaussian are there alone, since a map would be
        better than they are by leaving the padding out.

    Returns
    -------
    FaithfulnessReport

    Raises
    ------
    ConfigError
        For arrays that do not fit each other, values that are not finite, classes the model does
        not have, an unknown baseline, or counts and shares out of range.

    References
    ----------
    The functions of ``curves``, ``localisation`` and ``map_measure`` name the papers; ``road`` is
    pytorch-grad-cam's combination of the two orders, not the authors'.
    """
    settings = Settings(
        seed=seed,
        steps=steps,
        baselines=tuple(baselines),
        road_shares=tuple(float(share) for share in road_shares),
        random_maps=random_maps,
        iou_threshold=iou_threshold,
        target=target,
        activation=activation,
    )
    settings.check(batch_size, draws)
    given = CheckedInput.read(maps, classes, masks, filled)
    parts = []
    for numbers, batch in given.batches(images, batch_size):
        with undisturbed(model, batch):
            parts.append(score_batch(model, batch, numbers, given, settings))
    return _report(parts, given, settings, draws)


def _report(
    parts: Sequence[BatchScores], given: CheckedInput, settings: Settings, draws: int
) -> FaithfulnessReport:
    """Put the batches together, image by image, and take means."""
    measures: dict[str, MapMeasure] = {}
    curves: dict[str, ExchangeCurve] = {}
    masked = torch.cat([part.masked for part in parts]) if parts else torch.zeros(0).bool()
    for name in parts[0].measures if parts else ():
        values = torch.cat([part.measures[name] for part in parts], dim=1)
        if name in _NEED_MASKS:
            values = values[:, masked]
        if not bool(values.isfinite().all()):
            raise ConfigError(
                f"{name}: the classifier's probabilities are not finite; check the images and its "
                "weights"
            )
        if values.shape[1]:
            measures[name] = _compared(name, values, settings.seed, draws)
    for name in parts[0].curves if parts else ():
        curves[name] = _mean_curve(torch.cat([part.curves[name] for part in parts], dim=1))
    return FaithfulnessReport(
        images=len(given.maps),
        empty=int(given.empty.sum()),
        masked=int(masked.sum()),
        seed=settings.seed,
        steps=settings.steps,
        baselines=settings.baselines,
        road_shares=settings.road_shares,
        random_maps=settings.random_maps,
        iou_threshold=settings.iou_threshold,
        forward_passes=sum(part.passes for part in parts),
        measures=measures,
        curves=curves,
        verdict=_verdict(measures),
    )


def _compared(name: str, values: Tensor, seed: int, draws: int) -> MapMeasure:
    """Compare the values (V, n) of maps, random maps and the Gaussian."""
    maps, random, gaussian = values[0], values[1:-1].T, values[-1]
    good = GOOD[name.partition("_")[0] if name.startswith(("deletion", "insertion")) else name]
    return compare(maps.numpy(), random.numpy(), gaussian.numpy(), good, seed, draws)


def _mean_curve(values: Tensor) -> ExchangeCurve:
    means = values.double().mean(dim=1)  # (V, steps + 1)
    steps = means.shape[1] - 1
    return ExchangeCurve(
        shares=tuple(step / steps for step in range(steps + 1)),
        maps=tuple(means[0].tolist()),
        random=tuple(means[1:-1].mean(dim=0).tolist()),
        gaussian=tuple(means[-1].tolist()),
    )


def _verdict(measures: dict[str, MapMeasure]) -> str:
    """Say in one sentence on how many measures the maps are better than what knows nothing."""
    directed = {name: m for name, m in measures.items() if m.good != "neither"}
    judged = {name: m for name, m in directed.items() if m.images >= FEWEST_IMAGES}
    if not directed:
        return "no image with a map that is not empty"
    if not judged:
        return f"too few images for a verdict, which needs at least {FEWEST_IMAGES}"
    worse = [name for name, m in judged.items() if m.verdict.startswith("no better")]
    centre = [name for name, m in judged.items() if m.gaussian_verdict.startswith("no better")]
    if len(worse) == len(judged):
        return f"no better than random on any of {len(judged)} measures"
    count = len(judged)
    return (
        f"better than random on {count - len(worse)} of {count} measures and than a centred "
        f"Gaussian on {count - len(centre)}"
        f"{'; no better than random on ' + ', '.join(worse) if worse else ''}"
    )
