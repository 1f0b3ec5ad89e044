"""Whole studies through the real command line, on pictures small enough for a test."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from seewhy import explain, load_classifier, open_classifier, read_images
from seewhy.errors import RunError
from seewhy.explanation.measures.faithfulness import measure_faithfulness
from seewhy.models.classifier import read_classifier
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import STAGES, Stage

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
TINY = [
    "--set=input.size=64", "--set=adaptation.epochs=4", "--set=finetuning.epochs=2",
    "--set=head.units=[8]", "--set=head.batch_size=8", "--set=search.trials=0", "--device=cpu",
]  # fmt: skip


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, seewhy: CommandLine) -> Path:
    """A finished study of a folder, two backbones, weights from local directories."""
    place = tmp_path_factory.mktemp("study")
    draw_folder(place / "colours", noise=60, tint=180)
    for name in ("resnet18", "vgg11"):
        save_local(place / name, name)
    done = seewhy(
        "run", "colours", "--backbone", "local-dir:resnet18", "--backbone", "local-dir:vgg11",
        "--out", "out", "--seed", "3", "--set=explanation.faithfulness=4", "--quiet", *TINY,
        cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "report: out/report/index.html"
    return place


def test_the_run_directory_is_as_designed(finished: Path) -> None:
    run = finished / "out"
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    # What the report writes beside itself is tests/report's.
    files = {name for name in files if not name.startswith(("report/tables/", "report/figures/"))}
    stage = ("history.csv", "model.safetensors", "predictions.csv", "validation.csv",
             "metrics.json", "confusion.csv")  # fmt: skip
    expected = {
        "config.toml", "provenance.json", "study.log", "summary.json", "data/index.csv",
        "data/sources.csv",
        "data/checks.json", "data/contact_sheet.png", "data/pixels.npy", "report/index.html",
        "fingerprint.json", ".lock", "comparison.json", "ensemble.json", "ensemble.csv",
    }  # fmt: skip
    for slug in ("resnet18", "vgg11"):
        folder = f"backbones/{slug}"
        expected |= {f"{folder}/baseline.json", f"{folder}/explanations/faithfulness.json"}
        for maps in ("explanations/adaptation", "explanations/finetuning"):
            expected |= {f"{folder}/{maps}/{n}" for n in ("maps.npz", "index.csv")}
        expected |= {f"{folder}/features.json", f"{folder}/summary.json"}
        expected |= {f"{folder}/{n}.json" for n in ("evaluation", "imbalance")}
        expected |= {f"{folder}/{n}.json" for n in ("quality_issues", "audit", "map_choice")}
        expected |= {f"{folder}/{n}" for n in ("out_of_fold.csv", "audit.npz", "audit-details.npz")}
        expected |= {f"{folder}/{s}/{n}" for s in ("adaptation", "finetuning") for n in stage}
    assert files == expected
    newest = max(run.rglob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    assert newest == run / "summary.json"


def test_the_numbers_agree_with_each_other(finished: Path) -> None:
    run = finished / "out"
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    # 30 pictures: a fifth of each class for the test, a tenth of the others for validation.
    data = summary["data"]
    assert (data["train"], data["validation"], data["test"]) == (21, 3, 6)
    index = {row["id"]: row for row in read_csv(run / "data" / "index.csv")}
    assert sum(row["split"] == "test" for row in index.values()) == 6
    for slug, part in summary["backbones"].items():
        assert part["baseline"] == {"skipped": part["baseline"]["skipped"]}
        for stage in ("adaptation", "finetuning"):
            folder = run / "backbones" / slug / stage
            rows = read_csv(folder / "predictions.csv")
            assert all(index[row["id"]]["label"] == row["label"] for row in rows)
            assert all(index[row["id"]]["split"] == "test" for row in rows)
            right = sum(row["label"] == row["predicted"] for row in rows)
            assert part[stage]["accuracy"] == pytest.approx(right / 6)
            confusion = read_csv(folder / "confusion.csv")
            assert sum(int(row[row["label"]]) for row in confusion) == right
            assert all(sum(map(int, list(row.values())[1:])) == 2 for row in confusion)
            for row in rows:
                shares = [float(row[f"p:{name}"]) for name in data["classes"]]
                assert sum(shares) == pytest.approx(1, abs=1e-5)
                assert max(shares) == float(row["confidence"])
                assert data["classes"][int(np.argmax(shares))] == row["predicted"]
            history = read_csv(folder / "history.csv")
            assert len(history) == part[stage]["epochs"]
            seen = read_csv(folder / "validation.csv")
            assert {row["id"] for row in seen} == {
                id_ for id_, row in index.items() if row["split"] == "validation"
            }
            metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
            right = sum(row["label"] == row["predicted"] for row in seen)
            assert metrics["best_validation_accuracy"] == pytest.approx(right / len(seen))
        maps = np.load(
            run / "backbones" / slug / "explanations" / "finetuning" / "maps.npz",
            allow_pickle=False,
        )
        shown = read_csv(run / "backbones" / slug / "explanations" / "finetuning" / "index.csv")
        assert maps["ids"].tolist() == [row["id"] for row in rows] == [row["id"] for row in shown]
    assert summary["backbones"]["vgg11"]["explanation"]["layer"] == "features.19"


def test_the_evaluation_agrees_with_the_metrics_and_the_comparison_with_both(
    finished: Path,
) -> None:
    run = finished / "out"
    scores = {}
    for slug in ("resnet18", "vgg11"):
        folder = run / "backbones" / slug
        found = json.loads((folder / "evaluation.json").read_text("utf-8"))
        assert "baseline" not in found
        for stage, part in found["stages"].items():
            metrics = json.loads((folder / stage / "metrics.json").read_text("utf-8"))
            for name in ("accuracy", "precision", "recall"):
                assert part[name]["value"] == pytest.approx(metrics[name])
            # Three validation images: fitted on them, or told why not.
            assert part["temperature"]["images"] == 3
            scores[slug, stage] = part["accuracy"]["value"]
    comparison = json.loads((run / "comparison.json").read_text("utf-8"))
    assert [pair["stage"] for pair in comparison["pairs"]] == ["adaptation", "finetuning"]
    for pair in comparison["pairs"]:
        stage = pair["stage"]
        apart = scores["resnet18", stage] - scores["vgg11", stage]
        assert pair["difference"]["value"] == pytest.approx(apart)
        assert pair["maps"]["images"] + pair["maps"]["left_out"] == 6
    assert comparison["changes"]["vgg11"]["maps"]["agreement"]["grid"] == [4, 4]
    assert "Small test set: 6 images, " in json.dumps(comparison["sentences"])


@pytest.mark.parametrize("slug", ["resnet18", "vgg11"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_saved_classifier_gives_the_recorded_predictions_and_maps(
    finished: Path, slug: str, stage: Stage
) -> None:
    run = RunDirectory(finished / "out")
    classifier = read_classifier(run.training.model_path(slug, stage))
    data = run.data.read()
    records = run.backbones.read(slug, data.classes)
    predictions, maps = records.predictions[stage], records.maps[stage]
    paths = [finished / "colours" / data.paths[index] for index in data.where("test")]
    images = read_images(paths, classifier)
    for classes, recorded, scales in (
        (predictions.predicted, maps.maps, maps.scales),
        (predictions.labels, maps.label_maps, maps.label_scales),
    ):
        found = explain(classifier, images, classes.tolist(), layer=classifier.map_layer)
        np.testing.assert_allclose(
            found.probabilities.numpy(), predictions.probabilities, atol=1e-5
        )
        ours = found.maps[:, 0].numpy()
        theirs = recorded.astype(np.float32) / scales[:, None, None]
        np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=1e-3 * ours.max())
    np.testing.assert_array_equal(maps.explained, predictions.predicted)
    assert maps.empty.tolist() == (maps.maps.reshape(6, -1).max(axis=1) == 0).tolist()


def test_maps_are_of_both_classes_and_both_stages(finished: Path) -> None:
    run = RunDirectory(finished / "out")
    classes = run.summary.read().data.classes
    wrong = 0
    for slug in ("resnet18", "vgg11"):
        records = run.backbones.read(slug, classes)
        for stage in STAGES:
            maps, predictions = records.maps[stage], records.predictions[stage]
            right = predictions.predicted == predictions.labels
            wrong += int((~right).sum())
            np.testing.assert_array_equal(maps.maps[right], maps.label_maps[right])
            assert not any(
                np.array_equal(one, other) and one.any()
                for one, other in zip(maps.maps[~right], maps.label_maps[~right], strict=True)
            )
        moved = records.maps["adaptation"].maps != records.maps["finetuning"].maps
        assert moved.any()
    assert wrong


def test_faithfulness_is_what_measuring_by_hand_gives(finished: Path) -> None:
    run = RunDirectory(finished / "out")
    data = run.data.read()
    records = run.backbones.read("resnet18", data.classes)
    recorded, maps = records.faithfulness, records.maps["finetuning"]
    assert recorded is not None
    test = data.where("test")
    sample = [maps.ids.index(id_) for id_ in recorded.ids]
    # Six test images of three classes: each has its share of four, one or two.
    assert len(sample) == 4
    assert set(np.bincount(data.labels[test[sample]], minlength=3)) == {1, 2}
    classifier = read_classifier(run.training.model_path("resnet18", "finetuning"))
    paths = [finished / "colours" / data.paths[index] for index in test[sample]]
    ours = measure_faithfulness(
        classifier,
        read_images(paths, classifier),
        maps.maps[sample],
        records.predictions["finetuning"].predicted[sample],
        seed=3,
        steps=4,
        baselines=("blur",),
        road_shares=(0.3, 0.6),
        random_maps=1,
    )
    assert ours.forward_passes == recorded.forward_passes <= 35 * 4
    assert list(recorded.measures) == list(ours.measures)
    for name, measure in ours.measures.items():
        theirs = recorded.measures[name]
        for column in ("maps", "random", "gaussian", "versus_random", "versus_gaussian"):
            for end in ("value", "low", "high"):
                mine = getattr(getattr(measure, column), end)
                assert getattr(getattr(theirs, column), end) == pytest.approx(mine, abs=2e-5), name
    part = run.summary.read().backbones["resnet18"].explanation.faithfulness
    assert part is not None
    assert part.verdict == recorded.verdict == ours.verdict
    assert part.measures["deletion_blur"].maps == recorded.measures["deletion_blur"].maps
    assert part.seconds > 0


def test_adaptation_leaves_the_trunk_and_finetuning_the_prefix_alone(finished: Path) -> None:
    original = load_file(finished / "resnet18" / "model.safetensors")
    stages = [
        load_file(finished / "out" / "backbones" / "resnet18" / stage / "model.safetensors")
        for stage in ("adaptation", "finetuning")
    ]
    changed = {
        name for name in original if not torch.equal(original[name], stages[1][f"trunk.{name}"])
    }
    assert all(torch.equal(original[name], stages[0][f"trunk.{name}"]) for name in original)
    # Half of ResNet18's twenty convolutions are in layer3 and layer4.
    assert changed
    assert {name.split(".")[0] for name in changed} <= {"layer2", "layer3", "layer4"}
    assert "layer4.1.conv2.weight" in changed
    assert not [name for name in changed if name.startswith(("conv1", "bn1", "layer1"))]
    # Batch normalisation learns, but keeps its running statistics.
    assert "layer4.1.bn2.weight" in changed
    assert not [name for name in changed if "running" in name or "tracked" in name]


def test_the_same_seed_gives_the_same_bytes(finished: Path, seewhy: CommandLine) -> None:
    again = seewhy(
        "run", "colours", "--backbone", "local-dir:resnet18", "--out", "again", "--seed", "3",
        "--set=finetuning.keep=disk", "--set=explanation.faithfulness=0", "--quiet", *TINY,
        cwd=finished,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    for name in ("adaptation/predictions.csv", "finetuning/predictions.csv"):
        first = (finished / "out" / "backbones" / "resnet18" / name).read_bytes()
        # Where activations are kept makes no difference to the numbers.
        assert (finished / "again" / "backbones" / "resnet18" / name).read_bytes() == first
    assert not list((finished / "again").rglob("*.part"))


def test_explain_writes_overlays_and_maps_and_names_what_it_cannot_read(
    finished: Path, seewhy: CommandLine
) -> None:
    (finished / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    done = seewhy(
        "explain", "out", "colours/red/00.png", "broken.png", "colours/blue/00.png",
        "--out", "looked", "--device", "cpu", cwd=finished,
    )  # fmt: skip
    assert done.returncode == 2
    assert "broken.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("colours/red/00.png: ")
    names = sorted(path.name for path in (finished / "looked").iterdir())
    files = ["00-2-map.npy", "00-2-overlay.png", "00-map.npy", "00-overlay.png", "manifest.json"]
    assert names == files
    map_ = np.load(finished / "looked" / "00-map.npy", allow_pickle=False)
    assert (map_.dtype, map_.shape) == (np.float32, (2, 2))
    with Image.open(finished / "looked" / "00-overlay.png") as overlay:
        assert overlay.size == (48, 40)


def test_audit_writes_a_record_and_redraws_the_report(finished: Path, seewhy: CommandLine) -> None:
    folder = finished / "out" / "backbones" / "resnet18"
    by_the_study = json.loads((folder / "audit.json").read_text("utf-8"))
    assert [one["class"] for one in by_the_study["classes"]] == ["blue", "green", "red"]
    # A handful of images per class: too few to say anything, and that is said.
    assert {one["verdict"] for one in by_the_study["classes"]} == {"too few images"}
    page = (finished / "out" / "report" / "index.html").read_text("utf-8")
    assert by_the_study["searched"] in page
    copied = finished / "audited"
    shutil.copytree(finished / "out", copied)
    done = seewhy("audit", "audited", "--stage", "adaptation", "--quiet", cwd=finished)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("resnet18: no shortcut found.")
    path = copied / folder.relative_to(finished / "out") / "adaptation" / "audit.json"
    assert json.loads(path.read_text("utf-8"))["stage"] == "adaptation"
    failed = seewhy("audit", "audited", "--backbone", "resnet19", "--quiet", cwd=finished)
    assert failed.returncode == 2
    assert "holds no backbone 'resnet19'" in failed.stderr
    shutil.rmtree(copied)


def test_report_redraws_from_the_records_alone(finished: Path, seewhy: CommandLine) -> None:
    copied = finished / "copied"
    shutil.copytree(finished / "out", copied)
    before = (copied / "report" / "index.html").read_bytes()
    (copied / "report" / "index.html").unlink()
    for model in copied.rglob("model.safetensors"):
        model.unlink()
    done = seewhy("report", "copied", cwd=finished)
    assert done.returncode == 0, done.stderr
    assert (copied / "report" / "index.html").read_bytes() == before


def test_the_papers_other_backbones_go_the_same_way(tmp_path: Path, seewhy: CommandLine) -> None:
    draw_folder(tmp_path / "colours", each=4, noise=60, tint=180)
    study = '[data]\nsource = "colours"\n[input]\nsize = 80\n'
    save_local(tmp_path / "my_resnet50", "resnet50")
    for name, weights in (("resnet50", "local-dir:my_resnet50"), ("inception_v3", "none")):
        study += f'[[backbone]]\nname = "{name}"\nweights = "{weights}"\n'
    (tmp_path / "study.toml").write_text(study)
    done = seewhy(
        "run", "study.toml", "--out", "out", "--set=adaptation.epochs=1", "--device=cpu",
        "--set=finetuning.epochs=1", "--set=head.batch_size=4", "--set=search.trials=0",
        "--set=explanation.faithfulness=0", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    layers = {"resnet50": 54, "inception_v3": 95}
    assert len(summary["backbones"]) == 2
    for slug, part in summary["backbones"].items():
        name = part["backbone"].partition(".")[0]
        assert slug.startswith(name)
        assert part["weighted_layers"] == layers[name]
        assert part["baseline"].keys() == {"skipped"}
        assert part["finetuning"]["epochs"] == 1
    weights = [part["weights"] for part in summary["backbones"].values()]
    assert weights == ["local-dir:my_resnet50", "none (random)"]


def test_an_augmented_study_computes_training_activations_anew(
    tmp_path: Path, seewhy: CommandLine
) -> None:
    draw_folder(tmp_path / "colours", each=5, noise=60, tint=180)
    save_local(tmp_path / "resnet18", "resnet18")
    done = seewhy(
        "run", "colours", "--backbone", "local-dir:resnet18", "--out", "out", "--quiet",
        "--set=input.augmentation=crop+flip+erase", "--set=finetuning.batch_norm=train", *TINY,
        "--set=finetuning.views=0",
        "--set=explanation.method=layercam", "--set=explanation.layer=['layer3.1.act2', 'last']",
        "--set=explanation.faithfulness=0", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    original = load_file(tmp_path / "resnet18" / "model.safetensors")
    mean = "layer4.1.bn2.running_mean"
    history = read_csv(tmp_path / "out/backbones/resnet18/finetuning/history.csv")
    kept = load_file(tmp_path / "out/backbones/resnet18/finetuning/model.safetensors")
    metrics = json.loads(
        (tmp_path / "out/backbones/resnet18/finetuning/metrics.json").read_text("utf-8")
    )
    assert len(history) == 2
    # Where no epoch beat the start, the start's statistics came back with its weights.
    assert torch.equal(original[mean], kept[f"trunk.{mean}"]) == (metrics["best_epoch"] == 0)
    run = RunDirectory(tmp_path / "out")
    records = run.backbones.read("resnet18", run.data.read().classes)
    maps = records.maps["finetuning"]
    named = open_classifier(str(run.root), device="cpu")
    assert named.method == "layercam"
    assert named.method_layers == ("tail_and_head.tail.layer3.1.act2", "tail_and_head.tail")
    assert set(named.method_layers) <= dict(named.module.named_modules()).keys()
    assert (maps.method, maps.layer) == ("layercam", "layer3.1.act2, trunk output")
    assert maps.maps.shape[1:] == (4, 4)  # the finer of the two, a sixteenth of 64
    assert records.faithfulness is None
    assert run.summary.read().backbones["resnet18"].explanation.faithfulness is None
    log = (tmp_path / "out" / "study.log").read_text("utf-8")
    assert "without the training images, which crop and flip and erase change every time" in log


def test_a_backbone_the_study_does_not_have_is_named(finished: Path) -> None:
    with pytest.raises(RunError, match=r"holds no backbone 'resnet19'; did you mean resnet18\?"):
        load_classifier(finished / "out", "resnet19")
