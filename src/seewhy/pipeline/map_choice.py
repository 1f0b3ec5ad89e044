"""Which pair of method and layer makes one backbone's maps: given, or chosen by measurement.

The last map of a small network has few places, and may be no better than a random map. So a few
cheap pairs are compared on validation images, with the adapted classifier, by how well their maps
mark what it uses. Both stages' maps are then made by the same pair.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seewhy.config import ExplanationConfig
from seewhy.data.decoding.fit import filled_shares
from seewhy.data.splits import draw_sample
from seewhy.errors import ConfigError, near_names
from seewhy.explanation.engine import undisturbed
from seewhy.explanation.explain import explain
from seewhy.explanation.measures.map_candidates import (
    beside_random,
    forward_passes,
    score_candidates,
)
from seewhy.explanation.measures.map_measure import FEWEST_IMAGES
from seewhy.explanation.thread_turns import hooked
from seewhy.models.classifier import (
    Classifier,
    MapPair,
    map_layer,
    shown_layers,
    tail_and_head_name,
)
from seewhy.models.cut import Cut
from seewhy.pipeline.context import StudyContext
from seewhy.storage.schemas.map_choice import MapCandidate, MapChoice
from seewhy.storage.schemas.predictions import Predictions
from seewhy.training.cut_activations import CutInput
from seewhy.wording import count, share

log = logging.getLogger("seewhy")

# A map with fewer places on its shorter side says little about where.
FEWEST_PLACES = 7
# Cheap methods: one backward pass at most. After a ReLU, LayerCAM is Grad-CAM elementwise; at the
# last map HiResCAM is Grad-CAM.
_AT_LAST = ("gradcam", "gradcam-elementwise")
_AT_FINER = ("gradcam", "hirescam", "gradcam-elementwise")
_FUSED = ("gradcam-elementwise",)
_BATCH = 16
# About 30 s on two cores; see docs/log.md. A value that a layer writes takes as long as so many
# operations.
_BUDGET = 3e12
_PER_VALUE = 100


def candidate_pairs(config: ExplanationConfig, cut: Cut) -> tuple[MapPair, ...]:
    """Return the pairs that a configuration leaves to be chosen from; one where it names both.

    The first is the one that is taken where nothing is measured or no other is better than random
    maps: the last map, and Grad-CAM, unless others are given.

    Raises
    ------
    ConfigError
        Where the tail has no layer of a given name.
    """
    last = (map_layer(cut),)
    if config.layer != "auto":
        layers = tuple(dict.fromkeys(_explained_layer(name, cut) for name in config.layers))
        if config.method != "auto":
            return (MapPair(config.method, layers),)
        found = [MapPair(method, layers) for method in _AT_FINER]
    else:
        finer = None if config.method == "cam" else finer_layer(cut)
        sets: dict[tuple[str, ...], tuple[str, ...]]
        sets = {last: _AT_LAST if finer is None else _AT_LAST[:1]}
        if finer is not None:
            sets[(tail_and_head_name(finer),)] = _AT_FINER
            sets[(*last, tail_and_head_name(finer))] = _FUSED
        given = None if config.method == "auto" else (config.method,)
        found = [MapPair(one, layers) for layers, own in sets.items() for one in given or own]
    return tuple(found if config.choice_images else found[:1])


def finer_layer(cut: Cut) -> str | None:
    """Return the trunk's name of the layer after the cut that has a finer map than the last one.

    It is the last layer with `FEWEST_PLACES` places on its shorter side; where there is none, the
    last of those with the most places. Layers that the whole network passes through come before
    those of one branch. None where the last map has as many places as are asked for, or no layer
    has more than it.
    """
    places = min(cut.grids[cut.last_map])
    if places >= FEWEST_PLACES:
        return None
    for names in (cut.passages, tuple(cut.grids)):
        sides = {name: min(cut.grids[name]) for name in names if name in cut.grids}
        most = max(sides.values(), default=0)
        if most > places:
            wanted = min(most, FEWEST_PLACES)
            return [name for name, side in sides.items() if side >= wanted][-1]
    return None


def _explained_layer(name: str, cut: Cut) -> str:
    """Return the name, after the cut, of the layer whose map is explained."""
    if name == "last":
        return map_layer(cut)
    layers = [str(node.target) for node in cut.tail.graph.nodes if node.op == "call_module"]
    if name not in layers:
        raise ConfigError(
            f"explanation.layer: {name!r} is no layer after the cut{near_names(name, layers)}"
            f" (the last one is {layers[-1]!r})"
        )
    return tail_and_head_name(name)


def choose_pair(
    work: StudyContext,
    slug: str,
    classifier: Classifier,
    at_cut: CutInput,
    pairs: Sequence[MapPair],
    validation: Predictions,
) -> MapPair:
    """Return the pair that makes a backbone's maps, and write map_choice.json where it is chosen.

    `classifier` is the adapted one and `validation` has its predictions. A resumed study reads what
    was chosen; where measuring fails, the first pair is taken.
    """
    if len(pairs) == 1:
        return pairs[0]
    found = work.run.map_choice.read(slug)
    if found is None:
        with work.failures.optional("map choice", slug):
            found = _measured(work, slug, classifier, at_cut, pairs, validation)
            work.run.map_choice.write(slug, found)
            work.progress.say(f"{slug}: maps: {found.sentence}")
    if found is None:
        return pairs[0]
    return next(one for one in pairs if (one.method, shown_layers(one.layers)) == _named(found))


def _named(found: MapChoice | MapCandidate) -> tuple[str, str]:
    return found.method, found.layer


def _measured(
    work: StudyContext,
    slug: str,
    classifier: Classifier,
    at_cut: CutInput,
    pairs: Sequence[MapPair],
    validation: Predictions,
) -> MapChoice:
    """Measure the pairs on validation images, and choose."""
    started = time.perf_counter()
    data, seed = work.data, work.config.seed
    known = data.where("validation")
    first, shown = pairs[0], shown_layers(pairs[0].layers)
    if len(known) < FEWEST_IMAGES:
        sentence = (
            f"{count(len(known), 'validation image')} are too few to choose by, which takes "
            f"{FEWEST_IMAGES}; {first.method} at {shown} is taken."
        )
        return MapChoice(method=first.method, layer=shown, sentence=sentence, ids=(), candidates=())
    sizes = _sizes(classifier.tail_and_head, at_cut.batch(known[:1]), pairs)
    images = _affordable(
        work.config.explanation.choice_images,
        forward_passes(sizes) * operations(classifier, at_cut.images(known[:1])),
    )
    sample = draw_sample(data.labels[known], images, seed)
    maps, random = _scores(work, slug, classifier, at_cut, pairs, sample, validation.predicted)
    candidates = tuple(
        _candidate(*one, seed) for one in zip(pairs, sizes, maps, random, strict=True)
    )
    log.info(
        "%s: %d pairs of method and layer on %d validation images in %.1f s",
        slug,
        len(pairs),
        len(sample),
        time.perf_counter() - started,
    )
    return chosen_from(candidates, tuple(data.ids[place] for place in known[sample]))


def chosen_from(candidates: Sequence[MapCandidate], ids: tuple[str, ...]) -> MapChoice:
    """Choose the candidate with the greatest difference to random maps, of those that are better.

    Of equal ones it is the first; the first of all where none is better than random maps.
    """
    better = [one for one in candidates if one.better]
    best = max(better, key=lambda one: one.difference.value) if better else candidates[0]
    where = f"{best.method} at {best.layer}"
    images = count(len(ids), "validation image")
    if better:
        sentence = (
            f"{where} is the most faithful of {len(candidates)} pairs of method and layer on "
            f"{images}: insertion minus deletion is {share(best.difference.value, 3)} above that "
            "of random maps."
        )
    else:
        sentence = (
            f"on {images} no map of {len(candidates)} pairs of method and layer was better than "
            f"random maps; {where} is taken."
        )
    return MapChoice(
        method=best.method,
        layer=best.layer,
        sentence=sentence[0].upper() + sentence[1:] if not better else sentence,
        ids=ids,
        candidates=tuple(candidates),
    )


def _candidate(
    pair: MapPair,
    places: tuple[int, int],
    maps: NDArray[np.float64],
    random: NDArray[np.float64],
    seed: int,
) -> MapCandidate:
    """Set one pair's values (n,) beside those of random maps."""
    return MapCandidate(
        method=pair.method,
        layer=shown_layers(pair.layers),
        places=places,
        **vars(beside_random(maps, random, seed)),
    )


def _scores(
    work: StudyContext,
    slug: str,
    classifier: Classifier,
    at_cut: CutInput,
    pairs: Sequence[MapPair],
    sample: NDArray[np.int64],
    predicted: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each pair's values and those of random maps, (pairs, images) each.

    `sample` are places among the validation images, and `predicted` (N,) is of all of these.
    """
    data, parts = work.data, []
    indices = data.where("validation")[sample]
    title = f"{slug}: choosing maps"
    with work.progress.task(title, len(indices)) as advance, work.compute.autocast():
        for start in range(0, len(indices), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(indices)))
            chosen = indices[rows]
            classes = torch.from_numpy(predicted[sample[rows]]).to(work.compute.device)
            activations = at_cut.batch(chosen)
            parts.append(
                score_candidates(
                    classifier,
                    at_cut.images(chosen),
                    [_maps(classifier.tail_and_head, activations, one, classes) for one in pairs],
                    classes,
                    torch.from_numpy(rows),
                    seed=work.config.seed,
                    filled=filled_shares(data.pixels[place] for place in chosen),
                )
            )
            advance(len(rows))
    maps, random = (torch.cat(each, dim=1).double().numpy() for each in zip(*parts, strict=True))
    return maps, random


def _maps(
    tail_and_head: nn.Module, activations: Tensor, pair: MapPair, classes: Tensor | None = None
) -> Tensor:
    """Return one pair's maps (n, h, w); the tail may overwrite its input, so it gets a copy."""
    copy = activations.clone()
    return explain(tail_and_head, copy, classes, pair.layers, pair.method).maps[:, 0]


def _sizes(
    tail_and_head: nn.Module, activations: Tensor, pairs: Sequence[MapPair]
) -> list[tuple[int, int]]:
    """Return the height and width of each pair's maps."""
    shapes = [_maps(tail_and_head, activations, one).shape for one in pairs]
    return [(int(height), int(width)) for _, height, width in shapes]


def operations(model: nn.Module, images: Tensor) -> float:
    """Estimate the cost of a pass by counting, so that it is the same on every machine.

    Floating-point operations, and `_PER_VALUE` for each value that a layer puts out: networks with
    few operations per value wait for the memory.
    """
    values = 0

    def add(module: nn.Module, given: object, output: object) -> None:
        nonlocal values
        values += output.numel() if isinstance(output, Tensor) else 0

    layers = [module for module in model.modules() if not list(module.children())]
    with (
        undisturbed(model, images),
        hooked([(layer, add) for layer in layers]),
        FlopCounterMode(display=False) as counter,
    ):
        model(images)
    return float(counter.get_total_flops() + _PER_VALUE * values)


def _affordable(wanted: int, cost: float) -> int:
    """Return how many images the budget allows, of those wanted; `FEWEST_IMAGES` at least."""
    return max(FEWEST_IMAGES, min(wanted, int(_BUDGET // cost)))
