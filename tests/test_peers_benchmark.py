"""The benchmark beside other libraries: what it plans, resumes, scores and shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

import benchmarks.peers.__main__ as bench
from benchmarks.peers import plan
from benchmarks.peers.driver import Task, epochs_that_fit
from benchmarks.peers.environments import REQUIREMENTS, CannotInstallError
from benchmarks.peers.figure import over_time
from benchmarks.peers.plan import PEERS, Job, missing, planned, read_records, write_record
from benchmarks.peers.scoring import score
from benchmarks.peers.table import table

ROOT = Path(__file__).parents[1]


def record(peer: str, seed: int, accuracy: float, **other: Any) -> dict[str, Any]:
    about = {"peer": peer, "version": "1.0", "data_set": "standin", "seed": seed, "budget": 120}
    used = {"seconds": 100.0 + seed, "peak_rss_mib": 900.0, "within_3_points": True}
    curve = {"curve": [[10.0, 0.5], [90.0, accuracy]]}
    return {**about, **used, **curve, "accuracy": accuracy, "macro_recall": 0.25, **other}


# -- scoring -------------------------------------------------------------------------------


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 500)
    shares = rng.dirichlet([0.6] * 4, 500)
    shares[np.arange(250), labels[:250]] += 1
    shares /= shares.sum(axis=1, keepdims=True)
    found = score(labels, shares)
    predicted = shares.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["macro_recall"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["log_loss"] == pytest.approx(log_loss(labels, shares))
    right, confidence = predicted == labels, shares.max(axis=1)
    reached, said = calibration_curve(right, confidence, n_bins=15)
    counts, _ = np.histogram(confidence, np.linspace(0, 1, 16))
    expected = np.average(np.abs(reached - said), weights=counts[counts > 0])
    assert found["ece"] == pytest.approx(expected)


def test_a_probability_of_zero_costs_what_it_does_in_scikit_learn() -> None:
    labels, shares = np.array([0, 1, 1]), np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    assert score(labels, shares)["log_loss"] == pytest.approx(log_loss(labels, shares))


@pytest.mark.parametrize(
    ("shares", "what"),
    [
        ([[0.5, 0.5]], "2 labels"),
        ([[1.5, -0.5], [0.5, 0.5]], "negative"),
        ([[np.nan, 0.5], [0.5, 0.5]], "no numbers"),
        ([[3.0, 1.0], [0.5, 0.5]], "add up"),
    ],
)
def test_what_are_no_probabilities_is_refused(shares: list[list[float]], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        score(np.array([0, 1]), np.array(shares))


# -- planning ------------------------------------------------------------------------------


def test_peers_take_turns_in_each_budget_seed_and_set() -> None:
    jobs = planned(["seewhy", "timm"], ["standin", "tiles"], [0, 1], [120])
    assert jobs[:3] == [
        Job("seewhy", "standin", 0, 120),
        Job("timm", "standin", 0, 120),
        Job("seewhy", "tiles", 0, 120),
    ]
    assert len({job.name for job in jobs}) == len(jobs) == 8


@pytest.mark.parametrize(("peers", "sets"), [(["keras"], ["tiles"]), (["timm"], ["cats"])])
def test_a_name_that_is_not_known_is_refused_with_those_that_are(
    peers: list[str], sets: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"(keras.*autogluon|cats.*imagenette)"):
        planned(peers, sets, [0], [120])


def test_planning_and_the_table_need_neither_torch_nor_seewhy() -> None:
    heavy = "{'torch', 'seewhy', 'timm', 'sklearn'} & set(sys.modules)"
    code = f"import sys, benchmarks.peers.__main__; print({heavy} or 'none')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "none", done.stderr


@pytest.mark.parametrize("name", PEERS)
def test_each_peer_has_a_driver_and_ranges_of_versions(name: str) -> None:
    peer = PEERS[name]
    assert (ROOT / "benchmarks" / "peers" / f"{peer.driver}.py").is_file()
    if peer.environment is not None:
        lines = (REQUIREMENTS / f"{peer.environment}.txt").read_text("utf-8").splitlines()
        assert lines
        assert all(re.fullmatch(r"[a-z.-]+>=[\d.]+(,<[\d.]+)?", line) for line in lines)


def test_epochs_that_fit_are_whole_and_at_least_the_least() -> None:
    assert epochs_that_fit(100, 30) == 3
    assert epochs_that_fit(-5, 30) == 1
    assert epochs_that_fit(20, 30, least=0) == 0


# -- running -------------------------------------------------------------------------------


@pytest.fixture
def trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that runs jobs whose training is made up; it returns what was trained."""

    def run(jobs: list[Job], failing: str = "", missing_peer: str = "") -> list[str]:
        trained: list[str] = []

        def prepare(job: Job, data: Path, out: Path) -> tuple[Task, float]:
            images = out / "images"
            for name in ("cat", "dog"):
                (images / "train" / name).mkdir(parents=True, exist_ok=True)
                (images / "test" / name).mkdir(parents=True, exist_ok=True)
                (images / "test" / name / "0.png").touch()
            return Task(images, out, out / "work" / job.name, 8, job.seed, 1, ()), 0.8

        def train(job: Job, task: Task, python: Path) -> dict[str, Any]:
            trained.append(job.name)
            if job.peer == failing:
                raise RuntimeError("it failed")
            task.work.mkdir(parents=True)
            np.savez(task.work / "test.npz", probabilities=np.array([[0.9, 0.1], [0.8, 0.2]]))
            return {"version": "1", "head_accuracy": 0.78 if job.peer == "timm" else 0.76}

        def python_of(peer: str, folder: Path) -> Path:
            if peer == missing_peer:
                raise CannotInstallError("no such\n package")
            return Path(sys.executable)

        monkeypatch.setattr(bench, "prepare", prepare)
        monkeypatch.setattr(bench, "train", train)
        monkeypatch.setattr(bench, "python_of", python_of)
        bench.run(missing(jobs, tmp_path), tmp_path, tmp_path, tmp_path)
        return trained

    return run


def test_a_run_that_has_a_record_is_not_repeated(
    trains: Callable[..., list[str]], tmp_path: Path
) -> None:
    jobs = planned(["seewhy", "timm"], ["standin"], [0, 1], [120])
    assert len(trains(jobs[:1])) == 1
    assert trains(jobs) == [job.name for job in jobs[1:]]
    assert trains(jobs) == []
    records = read_records(tmp_path)
    assert len(records) == 4
    assert {one["accuracy"] for one in records} == {0.5}
    # 0.78 is within three points of 0.8, 0.76 is not.
    assert {(one["peer"], one["within_3_points"]) for one in records} == {
        ("timm", True),
        ("seewhy", False),
    }


def test_a_peer_that_fails_is_left_out_with_its_reason_until_it_works(
    trains: Callable[..., list[str]], tmp_path: Path
) -> None:
    jobs = planned(["autogluon", "lightly", "timm"], ["standin"], [0, 1], [120])
    names = trains(jobs, failing="lightly", missing_peer="autogluon")
    assert names == ["lightly_standin_0_120", "timm_standin_0_120", "timm_standin_1_120"]
    expected = {"autogluon": "no such package", "lightly": "it failed"}
    assert plan.read_reasons(tmp_path) == expected
    assert len(trains(jobs, missing_peer="autogluon")) == 2
    assert plan.read_reasons(tmp_path) == {"autogluon": "no such package"}


def test_a_driver_that_ends_with_an_error_says_its_last_line(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho first\necho 'ValueError: no weights' >&2\necho\nexit 1\n")
    fake.chmod(0o755)
    task = Task(tmp_path, tmp_path, tmp_path / "work", 8, 0, 1, ())
    with pytest.raises(RuntimeError, match=r"^ValueError: no weights \(see .*log\.txt\)"):
        bench.train(Job("timm", "tiles", 0, 1), task, fake)


def test_a_driver_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "GRACE", 0)
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    task = Task(tmp_path, tmp_path, tmp_path / "work", 8, 0, 0.2, ())
    with pytest.raises(RuntimeError, match=r"^did not end within 0\.2 s"):
        bench.train(Job("timm", "tiles", 0, 1), task, fake)


def test_a_record_that_is_half_written_does_not_count(tmp_path: Path) -> None:
    job = Job("timm", "tiles", 0, 1)
    write_record(tmp_path, job, {"accuracy": 1.0})
    plan.record_path(tmp_path, job).rename(tmp_path / "records" / f"{job.name}.part")
    assert missing([job], tmp_path) == [job]
    assert read_records(tmp_path) == []


# -- the table and the figure --------------------------------------------------------------


def test_the_table_has_intervals_over_seeds_and_differences_in_pairs() -> None:
    own = [record("seewhy", seed, 0.7 + 0.01 * seed) for seed in range(3)]
    other = [record("timm", seed, 0.6, within_3_points=seed == 0) for seed in range(3)]
    lines = table([*other, *own], {}).splitlines()
    assert lines[0] == "Budget 120 s"
    # Mean 0.71, deviation 0.01: 4.303 · 0.01 / √3 = 0.0248.
    assert lines[4] == "| seewhy 1.0 | 0.710 [0.685, 0.735] | 3 of 3 | 102 | 900 |"
    assert lines[5] == "| timm 1.0 | 0.600 [0.600, 0.600] | 1 of 3 | 102 | 900 |"
    assert lines[6] == "| seewhy − timm | +0.110 [+0.085, +0.135] |  |  |  |"


def test_one_seed_has_no_interval_and_pairs_are_of_the_same_seed() -> None:
    found = [record("seewhy", 0, 0.7), record("seewhy", 1, 0.9), record("fastai", 0, 0.65)]
    lines = table(found, {"lightly": "it failed"}).splitlines()
    assert "| 0.650 (1 seed, no interval) |" in lines[5]
    assert "| +0.050 (1 seed, no interval) |" in lines[6]
    assert lines[-1] == "LightlyTrain: not measured: it failed"


def test_tiles_are_scored_by_macro_recall_and_what_is_missing_is_a_dash() -> None:
    found = [record("timm", 0, 0.9, data_set="tiles"), record("fastai", 0, 0.6)]
    lines = table(found, {}).splitlines()
    assert lines[2].startswith("|  | standin, accuracy | tiles, macro recall |")
    assert lines[5].startswith("| timm 1.0 | – | 0.250 (1 seed, no interval) |")
    assert "seewhy" not in lines[-1]


def test_budgets_have_a_table_each() -> None:
    found = [record("timm", 0, 0.6), record("timm", 0, 0.8, budget=300)]
    first, second = table(found, {}).split("\n\nBudget 300 s")
    assert "0.600" in first
    assert "0.800" in second


def test_the_figure_draws_the_curves_of_the_largest_budget() -> None:
    found = [record("timm", 0, 0.6), record("timm", 0, 0.8, budget=300)]
    (panel,) = over_time(found).axes
    (line,) = panel.lines
    np.testing.assert_array_equal(line.get_xydata(), [[10, 0.5], [90, 0.8]])
    assert line.get_label() == "timm"
    with pytest.raises(ValueError, match="600"):
        over_time(found, 600)


def test_the_table_alone_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path, Job("timm", "standin", 0, 120), record("timm", 0, 0.6))
    picture = tmp_path / "curves.png"
    bench.main(["--table", "--out", str(tmp_path), "--figure", str(picture)])
    assert "| timm 1.0 | 0.600" in capsys.readouterr().out
    assert picture.stat().st_size > 1000
    with pytest.raises(SystemExit):
        bench.main(["--out", str(tmp_path)])


# -- what all peers share ------------------------------------------------------------------


def test_images_are_written_as_they_are_and_listed_class_by_class(tmp_path: Path) -> None:
    from benchmarks.peers.images import write
    from benchmarks.trained import dataset

    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    splits = ("train", "validation", "test", "test")
    counts = write(dataset("", ("cat", "dog"), [0, 1, 1, 0], splits, pixels), tmp_path)
    assert counts == {"train": 1, "val": 1, "test": 2}
    (tmp_path / "train" / "dog").mkdir()
    task = Task(tmp_path, tmp_path, tmp_path, 8, 0, 1, ())
    assert task.classes == ["cat", "dog"]
    np.testing.assert_array_equal(task.labels("test"), [0, 1])
    shown = [np.asarray(Image.open(path)) for path in task.files("test")]
    np.testing.assert_array_equal(shown, pixels[[3, 2]])


def test_the_weights_of_all_peers_are_those_of_seewhy(tmp_path: Path) -> None:
    import torch

    from benchmarks.peers.weights import export, features, load
    from seewhy.config import BackboneConfig
    from seewhy.models.backbones import load_backbone

    export(tmp_path)
    model = load(tmp_path)
    own = load_backbone(BackboneConfig(name="tf_efficientnet_lite0"), 32, 0).model.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, own[name], rtol=0, atol=0)
    path = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 * 2 - 1)
    # These weights were trained with a mean and a deviation of 0.5.
    np.testing.assert_allclose(features(model, [path]), expected.numpy(), atol=1e-4)
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == (
        "tf_efficientnet_lite0"
    )


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    from benchmarks.peers.drive_timm import WARM_UP, rate

    assert rate(0, 100) == pytest.approx(1 / WARM_UP)
    assert rate(WARM_UP, 100) == 1
    assert rate(60, 100) == pytest.approx(0.5)
    assert rate(100, 100) == rate(200, 100) == 0
