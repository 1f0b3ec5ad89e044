"""How faithful one backbone's maps are, on a sample of the test images.

The pixels are changed, so the whole network runs, prefix included. The settings need 35 passes
per image instead of the 151 of `measure_faithfulness`'s defaults.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from seewhy.data.decoding.fit import filled_shares
from seewhy.data.splits import draw_sample
from seewhy.explanation.measures.faithfulness import measure_faithfulness
from seewhy.models.classifier import Classifier, MapPair, shown_layers
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.maps import StageMaps, in_batches
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.faithfulness import Faithfulness, FaithfulnessSummary, MeasureSummary
from seewhy.training.cut_activations import CutInput

log = logging.getLogger("seewhy")

# Half a batch of the training keeps the peak of the memory where training had it.
_BATCH = 32
_STEPS = 4
_BASELINES = ("blur",)
_ROAD_SHARES = (0.3, 0.6)
_RANDOM_MAPS = 1


def faithfulness_sample(work: StudyContext) -> NDArray[np.int64]:
    """Return places among the test images, the same for every backbone; none where it is off."""
    data, config = work.data, work.config
    labels = data.labels[data.where("test")]
    return draw_sample(labels, config.explanation.faithfulness, config.seed)


def write_faithfulness(
    work: StudyContext,
    slug: str,
    classifier: Classifier,
    at_cut: CutInput,
    sample: NDArray[np.int64],
    maps: StageMaps,
    pair: MapPair,
) -> FaithfulnessSummary | None:
    """Measure the fine-tuned maps of the predicted classes and write faithfulness.json.

    `sample` (n,) are places among the test images, and `maps.kept` their maps; None where it is
    empty.
    """
    if not len(sample):
        return None
    started = time.perf_counter()
    data, predictions = work.data, maps.predictions
    indices = data.where("test")[sample]
    title = f"{slug}: faithfulness"
    with work.progress.task(title, len(indices)) as advance, work.compute.autocast():
        found = measure_faithfulness(
            classifier,
            in_batches(at_cut.images, indices, _BATCH, advance),
            maps.kept,
            predictions.predicted[sample],
            _masks(data, indices),
            seed=work.config.seed,
            steps=_STEPS,
            baselines=_BASELINES,
            road_shares=_ROAD_SHARES,
            random_maps=_RANDOM_MAPS,
            batch_size=_BATCH,
            filled=filled_shares(data.pixels[index] for index in indices),
        )
    record = Faithfulness(
        method=pair.method,
        layer=shown_layers(pair.layers),
        ids=tuple(data.ids[index] for index in indices),
        **asdict(found),
    )
    work.run.explanations.write_faithfulness(slug, record)
    seconds = time.perf_counter() - started
    log.info("%s: faithfulness of %d maps in %.1f s", slug, len(indices), seconds)
    work.progress.say(f"{slug}: maps: {record.verdict}")
    return _summary(record, seconds)


def _masks(data: Dataset, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    return None if data.masks is None else np.ascontiguousarray(data.masks[indices])


def _summary(record: Faithfulness, seconds: float) -> FaithfulnessSummary:
    names = set(MeasureSummary.model_fields)
    return FaithfulnessSummary(
        verdict=record.verdict,
        images=record.images,
        empty=record.empty,
        masked=record.masked,
        measures={
            name: MeasureSummary(**measure.model_dump(include=names))
            for name, measure in record.measures.items()
        },
        seconds=seconds,
    )
