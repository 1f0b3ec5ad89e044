"""A small study whose every number can be worked out by hand, written as seewhy writes it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from seewhy.config import validate
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset, SetAside
from seewhy.storage.schemas.faithfulness import FaithfulnessSummary, Good, MeasureSummary
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Baseline, Predictions, StageMetrics
from seewhy.storage.schemas.provenance import Provenance
from seewhy.storage.schemas.search import LayerSearch, SearchRecord, Trial, TrialState
from seewhy.storage.schemas.summary import (
    BackboneSummary,
    BaselineSummary,
    DataSummary,
    ExplanationSummary,
    SearchSummary,
    Skipped,
    StageSummary,
    Summary,
)
from seewhy.storage.schemas.training import Epoch, FeaturesRecord, HeadSummary

# Eight test images. What each is, what it is taken for and how surely: (label, predicted, p).
ANSWERS: dict[str, list[tuple[int, int, float]]] = {
    "net_a": [
        (0, 0, 0.9),
        (0, 0, 0.6),
        (0, 0, 0.7),
        (1, 0, 0.5),
        (1, 1, 0.8),
        (1, 0, 0.95),
        (2, 2, 0.99),
        (2, 2, 0.4),
    ],
    "net_b": [
        (0, 0, 0.8),
        (0, 1, 0.6),
        (0, 0, 0.7),
        (1, 1, 0.5),
        (1, 1, 0.8),
        (1, 2, 0.9),
        (2, 1, 0.99),
        (2, 2, 0.4),
    ],
}
Answers = Mapping[str, Sequence[tuple[int, int, float]]]
CLASSES = ("cat", "dog", "frog")
FAILED = "the loss became NaN in epoch 2"
Make = Callable[..., tuple[RunDirectory, Summary]]


@pytest.fixture(scope="session")
def write_run() -> Make:
    """Return a function that writes a run directory to a path of its own."""
    return _write_run


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """Return a function that writes a run directory and returns it with its summary."""
    return functools.partial(_write_run, tmp_path / "run")


def _write_run(
    root: Path,
    classes: Sequence[str] = CLASSES,
    backbones: Sequence[str] = ("net_a", "net_b"),
    *,
    names: Sequence[str] = (),
    study: str = "three beasts",
    source: str = "eight test images",
    files: str = "photo",
    side: int = 64,
    skipped: str = "the weights bring no classifier",
    set_aside: Sequence[SetAside] = (),
    searched: Sequence[str] = ("net_a",),
    failed: str = FAILED,
    answers: Answers = ANSWERS,
    cells: int = 3,
) -> tuple[RunDirectory, Summary]:
    """Write a run directory and return it with its summary."""
    run = RunDirectory(root)
    test = [label for label, _, _ in answers["net_a"]]
    data = _dataset(run, tuple(classes), source, files, side, tuple(set_aside), test)
    run.data.write(data)
    config = {"name": study.replace("/", "∕"), "data": {"source": source}}
    run.config.write(validate(config, "test"))
    parts = {
        slug: _backbone(
            run, data, slug, names[k] if names else slug, skipped if k else None, answers, cells
        )
        for k, slug in enumerate(backbones)
    }
    for slug in set(searched) & set(parts):
        run.search.write_trials(slug, search_trials(failed))
        run.search.write(slug, SEARCH)
        parts[slug].search = SEARCH_SUMMARY
    run.provenance.write(PROVENANCE)
    counts = {split: len(data.where(split)) for split in ("train", "validation", "test")}
    summary = Summary(
        name=study,
        seed=0,
        device="cpu",
        precision="float32",
        data=DataSummary(source=source, classes=list(classes), **counts),
        backbones=parts,
    )
    run.summary.write(summary)
    return run, summary


PROVENANCE = Provenance(
    seewhy="0.1.0",
    python="3.11.9",
    platform="Linux",
    processor="a processor",
    cores=2,
    device="cpu",
    precision="float32",
    seed=0,
    versions={"torch": "2.6.0"},
    command=["seewhy", "run", "my photos"],
    started="2026-02-03T10:00:00+00:00",
    finished="2026-02-03T10:02:05+00:00",
    seconds=125,
    seconds_by_part={"data": 3.21},
    peak_memory_gib=1.5,
    data_key="abc123",
)


def _measure(good: Good, maps: float, random: float, verdict: str) -> MeasureSummary:
    cells = [
        Interval(value=mean, low=mean - 0.125, high=mean + 0.125) for mean in (maps, random, 0.25)
    ]
    return MeasureSummary(
        good=good, images=12, maps=cells[0], random=cells[1], gaussian=cells[2], verdict=verdict
    )


# The first backbone's maps are better than random ones, but for two measures.
FAITHFULNESS = {
    "net_a": FaithfulnessSummary(
        verdict="better than random on 1 of 3 measures",
        images=13,
        empty=1,
        masked=0,
        measures={
            "deletion_blur": _measure("low", 0.375, 0.5, "better than random"),
            "road": _measure("high", 0.0625, 0.125, "no better than random"),
            "iou": _measure("high", 0.5, 0.5, "no better than random"),
            "sparseness": _measure("neither", 0.4, 0.4, "no good direction"),
        },
        seconds=2.0,
    )
}


def _dataset(
    run: RunDirectory,
    classes: tuple[str, ...],
    source: str,
    files: str,
    side: int,
    set_aside: tuple[SetAside, ...],
    test: Sequence[int],
) -> Dataset:
    count = len(classes)
    test = [label % count for label in test]
    labels = np.array([*range(count), *range(count), *range(count), *test], dtype=np.int64)
    splits = ("train",) * (2 * count) + ("validation",) * count + ("test",) * len(test)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), side, side, 3), np.uint8)
    run.data.pixels_path.parent.mkdir(parents=True, exist_ok=True)
    np.save(run.data.pixels_path, pixels)
    return Dataset(
        source=source,
        classes=classes,
        ids=tuple(f"id{k:03d}" for k in range(len(labels))),
        paths=tuple(f"folder/{files}{k}.jpg" for k in range(len(labels))),
        labels=labels,
        splits=splits,
        pixels=pixels,
        set_aside=set_aside,
    )


def _backbone(
    run: RunDirectory,
    data: Dataset,
    slug: str,
    name: str,
    skipped: str | None,
    answers: Answers,
    cells: int,
) -> BackboneSummary:
    stages: dict[Stage, StageSummary] = {}
    for stage, given in (
        ("adaptation", answers["net_b"]),
        ("finetuning", answers.get(slug, answers["net_a"])),
    ):
        predictions = _predictions(data, given)
        stages[stage] = _stage(run, data, slug, stage, predictions)
        maps = _maps(predictions, stage, cells)
        run.explanations.write_maps(slug, stage, [maps], predictions.labels, data.classes)
    recall = dict.fromkeys(data.classes, 0.25)
    at_cut = "kept in memory: 1 MiB of 2"
    run.training.write_features(
        slug, FeaturesRecord(images=17, channels=3, seconds=0.5, at_cut=at_cut)
    )
    run.baseline.write(
        slug,
        Baseline(skipped=skipped)
        if skipped
        else Baseline(accuracy=0.3, precision=0.2, recall=0.25, per_class_recall=recall),
    )
    return BackboneSummary(
        backbone=name,
        weights="pretrained",
        parameters=4_652_008,
        weighted_layers=50,
        cut="blocks.3",
        input_size=64,
        baseline=Skipped(skipped=skipped)
        if skipped
        else BaselineSummary(accuracy=0.3, precision=0.2, recall=0.25),
        head=HeadSummary(
            units=[256], dropout=0.3, learning_rate=1e-3, batch_size=64, loss="cross-entropy"
        ),
        search=None,
        explanation=ExplanationSummary(
            method="gradcam",
            layer="last",
            images=8,
            seconds=1.5,
            faithfulness=FAITHFULNESS.get(slug),
        ),
        **stages,
    )


def _predictions(data: Dataset, answers: Sequence[tuple[int, int, float]]) -> Predictions:
    count, test = len(data.classes), data.where("test")
    rows = np.zeros((len(answers), count), dtype=np.float32)
    for row, (_, predicted, confidence) in zip(rows, answers, strict=True):
        row[:] = (1 - confidence) / (count - 1)
        row[predicted % count] = confidence
    return Predictions(tuple(data.ids[k] for k in test), data.labels[test], rows)


def _maps(predictions: Predictions, stage: Stage, cells: int) -> Maps:
    """Maps with a peak in a corner; the second test image's maps are empty.

    Where the answer is wrong, the map of the labelled class has its peak in the opposite corner.
    """
    count = len(predictions.ids)
    maps = np.ones((count, cells, cells), dtype=np.float16)
    maps[:, 0, 0] = 4
    maps[1] = 0
    wrong = predictions.predicted != predictions.labels
    label_maps = np.where(wrong[:, None, None], maps[:, ::-1, ::-1], maps)
    empty = np.arange(count) == 1
    scales = np.ones(count, dtype=np.float32)
    return Maps(
        ids=predictions.ids,
        maps=maps,
        label_maps=label_maps,
        explained=predictions.predicted,
        scales=scales,
        label_scales=scales,
        empty=empty,
        label_empty=empty,
        method="gradcam",
        layer="last",
        stage=stage,
    )


def _stage(
    run: RunDirectory, data: Dataset, slug: str, stage: Stage, predictions: Predictions
) -> StageSummary:
    count = len(data.classes)
    confusion = np.zeros((count, count), dtype=np.int64)
    np.add.at(confusion, (predictions.labels, predictions.predicted), 1)
    right = np.diag(confusion)
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    accuracy = float(right.sum() / confusion.sum())
    metrics = StageMetrics(
        stage=stage,
        images=len(predictions.ids),
        accuracy=accuracy,
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        per_class_precision=dict(zip(data.classes, precision.tolist(), strict=True)),
        per_class_recall=dict(zip(data.classes, recall.tolist(), strict=True)),
        best_validation_accuracy=0.75,
        best_epoch=2 if stage == "adaptation" else 0,
        epochs=3,
    )
    history = [
        Epoch(k, 1.0 / k, 0.5 + 0.1 * k, 1.1 / k, 0.4 + 0.1 * k, 1e-3, 2.0) for k in (1, 2, 3)
    ]
    run.training.write_stage(slug, metrics, history, predictions, confusion, data.classes)
    none = Predictions((), predictions.labels[:0], predictions.probabilities[:0])
    run.training.write_validation(slug, stage, none, data.classes)
    return StageSummary(
        accuracy=accuracy,
        precision=metrics.precision,
        recall=metrics.recall,
        per_class_recall=metrics.per_class_recall,
        epochs=3,
        seconds=61.0,
    )


# A search whose every number can be worked out by hand.
CE, KL = "cross-entropy", "kl-divergence"


def _trial(
    layers: int,
    number: int,
    value: float | None,
    units: tuple[int, ...],
    dropout: float,
    learning_rate: float,
    batch_size: int,
    loss: str,
    state: TrialState = "complete",
    reason: str = "",
) -> Trial:
    return Trial(
        layers=layers,
        number=number,
        state=state,
        value=value,
        best_validation_accuracy=value,
        units_p=units[0],
        units=units,
        dropout=dropout,
        learning_rate=learning_rate,
        batch_size=batch_size,
        loss=loss,
        epochs=10 + number,
        seconds=1.5 + number,
        reason=reason,
    )


def search_trials(reason: str = FAILED) -> tuple[Trial, ...]:
    """Six trials with one hidden layer, three with two."""
    return (
        _trial(1, 0, 0.60, (64,), 0.5, 1e-5, 16, CE),
        _trial(1, 1, 0.70, (128,), 0.125, 1e-4, 32, KL),
        _trial(1, 2, None, (512,), 0.0, 1e-3, 16, KL, "failed", reason),
        _trial(1, 3, 0.66, (33,), 0.25, 2.345e-4, 32, CE),
        _trial(1, 4, 0.80, (256,), 0.3, 1e-3, 64, CE),
        # More than the best so far, but pruned: it does not count.
        _trial(1, 5, 0.85, (300,), 0.6, 5e-4, 64, KL, "pruned"),
        _trial(2, 0, 0.78, (55, 27), 0.1, 1e-3, 64, CE),
        _trial(2, 1, 0.79, (300, 150), 0.2, 1e-3, 64, CE),
        _trial(2, 2, 0.74, (16, 8), 0.6, 1e-3, 64, CE),
    )


def _searched_head(units: list[int], dropout: float) -> HeadSummary:
    return HeadSummary(units=units, dropout=dropout, learning_rate=1e-3, batch_size=64, loss=CE)


SEARCH = SearchRecord(
    sampler="gp",
    pruner="median",
    objective="adaptation",
    layer_counts=[
        LayerSearch(
            layers=1,
            trials=6,
            complete=4,
            pruned=1,
            failed=1,
            best_trial=4,
            best_value=0.8,
            head=_searched_head([256], 0.3),
            importance={
                "learning_rate": 0.625,
                "dropout": 0.05,
                "units_p": 0.2,
                "batch_size": 0.1,
                "loss": 0.025,
            },
            seconds=24.0,
        ),
        LayerSearch(
            layers=2,
            trials=3,
            complete=3,
            pruned=0,
            failed=0,
            best_trial=1,
            best_value=0.79,
            head=_searched_head([300, 150], 0.2),
            seconds=7.5,
        ),
    ],
    head=_searched_head([256], 0.3),
    stopped="2 hidden layers did not improve the validation accuracy (0.7900 against 0.8000)",
    seconds=31.5,
)
SEARCH_SUMMARY = SearchSummary(layers=1, trials=9, best_validation_accuracy=0.8, seconds=31.5)
