"""Backbones' records made up from a seed, for what is worked out from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Baseline, Predictions, StageMetrics
from seewhy.storage.schemas.training import Epoch, FeaturesRecord

Make = Callable[..., BackboneRecords]


def answers(labels: np.ndarray, classes: int, skill: float, seed: int) -> Predictions:
    """Return answers that are right the more often the more `skill` there is."""
    logits = np.random.default_rng(seed).normal(0, 1, (len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = tuple(f"id{k}" for k in range(len(labels)))
    return Predictions(ids, labels.astype(np.int64), shares.astype(np.float32))


def _maps(predictions: Predictions, stage: Stage, seed: int) -> Maps:
    count = len(predictions.ids)
    maps = np.random.default_rng(seed).random((count, 4, 4)).astype(np.float16)
    ones, none = np.ones(count, dtype=np.float32), np.zeros(count, dtype=bool)
    explained = predictions.predicted
    return Maps(
        predictions.ids, maps, maps, explained, ones, ones, none, none, "gradcam", "last", stage
    )


def _metrics(stage: Stage, best_epoch: int) -> StageMetrics:
    return StageMetrics(
        stage=stage,
        images=1,
        accuracy=0.5,
        precision=0.5,
        recall=0.5,
        per_class_precision={},
        per_class_recall={},
        best_validation_accuracy=0.5,
        best_epoch=best_epoch,
        epochs=2,
    )


def make_backbone(
    labels: Sequence[int],
    classes: int,
    skills: tuple[float, float] = (1.5, 3.0),
    seed: int = 0,
    best_epoch: int = 2,
    train_accuracy: float = 0.9,
) -> BackboneRecords:
    """Return one backbone's records: `skills` of adaptation and of fine-tuning."""
    found = {
        stage: answers(np.array(labels), classes, skill, seed + k)
        for k, (stage, skill) in enumerate(zip(STAGES, skills, strict=True))
    }
    history = [Epoch(k, 1.0, train_accuracy, 1.0, 0.7 + 0.05 * k, 1e-3, 1.0) for k in (1, 2)]
    return BackboneRecords(
        slug="net",
        features=FeaturesRecord(images=1, channels=1, seconds=1.0, at_cut="in memory"),
        baseline=Baseline(skipped="none"),
        history=dict.fromkeys(STAGES, history),
        predictions=found,
        metrics={stage: _metrics(stage, best_epoch) for stage in STAGES},
        maps={stage: _maps(found[stage], stage, seed + k) for k, stage in enumerate(STAGES)},
    )


@pytest.fixture
def make() -> Make:
    """The function that makes up one backbone's records."""
    return make_backbone
