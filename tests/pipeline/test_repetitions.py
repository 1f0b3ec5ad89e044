"""Stages trained again on folds: no leak, the same folds everywhere, a stop costs one training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seewhy.config import StudyConfig, validate
from seewhy.data.folds import fold_repetitions
from seewhy.errors import DataError, RunError
from seewhy.models.classifier import Head
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.repetitions import (
    RepetitionResult,
    repeat_stages,
    write_folds,
    write_out_of_fold,
)
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.runtime.seeding import seed_of
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.summary import StageSummary
from seewhy.training.feature_cache import FeatureCache
from seewhy.training.learners import HeadLearner
from seewhy.training.trainer import stage_settings, train_stage

CPU = Compute(torch.device("cpu"), "float32", "a test")
UNUSED: Any = None
COUNT, TEST = 36, 6


class Naming(Silent):
    """Remembers its tasks; Ctrl-C is pressed in the task of that number."""

    def __init__(self, stop: int = 99) -> None:
        self.names: list[str] = []
        self.stop = stop

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        self.names.append(name)

        def advance(steps: int) -> None:
            if len(self.names) == self.stop:
                raise KeyboardInterrupt

        yield advance


def config(**data: object) -> StudyConfig:
    return validate(
        {
            "seed": 3,
            "seeds": data.pop("seeds", 1),
            "data": data,
            "head": {"units": [4], "batch_size": 8, "dropout": 0.2},
            "adaptation": {"epochs": 4},
        },
        "a test",
    )


@pytest.fixture
def data() -> Dataset:
    labels = np.arange(COUNT + TEST) % 3
    return Dataset(
        source="a test",
        classes=("a", "b", "c"),
        ids=tuple(f"id{k}" for k in range(COUNT + TEST)),
        paths=tuple(f"{k}.png" for k in range(COUNT + TEST)),
        labels=labels,
        splits=tuple(["train"] * 30 + ["validation"] * 6 + ["test"] * TEST),
        pixels=np.zeros((COUNT + TEST, 1, 1, 3), dtype=np.uint8),
    )


def features(data: Dataset, width: int = 6) -> FeatureCache:
    pooled = torch.randn(len(data.ids), width, generator=torch.Generator().manual_seed(width))
    pooled[:, :3] += 2 * torch.eye(3)[torch.from_numpy(data.labels)]
    return FeatureCache(pooled, None, UNUSED, 0.0)


def work(
    root: Path, data: Dataset, wanted: StudyConfig, progress: Silent | None = None
) -> StudyContext:
    run, progress = RunDirectory(root), progress or Silent()
    return StudyContext(wanted, CPU, run, data, data, "key", progress, Failures(run, progress))


def repeat(under: StudyContext, slug: str = "net", width: int = 6) -> tuple[RepetitionResult, ...]:
    return repeat_stages(under, slug, UNUSED, features(under.data, width))


def test_a_folds_predictions_are_those_of_a_head_trained_by_hand(
    tmp_path: Path, data: Dataset
) -> None:
    wanted = config(folds=3)
    found = repeat(work(tmp_path, data, wanted))
    assert [one.repetition.name for one in found] == ["fold 1", "fold 2", "fold 3"]
    fold = fold_repetitions(data, 3, 0.1, 3)[1]
    splits = np.asarray(fold.data.splits)
    train, stop = (np.flatnonzero(splits == name) for name in ("train", "validation"))
    assert not set(fold.held_out.tolist()) & {*train.tolist(), *stop.tolist()}
    pooled = features(data).pooled
    head = Head(6, (4,), 0.2, 3, seed_of(3, "head"))
    settings = stage_settings("adaptation", wanted.head, 4, 5, 1e-3, 3)
    learner = HeadLearner(head, pooled, data.labels, train, stop, settings)
    result = train_stage(learner, settings, Silent(), "by hand")
    answers = found[1].answers["adaptation"]
    assert answers.epochs == len(result.history)
    with torch.no_grad():
        expected = head.classify(pooled).softmax(1).numpy()
    np.testing.assert_array_equal(answers.held_out, expected[fold.held_out])
    np.testing.assert_array_equal(answers.test, expected[COUNT:])


def test_a_training_never_sees_its_held_out_fold(tmp_path: Path, data: Dataset) -> None:
    wanted = config(folds=3)
    found = repeat(work(tmp_path / "one", data, wanted))[0]
    mixed = features(data)
    changed = mixed.pooled.clone()
    changed[torch.from_numpy(found.repetition.held_out)] = 100.0
    again = repeat_stages(
        work(tmp_path / "two", data, wanted), "net", UNUSED, replace(mixed, pooled=changed)
    )[0]
    ours, theirs = again.answers["adaptation"], found.answers["adaptation"]
    np.testing.assert_array_equal(ours.test, theirs.test)
    assert not np.array_equal(ours.held_out, theirs.held_out)


def test_all_backbones_have_the_same_folds(tmp_path: Path, data: Dataset) -> None:
    under = work(tmp_path, data, config(folds=3, seeds=2))
    stage = StageSummary(
        accuracy=0.5, precision=0.5, recall=0.5, per_class_recall={}, epochs=3, seconds=1
    )
    records = []
    for slug, width in (("narrow", 6), ("wide", 11)):
        found = repeat(under, slug, width)
        write_out_of_fold(under, slug, found)
        write_folds(under, slug, found, {"adaptation": stage, "finetuning": stage})
        record = under.run.repetitions.read(slug)
        assert record is not None
        records.append(record)
    one, other = records
    assert one.division == other.division
    assert (one.folds, one.seeds, list(one.stages)) == (3, [3, 4], ["adaptation"])
    folds, seeds = one.stages["adaptation"].folds, one.stages["adaptation"].seeds
    assert folds is not None
    assert seeds is not None
    held_out = [single.held_out.accuracy for single in folds.repeats if single.held_out]
    assert folds.held_out["accuracy"].mean == pytest.approx(np.mean(held_out))
    assert folds.held_out["accuracy"].deviation == pytest.approx(np.std(held_out, ddof=1))
    # 36 images: 12 held out, of the others one of each class's eight stops.
    assert [(single.train, single.validation) for single in folds.repeats] == [(21, 3)] * 3
    assert [(single.name, single.train) for single in seeds.repeats] == [
        ("seed 3", 30),
        ("seed 4", 30),
    ]
    assert seeds.repeats[0].test.accuracy == 0.5
    files = [(tmp_path / "backbones" / slug / "out_of_fold.csv") for slug in ("narrow", "wide")]
    ids = [[line.split(",")[0] for line in file.read_text().splitlines()] for file in files]
    assert ids[0] == ids[1] == ["id", *data.ids[:COUNT]]


def test_another_seed_is_adaptation_with_that_seed(tmp_path: Path, data: Dataset) -> None:
    wanted = config(seeds=3)
    one, other = repeat(work(tmp_path, data, wanted))[-2:]
    assert (one.repetition.seed, other.repetition.seed) == (4, 5)
    pooled, head = features(data).pooled, Head(6, (4,), 0.2, 3, seed_of(4, "head"))
    train, stop = data.where("train"), data.where("validation")
    settings = stage_settings("adaptation", wanted.head, 4, 5, 1e-3, 4)
    learner = HeadLearner(head, pooled, data.labels, train, stop, settings)
    train_stage(learner, settings, Silent(), "by hand")
    with torch.no_grad():
        expected = head.classify(pooled[COUNT:]).softmax(1).numpy()
    np.testing.assert_array_equal(one.answers["adaptation"].test, expected)
    assert not np.array_equal(other.answers["adaptation"].test, expected)


def test_without_folds_asked_for_there_are_out_of_fold_predictions_alone(
    tmp_path: Path, data: Dataset
) -> None:
    under = work(tmp_path, data, config(folds_stages="both"))
    found = repeat(under)
    assert [list(one.answers) for one in found] == [["adaptation"]] * 5
    write_out_of_fold(under, "net", found)
    write_folds(under, "net", found, {})
    assert (tmp_path / "backbones" / "net" / "out_of_fold.csv").is_file()
    assert under.run.repetitions.read("net") is None


def test_classes_too_small_for_folds_have_none(tmp_path: Path, data: Dataset) -> None:
    splits = ["test"] * COUNT + ["train", "train", "train", "validation", "validation", "test"]
    small = replace(data, splits=tuple(splits))
    under = work(tmp_path, small, config())
    found = repeat(under)
    write_out_of_fold(under, "net", found)
    assert found == ()
    assert not list(tmp_path.rglob("out_of_fold.csv"))


def test_folds_that_would_not_learn_a_class_are_left_out_or_refused(
    tmp_path: Path, data: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    """One image of class b has a weight: the fold that holds it out would not learn b.

    It filled the list of label issues with the images of b.
    """
    weights = np.where(data.labels == 1, 0.0, 1.0)
    weights[4] = 1
    few = replace(data, weights=weights)
    under = work(tmp_path, few, config())
    with caplog.at_level("INFO", "seewhy"):
        assert repeat(under) == ()
    write_out_of_fold(under, "net", ())
    assert not list(tmp_path.rglob("out_of_fold.csv"))
    assert "or too few with a weight above 0" in caplog.text
    with pytest.raises(DataError, match="class 'b' has no training image with a weight above 0"):
        repeat(work(tmp_path, few, config(folds=3)))


def test_what_was_stopped_goes_on_behind_the_last_training_that_ended(
    tmp_path: Path, data: Dataset
) -> None:
    wanted = config(folds=3, seeds=2)
    whole = work(tmp_path / "whole", data, wanted)
    write_out_of_fold(whole, "net", repeat(whole))
    with pytest.raises(KeyboardInterrupt):
        repeat(work(tmp_path / "stopped", data, wanted, Naming(stop=3)))
    again = Naming()
    stopped = work(tmp_path / "stopped", data, wanted, again)
    found = repeat(stopped)
    write_out_of_fold(stopped, "net", found)
    assert again.names == ["net: adaptation, fold 3", "net: adaptation, seed 4"]
    for ours, theirs in zip(found, repeat(whole), strict=True):
        for what in ("held_out", "test", "epochs"):
            np.testing.assert_array_equal(
                getattr(ours.answers["adaptation"], what),
                getattr(theirs.answers["adaptation"], what),
            )
    name = "backbones/net/out_of_fold.csv"
    assert (stopped.run.root / name).read_bytes() == (whole.run.root / name).read_bytes()
    assert not list(tmp_path.rglob("*.safetensors"))
    stopped.run.backbones.delete_checkpoints("net")
    assert not (stopped.run.layout.backbone("net") / "folds").exists()


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, data: Dataset) -> None:
    under = work(tmp_path, data, config(folds=3))
    repeat(under)
    path = under.run.layout.backbone("net") / "folds" / "fold 2.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RunError, match=r"fold 2\.npz: cannot be resumed .* delete it"):
        repeat(under)
