"""What is written comes back, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.config import load_config
from seewhy.errors import RunError
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.data_checks import QualityIssue, QualityIssueList, QualityIssues
from seewhy.storage.schemas.study import (
    STAGES,
    BackboneSummary,
    Baseline,
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
    RepetitionScores,
    SearchRecord,
    Skipped,
    Spread,
    Stage,
    StageMetrics,
    StageRepeats,
    StageRepetitions,
    StageSummary,
    Summary,
    Trial,
)

CLASSES = ('a,"b"', "label\nof two\rlines", "<b>ß</b>")
Written = tuple[Predictions, dict[Stage, Maps], StageMetrics]
Write = Callable[[RunDirectory], Written]


def test_folds_come_back(tmp_path: Path, write_backbone: Write) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = write_backbone(run)
    back = run.read_backbone("net", CLASSES)
    assert (back.folds, back.out_of_fold) == (None, None)
    rates = Rates(accuracy=0.5, precision=1 / 3, recall=0.25)
    one = RepetitionScores(
        name="fold 1", seed=0, train=4, validation=1, epochs=7, held_out=rates, test=rates
    )
    over = StageRepetitions(
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


@pytest.fixture
def write_backbone(two_maps: Callable[[Stage], Maps]) -> Write:
    """Write all files of the backbone "net" but those that a study may lack."""
    return lambda run: _write_backbone(run, {stage: two_maps(stage) for stage in STAGES})


def _write_backbone(run: RunDirectory, maps: dict[Stage, Maps]) -> Written:
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
    for stage, one in maps.items():
        run.write_maps("net", stage, [one], predictions.labels, CLASSES)
    return predictions, maps, metrics


def test_a_backbone_comes_back_to_the_last_bit(tmp_path: Path, write_backbone: Write) -> None:
    run = RunDirectory(tmp_path)
    predictions, maps, metrics = write_backbone(run)
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


def test_the_baselines_shares_come_back(tmp_path: Path, write_backbone: Write) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = write_backbone(run)
    assert run.read_backbone("net", CLASSES).baseline_predictions is None
    run.write_baseline_predictions("net", predictions, CLASSES)
    back = run.read_backbone("net", CLASSES).baseline_predictions
    assert back is not None
    assert back.ids == predictions.ids
    np.testing.assert_array_equal(back.probabilities, predictions.probabilities)


def test_what_heads_say_of_images_they_were_not_trained_on(
    tmp_path: Path, write_backbone: Write
) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = write_backbone(run)
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


def test_quality_issues_come_back(tmp_path: Path, write_backbone: Write) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
    assert run.read_backbone("net", CLASSES).issues is None
    one = QualityIssue(
        id="b", path="b.png", split="train", label="cat", suggested="<b>", score=0.5, reason="so"
    )
    issues = QualityIssues(
        label_issues=QualityIssueList(rule="a rule", looked_at=9, count=1, first=[one]),
        outliers=QualityIssueList(skipped="nothing to compare with"),
    )
    run.write_quality_issues("net", issues)
    assert run.read_backbone("net", CLASSES).issues == issues


def test_a_study_of_an_earlier_version_lacks_what_it_had_not(
    tmp_path: Path, write_backbone: Write
) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
    for stage in ("adaptation", "finetuning"):
        (run.backbone_path("net") / stage / "validation.csv").unlink()
    back = run.read_backbone("net", CLASSES)
    assert (back.validation, back.baseline_predictions) == ({}, None)


def test_index_predictions_and_maps_have_the_same_ids_in_the_same_order(
    tmp_path: Path, write_backbone: Write
) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
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
        "failed",
    ]  # fmt: skip
    part = stored["backbones"]["net"]
    assert list(part) == [
        "backbone", "weights", "parameters", "weighted_layers", "cut", "input_size",
        "baseline", "head", "search", "adaptation", "finetuning", "explanation", "failed",
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


def test_damaged_tables_and_maps_are_named(tmp_path: Path, write_backbone: Write) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
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


def test_a_search_comes_back_to_the_last_bit(tmp_path: Path, write_backbone: Write) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
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
