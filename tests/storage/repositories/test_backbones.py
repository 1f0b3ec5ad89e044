"""All records of a backbone are read as they were written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from seewhy.errors import RunError
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Predictions, StageMetrics
from seewhy.storage.schemas.summary import Summary
from seewhy.storage.schemas.training import Epoch

Written = tuple[Predictions, dict[Stage, Maps], StageMetrics]
Write = Callable[[RunDirectory], Written]


def test_a_backbone_comes_back_to_the_last_bit(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    predictions, maps, metrics = write_backbone(run)
    back = run.backbones.read("net", classes)
    assert back.baseline.skipped == "no classifier"
    assert (back.features.channels, back.features.at_cut) == (8, "in memory")
    assert (back.search, back.trials) == (None, ())
    assert back.metrics["finetuning"] == metrics
    assert back.history["adaptation"][0] == Epoch(1, 0.5, 0.25, 0.125, 1 / 3, 1e-3, 2.0)
    np.testing.assert_array_equal(
        back.predictions["adaptation"].probabilities, predictions.probabilities
    )
    assert back.predictions["finetuning"].predicted.tolist() == [0, 2]
    for stage in STAGES:
        for field in fields(Maps):
            ours, theirs = getattr(maps[stage], field.name), getattr(back.maps[stage], field.name)
            np.testing.assert_array_equal(ours, theirs, field.name)
            assert np.asarray(ours).dtype == np.asarray(theirs).dtype
    for stage in STAGES:
        seen = back.validation[stage]
        assert (seen.ids, seen.labels.tolist()) == (("e",), [1])
        np.testing.assert_array_equal(
            seen.probabilities, np.array([[0.1, 1 / 3, 0.5]], dtype=np.float32)
        )
    assert back.confusion["finetuning"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_what_heads_say_of_images_they_were_not_trained_on(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = write_backbone(run)
    folder = run.layout.backbone("net")
    found = run.backbones.read_out_of_sample("net", classes)
    assert found.ids == ("e", *predictions.ids)
    assert found.labels.tolist() == [1, *predictions.labels.tolist()]
    np.testing.assert_array_equal(found.probabilities[1:], predictions.probabilities)
    # Out-of-fold predictions hold the validation images' too.
    validation = folder / "adaptation" / "validation.csv"
    (folder / "out_of_fold.csv").write_bytes(validation.read_bytes().replace(b"e,", b"t,"))
    assert run.backbones.read_out_of_sample("net", classes).ids == ("t", *predictions.ids)


def test_index_predictions_and_maps_have_the_same_ids_in_the_same_order(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
    folder = run.layout.backbone("net")
    rows = {}
    for name in ("finetuning/predictions.csv", "explanations/finetuning/index.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as stream:
            rows[name] = list(csv.DictReader(stream))
    assert [row["id"] for row in rows["finetuning/predictions.csv"]] == ["d", "f"]
    assert [row["id"] for row in rows["explanations/finetuning/index.csv"]] == ["d", "f"]
    first = rows["finetuning/predictions.csv"][0]
    assert list(first)[:4] == ["id", "label", "predicted", "confidence"]
    assert (first["label"], first["predicted"]) == (classes[0], classes[0])
    # The peak is what it was before the map was scaled.
    peaks = [(row["peak"], row["empty"]) for row in rows["explanations/finetuning/index.csv"]]
    assert peaks == [("0.75", "False"), ("0.0", "True")]
    assert [row["explained"] for row in rows["explanations/finetuning/index.csv"]] == [
        classes[0],
        classes[2],
    ]
    with np.load(folder / "explanations" / "finetuning" / "maps.npz", allow_pickle=False) as stored:
        assert stored["ids"].tolist() == ["d", "f"]
        assert stored["maps"].dtype == np.float16


def test_damaged_tables_and_maps_are_named(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
    maps = run.layout.backbone("net") / "explanations" / "finetuning" / "maps.npz"
    kept = maps.read_bytes()
    np.savez(maps.with_suffix(""), ids=np.array([{"a": 1}], dtype=object), maps=np.zeros(1))
    with pytest.raises(RunError, match=r"maps\.npz: cannot be read"):
        run.backbones.read("net", classes)
    maps.write_bytes(kept)
    table = run.layout.backbone("net") / "finetuning" / "predictions.csv"
    table.write_text("id,label\nd,a\n", "utf-8")
    with pytest.raises(RunError, match=r"predictions\.csv: is not as seewhy writes it"):
        run.backbones.read("net", classes)


def test_a_backbone_that_ended_leaves_no_checkpoints(tmp_path: Path, summary: Summary) -> None:
    run = RunDirectory(tmp_path)
    part = summary.backbones["net"]
    assert run.backbones.read_summary("net") is None
    for stage in ("adaptation", "finetuning"):
        path = run.training.checkpoint_path("net", stage)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")
    run.backbones.finish("net", part)
    assert run.backbones.read_summary("net") == part
    assert not list(tmp_path.rglob("checkpoint.safetensors"))
