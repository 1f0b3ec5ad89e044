"""One backbone's maps: those of the test images after each stage, in the pass that predicts them.

Both stages' classifiers are the part after the cut: prefix activations go in, so the frozen part
does not run again where they were kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seewhy.evaluation.predictions import as_predictions
from seewhy.explanation.streaming import ExplainedSet, explain_parts
from seewhy.models.classifier import MapPair, TailAndHead, shown_layers
from seewhy.pipeline.context import StudyContext
from seewhy.runtime.progress import Advance
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Predictions
from seewhy.training.cut_activations import CutInput
from seewhy.training.feature_cache import BATCH

log = logging.getLogger("seewhy")


@dataclass(frozen=True)
class StageMaps:
    """What the pass leaves in memory; the maps of all images are on the disk.

    `kept` (n, h, w) are maps, of the predicted class, of the images that were asked for.
    """

    predictions: Predictions
    kept: NDArray[np.float32]
    seconds: float


def write_stage_maps(
    work: StudyContext,
    slug: str,
    stage: Stage,
    tail_and_head: TailAndHead,
    at_cut: CutInput,
    pair: MapPair,
    predicted: NDArray[np.int64] | None = None,
    keep: NDArray[np.int64] | None = None,
) -> StageMaps:
    """Predict the test images and write the maps of the predicted and of the labelled classes.

    `tail_and_head` has the weights of `stage`. `predicted` are the predicted classes where another
    pass has found them already; `keep` are the places, among the test images, of the maps to
    return.
    """
    started = time.perf_counter()
    data = work.data
    indices = data.where("test")
    labels = data.labels[indices]
    ids = tuple(data.ids[index] for index in indices)
    name = shown_layers(pair.layers)
    probabilities: list[NDArray[np.float32]] = []
    kept: list[NDArray[np.float32]] = []
    wanted = np.isin(np.arange(len(indices)), [] if keep is None else keep)

    def parts(found: Iterable[ExplainedSet]) -> Iterator[Maps]:
        done = 0
        for part in found:
            rows = slice(done, done + len(part.maps))
            probabilities.append(part.probabilities)
            kept.append(part.restored()[wanted[rows], 0])
            yield _as_maps(part, ids[rows], pair.method, name, stage)
            done = rows.stop

    with work.progress.task(f"{slug}: maps", len(indices)) as advance, work.compute.autocast():
        batches = in_batches(at_cut.batch, indices, BATCH, advance)
        found = explain_parts(
            tail_and_head, batches, pair.layers, pair.method, labels=labels, predicted=predicted
        )
        work.run.explanations.write_maps(slug, stage, parts(found), labels, data.classes)
    seconds = time.perf_counter() - started
    log.info("%s: %s: maps of %d test images in %.1f s", slug, stage, len(indices), seconds)
    predictions = as_predictions(data, indices, np.concatenate(probabilities))
    return StageMaps(predictions, np.concatenate(kept), seconds)


def in_batches(
    read: Callable[[NDArray[np.int64]], Tensor],
    indices: NDArray[np.int64],
    size: int,
    advance: Advance,
) -> Iterator[Tensor]:
    """Yield what `read` returns for `size` indices at a time, and advance the progress after it."""
    for start in range(0, len(indices), size):
        chosen = indices[start : start + size]
        yield read(chosen)
        advance(len(chosen))


def _as_maps(
    found: ExplainedSet, ids: tuple[str, ...], method: str, layer: str, stage: Stage
) -> Maps:
    """Return a batch's maps as records: the predicted class comes first, then the labelled one."""
    return Maps(
        ids=ids,
        maps=found.maps[:, 0],
        label_maps=found.maps[:, 1],
        explained=found.explained[:, 0],
        scales=found.scales[:, 0],
        label_scales=found.scales[:, 1],
        empty=found.empty[:, 0],
        label_empty=found.empty[:, 1],
        method=method,
        layer=layer,
        stage=stage,
    )
