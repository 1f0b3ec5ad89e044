"""`seewhy predict` with the classifier of a small study, and the study's threshold."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seewhy.evaluation.calibration import at_temperature
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import Stage

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
CLASSES = ("blue", "green", "red")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def probabilities(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[f"p:{name}"]) for name in CLASSES] for row in rows])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, seewhy: CommandLine) -> Path:
    """A folder with a study of faint colours, which make errors, and a second one with a threshold.

    The second is the first one after the way that docs/how-to/predict.md describes.
    """
    place = tmp_path_factory.mktemp("predict")
    draw_folder(place / "colours", noise=200, tint=40, each=14)
    save_local(place / "resnet18", "resnet18")
    done = seewhy(
        "run", "colours", "--backbone", "local-dir:resnet18", "--out", "out", "--quiet",
        "--set=input.size=64", "--set=adaptation.epochs=4", "--set=finetuning.epochs=1",
        "--set=head.units=[8]", "--set=head.batch_size=8", "--set=search.trials=0",
        "--set=explanation.faithfulness=0", "--set=audit.stages=[]", "--set=data.validation=0.4",
        "--set=finetuning.learning_rate_factor=1", "--device=cpu", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list((place / "out").rglob("abstention.json"))
    shutil.copytree(place / "out", place / "sure")
    config = place / "sure" / "config.toml"
    text = config.read_text("utf-8")
    assert "\n[evaluation]\n" in text
    text = text.replace("[evaluation]\n", "[evaluation]\nabstain_error = 0.4\n")
    config.write_text(text, "utf-8")
    done = seewhy("evaluate", "sure", "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("stage", ["adaptation", "finetuning"])
def test_predictions_are_those_of_the_study(place: Path, seewhy: CommandLine, stage: Stage) -> None:
    run = RunDirectory(place / "out")
    data = run.data.read()
    paths = [f"colours/{data.paths[i]}" for i in data.where("test")]
    arguments = ["predict", "out", *paths, "--stage", stage, "--device=cpu", "--batch-size=4"]
    done = seewhy(*arguments, "--uncalibrated", "--out=raw.csv", "--quiet", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"raw.csv: {len(paths)} predictions\n"
    study = read_csv(run.layout.stage("resnet18", stage) / "predictions.csv")
    raw = read_csv(place / "raw.csv")
    assert [row["path"] for row in raw] == paths
    assert list(raw[0]) == [
        "path",
        "predicted",
        "confidence",
        *(f"p:{n}" for n in CLASSES),
        "error",
    ]
    np.testing.assert_allclose(probabilities(raw), probabilities(study), atol=2e-5)
    assert [row["predicted"] for row in raw] == [row["predicted"] for row in study]
    done = seewhy(*arguments, "--out=calibrated.csv", cwd=place)
    assert done.returncode == 0, done.stderr
    evaluation = run.evaluation.read("resnet18")
    assert evaluation is not None
    scaling = evaluation.stages[stage].temperature
    assert scaling is not None
    assert scaling.temperature is not None
    assert abs(scaling.temperature - 1) > 0.05
    calibrated = read_csv(place / "calibrated.csv")
    expected = at_temperature(probabilities(raw), scaling.temperature)
    np.testing.assert_allclose(probabilities(calibrated), expected, rtol=1e-6)
    confidence = [float(row["confidence"]) for row in calibrated]
    np.testing.assert_allclose(confidence, expected.max(axis=1), rtol=1e-6)
    assert [row["predicted"] for row in calibrated] == [row["predicted"] for row in raw]


def test_the_threshold_of_a_study_is_used_and_reported(place: Path, seewhy: CommandLine) -> None:
    run = RunDirectory(place / "sure")
    kept = run.abstention.read("resnet18")
    assert kept is not None
    found = kept.stages["finetuning"]
    assert found.threshold is not None
    assert found.test is not None
    data = run.data.read()
    paths = [f"colours/{data.paths[i]}" for i in data.where("test")]
    for option in ("--quiet", "--uncalibrated"):
        done = seewhy("predict", "sure", *paths, "--device=cpu", option, cwd=place)
        assert done.returncode == 0, done.stderr
        rows = read_csv(place / "predictions.csv")
        abstained = sum(row["abstain"] == "true" for row in rows)
        # A threshold that keeps some images and not all, so that both words occur.
        assert 0 < abstained == len(paths) - found.test.kept < len(paths)
        assert done.stdout.endswith(f" predictions, {abstained} of them abstained\n")
        assert all(row["predicted"] for row in rows)
        if option == "--quiet":
            for row in rows:
                below = float(row["confidence"]) < found.threshold
                assert row["abstain"] == str(below).lower()
    # `seewhy explain` says the same of the same images.
    done = seewhy("explain", "sure", *paths, "--device=cpu", "--out=looked", "--quiet", cwd=place)
    manifest = json.loads((place / "looked" / "manifest.json").read_text("utf-8"))
    unsure = {one["path"]: one["abstains"] for one in manifest["pictures"]}
    assert unsure == {row["path"]: row["abstain"] == "true" for row in rows}
    for one in manifest["pictures"]:
        assert (one["calibrated"] < found.threshold) == one["abstains"]
    assert done.stdout.count(": do not know (") == abstained
    page = (place / "sure" / "report" / "index.html").read_text("utf-8")
    assert "<h3>Abstention</h3>" in page
    (row,) = [
        row
        for row in read_csv(place / "sure" / "report" / "tables" / "abstention.csv")
        if row["Stage"] == "Fine-tuning"
    ]
    assert float(row["Threshold"]) == found.threshold
    assert int(row["Images kept, test"]) == found.test.kept
    assert (place / "sure" / "report" / "figures" / "risk-coverage-resnet18.svg").is_file()
    assert "Abstention" not in (place / "out" / "report" / "index.html").read_text("utf-8")


def test_a_threshold_that_is_taken_back_leaves_nothing(place: Path, seewhy: CommandLine) -> None:
    shutil.copytree(place / "sure", place / "back")
    config = place / "back" / "config.toml"
    config.write_text(config.read_text("utf-8").replace("abstain_error = 0.4\n", ""), "utf-8")
    done = seewhy("evaluate", "back", "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    assert not list((place / "back").rglob("abstention.json"))


def test_a_threshold_that_cannot_be_reached_is_said(place: Path, seewhy: CommandLine) -> None:
    run = RunDirectory(place / "sure")
    kept = run.abstention.read("resnet18")
    assert kept is not None
    shutil.copytree(place / "sure", place / "unsure")
    update = {"threshold": None, "skipped": "even the surest are wrong"}
    none = kept.stages["finetuning"].model_copy(update=update)
    changed = kept.model_copy(update={"stages": {"finetuning": none}})
    RunDirectory(place / "unsure").abstention.write("resnet18", changed)
    done = seewhy("predict", "unsure", "colours", "--device=cpu", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "the classifier never abstains: even the surest are wrong" in done.stderr
    assert "abstain" not in read_csv(place / "predictions.csv")[0]


def test_a_table_keeps_its_order_and_columns(place: Path, seewhy: CommandLine) -> None:
    (place / "broken.png").write_bytes(b"no picture")
    (place / "new.csv").write_text(
        "site;photo;note\n"
        "north;colours/red/03.png;a, b\n"
        ";broken.png;\n"
        "south;nowhere.png;=1\n"
        "south;colours/blue/01.png;\n"
        "north;colours/red/03.png;again\n",
        "utf-8",
    )
    done = seewhy(
        "predict", "out", "new.csv", "colours/green/00.png", "--maps=drawn", "--device=cpu",
        "--out=there/answers.csv", "--quiet", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "seewhy: 2 images could not be read; the column error of there/answers.csv says why"
    ]
    assert done.stdout.splitlines() == [
        "there/answers.csv: 4 predictions", "drawn: maps of 3 images"
    ]  # fmt: skip
    rows = read_csv(place / "there" / "answers.csv")
    assert [row["path"] for row in rows] == [
        "colours/red/03.png", "broken.png", "nowhere.png", "colours/blue/01.png",
        "colours/red/03.png", "colours/green/00.png",
    ]  # fmt: skip
    assert [row["data.site"] for row in rows] == ["north", "", "south", "south", "north", ""]
    assert [row["data.note"] for row in rows] == ["a, b", "", "=1", "", "again", ""]
    assert [bool(row["predicted"]) for row in rows] == [True, False, False, True, True, True]
    assert rows[0]["p:red"] == rows[4]["p:red"]
    assert rows[1]["error"].startswith("is no JPEG, PNG")
    assert rows[2]["error"] == "line 4: there is no such file"
    manifest = json.loads((place / "drawn" / "manifest.json").read_text("utf-8"))
    assert [one["predicted"] for one in manifest["pictures"]] == [
        rows[k]["predicted"] for k in (0, 3, 5)
    ]


def test_paths_of_a_table_start_from_a_root(place: Path, seewhy: CommandLine) -> None:
    (place / "lists").mkdir(exist_ok=True)
    (place / "lists" / "new.csv").write_text("photo\nred/03.png\nblue/01.png\n", "utf-8")
    arguments = ("predict", "out", "lists/new.csv", "--device=cpu", "--quiet")
    done = seewhy(*arguments, "--root=colours", "--out=rooted.csv", "--maps=rooted", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "rooted: maps of 2 images"
    direct = seewhy(
        "predict", "out", "colours/red/03.png", "colours/blue/01.png", "--device=cpu",
        "--out=direct.csv", cwd=place,
    )  # fmt: skip
    assert direct.returncode == 0
    for one, other in zip(
        read_csv(place / "rooted.csv"), read_csv(place / "direct.csv"), strict=True
    ):
        assert one["p:red"] == other["p:red"]
    alone = seewhy("predict", "out", "colours/red/03.png", "--root=colours", cwd=place)
    assert alone.returncode == 2
    assert "colours: a root is for paths in tables, but no table is given" in alone.stderr
    missing = seewhy(*arguments, "--root=nowhere", cwd=place)
    assert missing.returncode == 2
    assert missing.stderr.strip() == (
        "seewhy: nowhere: expected a folder that the paths in tables start from"
    )
