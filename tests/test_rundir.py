"""What is written comes back, whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.check_records import Suspect, SuspectList, Suspects
from seewhy.config import load_config
from seewhy.errors import RunError
from seewhy.records import (
    STAGES,
    BackboneSummary,
    Baseline,
    Dataset,
    DataSummary,
    Epoch,
    ExplanationSummary,
    FeaturesRecord,
    FoldsRecord,
    HeadSummary,
    LayerSearch,
    Maps,
    Predictions,
    Rates,
    Repeat,
    Repeats,
    SearchRecord,
    SetAside,
    Skipped,
    Spread,
    Stage,
    StageMetrics,
    StageRepeats,
    StageSummary,
    Summary,
    Trial,
)
from seewhy.rundir import RunDirectory, write_error, writing

CLASSES = ('a,"b"', "label\nof two\rlines", "<b>ß</b>")


def _dataset(run: RunDirectory) -> Dataset:
    pixels = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    run.pixels_path.parent.mkdir(parents=True)
    np.save(run.pixels_path, pixels)
    return Dataset(
        source="a test",
        classes=CLASSES,
        ids=tuple("abcdef"),
        paths=tuple(f"{n}, odd\n.png" for n in "abcdef"),
        labels=np.array([0, 1, 2, 0, 1, 2]),
        splits=("train", "train", "train", "test", "validation", "test"),
        pixels=pixels,
        set_aside=(SetAside("x.png", "empty"),),
    )


def test_a_dataset_comes_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    data = _dataset(run)
    run.write_dataset(data)
    back = run.read_dataset()
    assert (back.classes, back.ids, back.paths, back.splits, back.set_aside) == (
        data.classes,
        data.ids,
        data.paths,
        data.splits,
        data.set_aside,
    )
    np.testing.assert_array_equal(back.labels, data.labels)
    np.testing.assert_array_equal(back.pixels, data.pixels)
    assert isinstance(back.pixels, np.memmap)
    assert back.groups is None
    assert back.where("test").tolist() == [3, 5]
    assert back.counts()["train"] == dict.fromkeys(CLASSES, 1)
    assert back.counts()["validation"] == dict(zip(CLASSES, [0, 1, 0], strict=True))


def test_groups_of_duplicates_come_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.write_dataset(replace(_dataset(run), groups=np.array([0, -1, 1, 0, 1, -1])))
    back = run.read_dataset().groups
    assert back is not None
    assert (back.dtype, back.tolist()) == (np.int64, [0, -1, 1, 0, 1, -1])
    # A study of an earlier version names none.
    path = tmp_path / "run" / "data" / "index.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row[:4] for row in csv.reader(stream)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    assert run.read_dataset().groups is None


def test_folds_come_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = _write_backbone(run)
    back = run.read_backbone("net", CLASSES)
    assert (back.folds, back.out_of_fold) == (None, None)
    rates = Rates(accuracy=0.5, precision=1 / 3, recall=0.25)
    one = Repeat(name="fold 1", seed=0, train=4, validation=1, epochs=7, held_out=rates, test=rates)
    over = Repeats(
        repeats=[one],
        held_out={"accuracy": Spread(mean=0.5)},
        test={"accuracy": Spread(mean=0.5, deviation=0.1)},
    )
    head = HeadSummary(units=[3], dropout=0, learning_rate=1, batch_size=2, loss="cross-entropy")
    record = FoldsRecord(
        folds=1,
        seeds=[0],
        division="0123",
        head=head,
        stages={"adaptation": StageRepeats(folds=over)},
    )
    run.write_folds("net", record)
    run.write_out_of_fold("net", predictions, CLASSES)
    back = run.read_backbone("net", CLASSES)
    assert back.folds == record
    assert back.out_of_fold is not None
    np.testing.assert_array_equal(back.out_of_fold.probabilities, predictions.probabilities)


def _validation() -> Predictions:
    return Predictions(("e",), np.array([1]), np.array([[0.1, 1 / 3, 0.5]], dtype=np.float32))


def _write_backbone(run: RunDirectory) -> tuple[Predictions, dict[Stage, Maps], StageMetrics]:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=np.float32)
    predictions = Predictions(("d", "f"), np.array([0, 1]), probabilities)
    run.write_baseline("net", Baseline(skipped="no classifier"))
    run.write_features("net", FeaturesRecord(images=6, channels=8, seconds=1.5, at_cut="in memory"))
    for stage in ("adaptation", "finetuning"):
        metrics = StageMetrics(
            stage=stage,
            images=2,
            accuracy=0.5,
            precision=0.5,
            recall=0.25,
            per_class_precision=dict.fromkeys(CLASSES, 0.5),
            per_class_recall=dict.fromkeys(CLASSES, 0.25),
            best_validation_accuracy=0.75,
            best_epoch=1,
            epochs=2,
        )
        history = [Epoch(1, 0.5, 0.25, 0.125, 1 / 3, 1e-3, 2.0), Epoch(2, 0, 0, 0, 0, 1e-3, 1)]
        confusion = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]])
        run.write_stage("net", metrics, history, predictions, confusion, CLASSES)
        run.write_validation("net", stage, _validation(), CLASSES)
    maps = {stage: _maps(stage, predictions) for stage in STAGES}
    for stage, one in maps.items():
        run.write_maps("net", stage, _parts(one), predictions.labels, CLASSES)
    return predictions, maps, metrics


def _maps(stage: Stage, predictions: Predictions) -> Maps:
    """Two images' maps: the first rightly predicted, the second's empty for what was predicted."""
    return Maps(
        ids=predictions.ids,
        maps=np.array([[[0, 1.5]], [[0, 0]]], dtype=np.float16),
        label_maps=np.array([[[0, 1.5]], [[1.25, 0]]], dtype=np.float16),
        explained=predictions.predicted,
        scales=np.array([2, 1], dtype=np.float32),
        label_scales=np.array([2, 0.25], dtype=np.float32),
        empty=np.array([False, True]),
        label_empty=np.array([False, False]),
        method="gradcam",
        layer="bn2",
        stage=stage,
    )


def _parts(maps: Maps) -> Iterator[Maps]:
    """Hand maps on image by image, as batches come."""
    for k in range(len(maps.ids)):
        rows = {
            field.name: getattr(maps, field.name)[k : k + 1]
            for field in fields(Maps)
            if not isinstance(getattr(maps, field.name), str)
        }
        yield replace(maps, **rows)


def test_a_backbone_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    predictions, maps, metrics = _write_backbone(run)
    back = run.read_backbone("net", CLASSES)
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
        np.testing.assert_array_equal(seen.probabilities, _validation().probabilities)
    assert back.confusion["finetuning"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_maps_of_another_shape_type_or_study_are_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    path = run.maps_path("net", "adaptation")
    with np.load(path) as stored:
        good = dict(stored)
    bad: dict[str, dict[str, object]] = {
        r"maps: expected float16 \(2, any, any\), but got float32": {
            "maps": good["maps"].astype(np.float32)
        },
        r"maps: expected float16 \(2, any, any\), but got float16 \(3, 1, 2\)": {
            "maps": np.zeros((3, 1, 2), np.float16)
        },
        r"label_maps: expected float16 \(2, any, any\), but got float16 \(2, 1, 4097\)": {
            "label_maps": np.zeros((2, 1, 4097), np.float16)
        },
        "maps and label_maps have different shapes": {"maps": np.zeros((2, 2, 2), np.float16)},
        "a map is negative or not a number": {"maps": np.full((2, 1, 2), -1, np.float16)},
        "empty: expected bool": {"empty": np.zeros(2)},
        r"ids: expected str \(2\), but got object": {"ids": np.array([{}, {}], dtype=object)},
        "its ids or its stage are not those": {"ids": np.array(["d", "e"])},
        "its ids or its stage": {"stage": np.array("finetuning")},
    }
    for message, changed in bad.items():
        np.savez(path, **{**good, **changed})
        with pytest.raises(RunError, match=rf"adaptation/maps\.npz: cannot be read \({message}"):
            run.read_backbone("net", CLASSES)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(RunError, match=r"maps\.npz: cannot be read"):
        run.read_backbone("net", CLASSES)


def test_a_study_of_an_older_version_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    path = run.maps_path("net", "finetuning")
    with np.load(path) as stored:
        old = {name: stored[name] for name in ("ids", "maps", "explained", "method", "layer")}
    np.savez(path, **old)
    again = "an older seewhy wrote this study, run it again with --fresh"
    with pytest.raises(RunError, match=rf"maps\.npz: has no label_maps; {again}"):
        run.read_backbone("net", CLASSES)
    run.maps_path("net", "adaptation").unlink()
    with pytest.raises(RunError, match=rf"adaptation/maps\.npz: is not there; {again}"):
        run.read_backbone("net", CLASSES)


def test_the_baselines_shares_come_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = _write_backbone(run)
    assert run.read_backbone("net", CLASSES).baseline_predictions is None
    run.write_baseline_predictions("net", predictions, CLASSES)
    back = run.read_backbone("net", CLASSES).baseline_predictions
    assert back is not None
    assert back.ids == predictions.ids
    np.testing.assert_array_equal(back.probabilities, predictions.probabilities)


def test_what_heads_say_of_images_they_were_not_trained_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = _write_backbone(run)
    folder = run.backbone_path("net")
    found = run.read_unseen("net", CLASSES)
    assert found.ids == ("e", *predictions.ids)
    assert found.labels.tolist() == [1, *predictions.labels.tolist()]
    np.testing.assert_array_equal(found.probabilities[1:], predictions.probabilities)
    # Out-of-fold predictions hold the validation images' too.
    validation = folder / "adaptation" / "validation.csv"
    (folder / "out_of_fold.csv").write_bytes(validation.read_bytes().replace(b"e,", b"t,"))
    assert run.read_unseen("net", CLASSES).ids == ("t", *predictions.ids)
    for path in (folder / "out_of_fold.csv", validation):
        path.unlink()
    assert run.read_unseen("net", CLASSES).ids == predictions.ids


def test_suspects_come_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    assert run.read_backbone("net", CLASSES).suspects is None
    one = Suspect(
        id="b", path="b.png", split="train", label="cat", suggested="<b>", score=0.5, reason="so"
    )
    suspects = Suspects(
        label_errors=SuspectList(rule="a rule", looked_at=9, count=1, first=[one]),
        foreign=SuspectList(skipped="nothing to compare with"),
    )
    run.write_suspects("net", suspects)
    assert run.read_backbone("net", CLASSES).suspects == suspects


def test_a_study_of_an_earlier_version_lacks_what_it_had_not(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    for stage in ("adaptation", "finetuning"):
        (run.backbone_path("net") / stage / "validation.csv").unlink()
    back = run.read_backbone("net", CLASSES)
    assert (back.validation, back.baseline_predictions) == ({}, None)


def test_index_predictions_and_maps_have_the_same_ids_in_the_same_order(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    folder = run.backbone_path("net")
    rows = {}
    for name in ("finetuning/predictions.csv", "explanations/index.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as stream:
            rows[name] = list(csv.DictReader(stream))
    assert [row["id"] for row in rows["finetuning/predictions.csv"]] == ["d", "f"]
    assert [row["id"] for row in rows["explanations/index.csv"]] == ["d", "f"]
    first = rows["finetuning/predictions.csv"][0]
    assert list(first)[:4] == ["id", "label", "predicted", "confidence"]
    assert (first["label"], first["predicted"]) == (CLASSES[0], CLASSES[0])
    # The peak is what it was before the map was scaled.
    peaks = [(row["peak"], row["empty"]) for row in rows["explanations/index.csv"]]
    assert peaks == [("0.75", "False"), ("0.0", "True")]
    assert [row["explained"] for row in rows["explanations/index.csv"]] == [CLASSES[0], CLASSES[2]]
    with np.load(folder / "explanations" / "maps.npz", allow_pickle=False) as stored:
        assert stored["ids"].tolist() == ["d", "f"]
        assert stored["maps"].dtype == np.float16


def _summary() -> Summary:
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


def test_the_summary_has_the_keys_that_were_agreed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_summary(_summary())
    assert run.read_summary() == _summary()
    stored = json.loads(run.summary_path.read_text("utf-8"))
    assert list(stored) == [
        "schema_version", "name", "seed", "device", "precision", "data", "backbones",
    ]  # fmt: skip
    part = stored["backbones"]["net"]
    assert list(part) == [
        "backbone", "weights", "parameters", "weighted_layers", "cut", "input_size",
        "baseline", "head", "search", "adaptation", "finetuning", "explanation",
    ]  # fmt: skip
    assert part["baseline"] == {"skipped": "no classifier"}
    assert part["search"] is None
    assert list(part["adaptation"]) == [
        "accuracy", "precision", "recall", "per_class_recall", "epochs", "seconds",
    ]  # fmt: skip


def test_the_config_comes_back(tmp_path: Path) -> None:
    config = load_config("paper", settings=["input.size=64", "name=x"])
    run = RunDirectory(tmp_path)
    run.write_config(config)
    assert run.read_config() == config


def test_a_broken_writer_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), writing(path) as part:
        part.write_text("half of the n")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(RunError, match="no space left on the disk") as caught, writing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(path) in str(caught.value)
    assert "cannot be written" in str(write_error(path, PermissionError(errno.EACCES, "denied")))


def test_what_is_no_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such run directory"):
        RunDirectory.open(tmp_path / "none")
    with pytest.raises(RunError, match="holds no finished study"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": 2}', b"\xff"])
def test_a_damaged_summary_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(RunError, match=r"summary\.json: is not as seewhy writes it"):
        RunDirectory.open(tmp_path).read_summary()


def test_damaged_tables_and_maps_are_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    maps = run.backbone_path("net") / "explanations" / "maps.npz"
    kept = maps.read_bytes()
    np.savez(maps.with_suffix(""), ids=np.array([{"a": 1}], dtype=object), maps=np.zeros(1))
    with pytest.raises(RunError, match=r"maps\.npz: cannot be read"):
        run.read_backbone("net", CLASSES)
    maps.write_bytes(kept)
    table = run.backbone_path("net") / "finetuning" / "predictions.csv"
    table.write_text("id,label\nd,a\n", "utf-8")
    with pytest.raises(RunError, match=r"predictions\.csv: is not as seewhy writes it"):
        run.read_backbone("net", CLASSES)


def _search() -> tuple[SearchRecord, tuple[Trial, ...]]:
    head = HeadSummary(
        units=[55, 27], dropout=1 / 3, learning_rate=1e-5, batch_size=16, loss="kl-divergence"
    )
    count = LayerSearch(
        layers=2, trials=2, complete=1, pruned=0, failed=1, best_trial=0, best_value=0.75,
        head=head, importance={"dropout": 1 / 3}, seconds=2.5,
    )  # fmt: skip
    record = SearchRecord(
        sampler="gp", pruner="none", objective="both", layer_counts=[count], head=head,
        stopped="it had to", seconds=2.5,
    )  # fmt: skip
    trial = Trial(
        2, 0, "complete", 0.1 + 0.2, 0.75, 55, (55, 27), 1 / 3, 1e-5, 16, "kl-divergence", 7, 1.5
    )
    failed = replace(
        trial, number=1, state="failed", value=None, best_validation_accuracy=None,
        reason='out of "memory",\nsaid <b>PyTorch</b>',
    )  # fmt: skip
    return record, (trial, failed)


def test_a_search_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    _write_backbone(run)
    record, trials = _search()
    run.write_trials("net", trials)
    run.write_search("net", record)
    back = run.read_backbone("net", CLASSES)
    assert back.search == record
    assert back.trials == trials
    assert record.best is record.layer_counts[0]
    (run.search_path("net") / "trials.csv").write_text("layers,number\n1,x\n", "utf-8")
    with pytest.raises(RunError, match=r"trials\.csv: is not as seewhy writes it"):
        run.read_backbone("net", CLASSES)


def test_a_backbone_that_ended_leaves_no_checkpoints(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    part = _summary().backbones["net"]
    assert run.read_backbone_summary("net") is None
    for stage in ("adaptation", "finetuning"):
        path = run.checkpoint_path("net", stage)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")
    run.write_backbone("net", part)
    assert run.read_backbone_summary("net") == part
    assert not list(tmp_path.rglob("checkpoint.safetensors"))
