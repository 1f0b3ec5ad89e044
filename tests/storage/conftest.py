"""A backbone's files and a summary, which the tests of several repositories write."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Baseline, Predictions, StageMetrics
from seewhy.storage.schemas.summary import (
    BackboneSummary,
    DataSummary,
    ExplanationSummary,
    Skipped,
    StageSummary,
    Summary,
)
from seewhy.storage.schemas.training import Epoch, FeaturesRecord, HeadSummary

Written = tuple[Predictions, dict[Stage, Maps], StageMetrics]
Write = Callable[[RunDirectory], Written]


@pytest.fixture
def classes() -> tuple[str, ...]:
    """Class names that are hard to store."""
    return ('a,"b"', "label\nof two\rlines", "<b>ß</b>")


@pytest.fixture
def write_backbone(two_maps: Callable[[Stage], Maps], classes: Sequence[str]) -> Write:
    """Write all files of the backbone "net" but those that a study may lack."""
    return lambda run: _write_backbone(run, {stage: two_maps(stage) for stage in STAGES}, classes)


def _write_backbone(run: RunDirectory, maps: dict[Stage, Maps], classes: Sequence[str]) -> Written:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=np.float32)
    validation = Predictions(("e",), np.array([1]), np.array([[0.1, 1 / 3, 0.5]], dtype=np.float32))
    predictions = Predictions(("d", "f"), np.array([0, 1]), probabilities)
    run.baseline.write("net", Baseline(skipped="no classifier"))
    run.training.write_features(
        "net", FeaturesRecord(images=6, channels=8, seconds=1.5, at_cut="in memory")
    )
    for stage in ("adaptation", "finetuning"):
        metrics = StageMetrics(
            stage=stage,
            images=2,
            accuracy=0.5,
            precision=0.5,
            recall=0.25,
            per_class_precision=dict.fromkeys(classes, 0.5),
            per_class_recall=dict.fromkeys(classes, 0.25),
            best_validation_accuracy=0.75,
            best_epoch=1,
            epochs=2,
        )
        history = [Epoch(1, 0.5, 0.25, 0.125, 1 / 3, 1e-3, 2.0), Epoch(2, 0, 0, 0, 0, 1e-3, 1)]
        confusion = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]])
        run.training.write_stage("net", metrics, history, predictions, confusion, classes)
        run.training.write_validation("net", stage, validation, classes)
    for stage, one in maps.items():
        run.explanations.write_maps("net", stage, [one], predictions.labels, classes)
    return predictions, maps, metrics


@pytest.fixture
def summary() -> Summary:
    """The summary of a study with the backbone "net"."""
    stage = StageSummary(
        accuracy=0.5, precision=0.5, recall=0.5, per_class_recall={"a": 0.5}, epochs=1, seconds=1.0
    )
    part = BackboneSummary(
        backbone="net",
        weights="none",
        parameters=1,
        weighted_layers=1,
        cut="x",
        input_size=32,
        baseline=Skipped(skipped="no classifier"),
        head=HeadSummary(units=[3], dropout=0, learning_rate=1, batch_size=2, loss="cross-entropy"),
        search=None,
        adaptation=stage,
        finetuning=stage,
        explanation=ExplanationSummary(method="gradcam", layer="x", images=1, seconds=0.1),
    )
    data = DataSummary(source="s", classes=["a"], train=1, validation=1, test=1)
    return Summary(
        name="n", seed=0, device="cpu", precision="float32", data=data, backbones={"net": part}
    )
