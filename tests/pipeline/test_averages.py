"""Averages of a study: of its backbones, and of images with their mirror images."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seewhy import load_classifier, read_images
from seewhy.evaluation.calibration import calibrated
from seewhy.pipeline import ensemble
from seewhy.pipeline.evaluation import evaluate_backbones
from seewhy.runtime.progress import Silent
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
CLASSES = ("blue", "green", "red")
SLUGS = ("resnet18", "vgg11")
RUN = [
    "run", "colours", *(f"--backbone=local-dir:{slug}" for slug in SLUGS), "--quiet",
    "--set=input.size=64", "--set=adaptation.epochs=30", "--set=adaptation.patience=30",
    "--set=finetuning.epochs=1", "--set=head.units=[8]", "--set=head.learning_rate=0.01",
    "--set=head.batch_size=8", "--set=search.trials=0", "--device=cpu",
    "--set=explanation.faithfulness=0", "--set=audit.stages=[]", "--set=data.validation=0.4",
    "--set=finetuning.learning_rate_factor=0.1", "--set=evaluation.mirror=true",
]  # fmt: skip


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def probabilities(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[f"p:{name}"]) for name in CLASSES] for row in rows])


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, seewhy: CommandLine
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a study of two backbones and faint colours, and what the command said."""
    place = tmp_path_factory.mktemp("averages")
    draw_folder(place / "colours", noise=235, tint=6, each=14)
    for slug in SLUGS:
        save_local(place / slug, slug)
    said = seewhy(*RUN, "--out=out", cwd=place)
    assert said.returncode == 0, said.stderr
    return place, said


@pytest.fixture(scope="module")
def place(done: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    return done[0]


@pytest.fixture(scope="module")
def pictures(place: Path) -> list[str]:
    data = RunDirectory(place / "out").data.read()
    return [f"colours/{data.paths[k]}" for k in data.where("test")]


def test_the_ensemble_is_the_mean_of_the_calibrated_backbones(place: Path) -> None:
    run = RunDirectory(place / "out")
    rows, temperatures = [], []
    for slug in SLUGS:
        evaluation = run.evaluation.read(slug)
        assert evaluation is not None
        scaling = evaluation.stages["finetuning"].temperature
        assert scaling is not None
        study = read_csv(run.layout.stage(slug, "finetuning") / "predictions.csv")
        rows.append(calibrated(probabilities(study), scaling.temperature))
        temperatures.append(scaling.temperature)
    found = read_csv(place / "out" / "ensemble.csv")
    np.testing.assert_allclose(probabilities(found), np.mean(rows, axis=0), atol=1e-6)
    assert list(found[0]) == list(study[0])
    assert [row["id"] for row in found] == [row["id"] for row in study]
    best = probabilities(found).argmax(axis=1)
    assert [row["predicted"] for row in found] == [CLASSES[k] for k in best]
    record = json.loads((place / "out" / "ensemble.json").read_text("utf-8"))
    assert [one["backbone"] for one in record["members"]] == list(SLUGS)
    assert [one["weight"] for one in record["members"]] == [0.5, 0.5]
    # One that is far from 1, and none for a network that learned nothing.
    assert [one.get("temperature") for one in record["members"]] == temperatures
    assert temperatures[0] is not None
    assert abs(temperatures[0] - 1) > 0.2
    assert temperatures[1] is None
    right = np.mean([row["label"] == row["predicted"] for row in found])
    assert record["scores"]["accuracy"]["value"] == pytest.approx(right)
    # The single backbone is the best on the validation images.
    accuracies = {
        slug: run.training.read_metrics(slug, "finetuning").best_validation_accuracy
        for slug in SLUGS
    }
    assert accuracies[record["best"]] == max(accuracies.values())


def test_the_command_prints_both_averages(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, said = done
    run = RunDirectory(place / "out")
    found = run.ensemble.read()
    assert found is not None
    lines = said.stdout.splitlines()
    (line,) = [line for line in lines if "ensemble" in line]
    assert f"{found.scores.accuracy.value:.3f}" in line
    assert any("mirrored" in line for line in lines)
    for slug in SLUGS:
        mirror = run.mirror.read(slug)
        assert mirror is not None
        (line,) = [line for line in lines if slug in line and "baseline" not in line]
        assert f"{mirror.scores.accuracy.value:.3f}" in line


def test_predicting_with_all_backbones_gives_the_study_s_average(
    place: Path, pictures: list[str], seewhy: CommandLine
) -> None:
    arguments = ["predict", "out", *pictures, "--backbone=all", "--device=cpu", "--batch-size=4"]
    said = seewhy(*arguments, "--out=all.csv", cwd=place)
    assert said.returncode == 0, said.stderr
    ours, study = read_csv(place / "all.csv"), read_csv(place / "out" / "ensemble.csv")
    assert [row["path"] for row in ours] == pictures
    np.testing.assert_allclose(probabilities(ours), probabilities(study), atol=5e-5)
    assert [row["predicted"] for row in ours] == [row["predicted"] for row in study]
    # No backbone alone has these.
    for slug in SLUGS:
        alone = seewhy("predict", "out", *pictures, f"--backbone={slug}", "--quiet",
                       "--out=one.csv", "--device=cpu", cwd=place)  # fmt: skip
        assert alone.returncode == 0, alone.stderr
        assert not np.allclose(
            probabilities(read_csv(place / "one.csv")), probabilities(study), atol=1e-3
        )


@pytest.mark.parametrize("slug", SLUGS)
def test_predicting_with_mirror_images_gives_the_study_s_average(
    place: Path, pictures: list[str], seewhy: CommandLine, slug: str
) -> None:
    run = RunDirectory(place / "out")
    arguments = ["predict", "out", *pictures, "--mirror", f"--backbone={slug}", "--device=cpu"]
    said = seewhy(*arguments, "--uncalibrated", "--out=raw.csv", "--quiet", cwd=place)
    assert said.returncode == 0, said.stderr
    raw, study = read_csv(place / "raw.csv"), read_csv(run.mirror.predictions_path(slug))
    np.testing.assert_allclose(probabilities(raw), probabilities(study), atol=2e-5)
    plain = probabilities(read_csv(run.layout.stage(slug, "finetuning") / "predictions.csv"))
    # The second network sees nothing at all, so that a mirror image changes nothing either.
    assert np.allclose(probabilities(study), plain, atol=1e-4) == (slug == SLUGS[1])
    said = seewhy(*arguments, "--out=mirrored.csv", "--quiet", cwd=place)
    record = run.mirror.read(slug)
    assert record is not None
    assert record.scores.temperature is not None
    expected = calibrated(probabilities(raw), record.scores.temperature.temperature)
    np.testing.assert_allclose(probabilities(read_csv(place / "mirrored.csv")), expected, rtol=1e-5)


@pytest.mark.parametrize("slug", SLUGS)
def test_mirrored_probabilities_are_those_of_flipped_images(place: Path, slug: str) -> None:
    run = RunDirectory(place / "out")
    data = run.data.read()
    classifier = load_classifier(run.root, slug, device="cpu")
    for split, path in (
        ("test", run.mirror.predictions_path(slug)),
        ("validation", run.mirror.validation_path(slug)),
    ):
        indices = data.where(split)  # type: ignore[arg-type]
        images = read_images([place / "colours" / data.paths[k] for k in indices], classifier)
        rows = [classifier(one).softmax(dim=1).detach().numpy() for one in (images, images.flip(3))]
        found = read_csv(path)
        assert [row["id"] for row in found] == [data.ids[k] for k in indices]
        np.testing.assert_allclose(probabilities(found), np.mean(rows, axis=0), atol=2e-5)


def test_evaluating_again_gives_the_same_bytes(place: Path, seewhy: CommandLine) -> None:
    names = ["ensemble.json", "ensemble.csv", *(f"backbones/{slug}/mirror.json" for slug in SLUGS)]
    shutil.copytree(place / "out", place / "again")
    for name in names:
        (place / "again" / name).unlink()
    said = seewhy("evaluate", "again", "--quiet", cwd=place)
    assert said.returncode == 0, said.stderr
    for name in names:
        assert (place / "again" / name).read_bytes() == (place / "out" / name).read_bytes(), name
    assert "The mean of the 2 backbones’ calibrated probabilities has an accuracy of" in said.stdout


def test_the_report_and_its_files_have_the_averages(place: Path, seewhy: CommandLine) -> None:
    folder = place / "out" / "report"
    found = RunDirectory(place / "out").ensemble.read()
    assert found is not None
    page = (folder / "index.html").read_text("utf-8")
    assert found.sentence in page
    assert "Averaged over each image and its mirror image" in page
    rows = read_csv(folder / "tables" / "test-performance.csv")
    assert [(row["Backbone"], row["Stage"]) for row in rows[-1:]] == [("Ensemble", "Fine-tuning")]
    assert float(rows[-1]["Accuracy"]) == found.scores.accuracy.value
    assert [row["Stage"] for row in rows].count("Fine-tuning, mirrored") == 2
    averages = read_csv(folder / "tables" / "averages.csv")
    assert [row["Average"] for row in averages] == [
        *(f"{slug}, mirrored" for slug in SLUGS), "Ensemble"
    ]  # fmt: skip
    assert found.pair is not None
    assert float(averages[-1]["Difference in accuracy"]) == found.pair.difference.value
    assert float(averages[-1]["p"]) == found.pair.p
    said = seewhy("report", "out", "--format=md", cwd=place)
    assert said.returncode == 0, said.stderr
    text = (folder / "report.md").read_text("utf-8")
    assert "| Ensemble | Fine\\-tuning |" in text or "| Ensemble | Fine-tuning |" in text
    assert "Averages of predictions against a single prediction" in text


def test_a_backbone_without_evaluation_costs_the_ensemble_and_the_report_says_so(
    place: Path, seewhy: CommandLine
) -> None:
    shutil.copytree(place / "out", place / "broken")
    run = RunDirectory(place / "broken")
    (run.layout.stage(SLUGS[1], "finetuning") / "validation.csv").unlink()
    failures = Failures(run, Silent())
    evaluate_backbones(run, run.summary.read(), failures)
    assert [one.step for one in failures.found] == ["evaluation", "ensemble"]
    assert failures.found[1].reason == f"{SLUGS[1]} could not be evaluated"
    assert run.ensemble.read() is None
    assert not run.ensemble.predictions_path.exists()
    said = seewhy("predict", "broken", "colours", "--backbone=all", cwd=place)
    assert said.returncode == 2
    assert "has no average of several backbones: it has no ensemble.json" in said.stderr


def test_an_ensemble_that_fails_is_one_step_of_the_study(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(place / "out", place / "fails")
    run = RunDirectory(place / "fails")
    monkeypatch.setattr(ensemble, "evaluate_ensemble", lambda *_: 1 / 0)
    failures = Failures(run, Silent())
    evaluate_backbones(run, run.summary.read(), failures)
    assert [(one.step, one.backbone) for one in failures.found] == [("ensemble", None)]
    assert run.evaluation.read_comparison() is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["out", "--backbone=all", "--uncalibrated"],
            "--uncalibrated: does not go with --backbone",
        ),
        (["out", "--backbone=all", "--maps=drawn"], "--maps: does not go with --backbone all"),
        (["out", "--backbone=all", "--stage=adaptation"], "--stage: does not go with --backbone"),
        (["out", "--backbone=all", "--size=64"], "--size: does not go with --backbone all"),
        (["out", "--mirror", "--maps=drawn"], "--maps: a map explains one pass of an image"),
        (["timm:resnet10t", "--backbone=all"], "timm:resnet10t: is one network; 'all' stands"),
        (["nowhere", "--backbone=all"], "nowhere: there is no such run directory"),
    ],
)
def test_what_averages_do_not_go_with_is_one_sentence(
    place: Path, seewhy: CommandLine, arguments: list[str], words: str
) -> None:
    said = seewhy("predict", arguments[0], "colours/red/00.png", *arguments[1:], cwd=place)
    assert said.returncode == 2
    (line,) = said.stderr.strip().splitlines()
    assert line.startswith(f"seewhy: {words}")
    assert not (place / "drawn").exists()


def test_a_threshold_of_single_classifiers_is_not_used_for_averages(
    place: Path, pictures: list[str], seewhy: CommandLine
) -> None:
    shutil.copytree(place / "out", place / "sure")
    config = place / "sure" / "config.toml"
    text = config.read_text("utf-8").replace(
        "[evaluation]\n", "[evaluation]\nabstain_error = 0.9\n"
    )
    config.write_text(text, "utf-8")
    assert seewhy("evaluate", "sure", "--quiet", cwd=place).returncode == 0
    for option, note in (
        ("--backbone=all", "does not abstain: thresholds were chosen for single backbones"),
        ("--mirror", "does not abstain: its threshold was chosen without mirrored images"),
    ):
        said = seewhy("predict", "sure", *pictures, option, "--device=cpu", cwd=place)
        assert said.returncode == 0, said.stderr
        assert note in " ".join(said.stderr.split())
        assert "abstain" not in read_csv(place / "predictions.csv")[0]
    plain = seewhy("predict", "sure", *pictures, "--device=cpu", cwd=place)
    assert plain.returncode == 0
    assert "abstain" in read_csv(place / "predictions.csv")[0]


def test_a_study_of_one_backbone_without_mirror_images_has_neither(
    place: Path, pictures: list[str], seewhy: CommandLine
) -> None:
    words = [word for word in RUN if word not in (f"--backbone=local-dir:{SLUGS[1]}", RUN[-1])]
    said = seewhy(*words, "--out=single", cwd=place)
    assert said.returncode == 0, said.stderr
    root = place / "single"
    assert "ensemble" not in said.stdout
    assert "mirrored" not in said.stdout
    left = [path.name for path in root.rglob("*")]
    assert not [name for name in left if name.startswith(("ensemble", "mirror", "averages"))]
    # Nothing else depends on it.
    name = f"backbones/{SLUGS[0]}/finetuning/predictions.csv"
    assert (root / name).read_bytes() == (place / "out" / name).read_bytes()
    said = seewhy("predict", "single", *pictures, "--backbone=all", cwd=place)
    assert said.returncode == 2
    assert f"single: has no average of several backbones: its only backbone is {SLUGS[0]}" in (
        said.stderr
    )
    said = seewhy("predict", "single", *pictures, "--mirror", "--device=cpu", cwd=place)
    assert said.returncode == 0, said.stderr
    assert "its temperature was fitted without mirrored images" in " ".join(said.stderr.split())
