"""Studies of unequal classes from the command line: every correction, the metric and the report."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from seewhy.storage.run_directory import RunDirectory
from tests.pipeline.conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
SMALL = (
    *("--device=cpu", "--quiet", "--set=input.size=64", "--set=audit.stages=[]"),
    *("--set=explanation.faithfulness=0", "--set=adaptation.epochs=3"),
    *("--set=finetuning.epochs=1", "--set=data.keep_duplicates_together=false"),
    "--set=head.kind=network",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 24 blue and 8 red pictures with a weight each, and a backbone."""
    root = tmp_path_factory.mktemp("place")
    draw_folder(root / "all", ("blue", "red"), each=24)
    save_local(root / "small", "resnet10t")
    lines = ["file,label,trust"]
    for file in sorted((root / "all").glob("*/*.png")):
        if file.parent.name == "blue" or int(file.stem) < 8:
            lines.append(f"{file.relative_to(root)},{file.parent.name},{1 + int(file.stem) % 2}")
    (root / "photos.csv").write_text("\n".join(lines))
    return root


def _history(run: Path, stage: str) -> list[dict[str, str]]:
    (file,) = run.glob(f"backbones/*/{stage}/history.csv")
    return list(csv.DictReader(file.open(encoding="utf-8", newline="")))


def _study(seewhy: CommandLine, place: Path, out: Path, *settings: str, trials: int = 0) -> Path:
    given = [f"--set={one}" for one in (*settings, f"search.trials={trials}")]
    backbone = f"--backbone=local-dir:{place / 'small'}"
    done = seewhy(
        "run", str(place / "photos.csv"), backbone, *SMALL, *given, "--out", str(out), cwd=place
    )
    assert done.returncode == 0, done.stderr
    return out


def test_corrections_change_the_training_and_nothing_else(
    seewhy: CommandLine, place: Path, tmp_path: Path
) -> None:
    plain = _study(seewhy, place, tmp_path / "plain")
    losses = {"plain": [row["train_loss"] for row in _history(plain, "adaptation")]}
    assert "validation_metric" not in _history(plain, "adaptation")[0]
    index = (plain / "data" / "index.csv").read_bytes()
    for name, setting in (
        ("sampler", "head.sampler=balanced"),
        ("adjusted", "head.logit_adjustment=1"),
        ("weighted", "data.weight=trust"),
    ):
        run = _study(seewhy, place, tmp_path / name, setting)
        losses[name] = [row["train_loss"] for row in _history(run, "adaptation")]
        if name != "weighted":
            assert (run / "data" / "index.csv").read_bytes() == index
    assert len({tuple(one) for one in losses.values()}) == 4
    weights = RunDirectory(tmp_path / "weighted").data.read().weights
    assert weights is not None
    assert sorted(set(weights.tolist())) == [1, 2]


def test_the_metric_is_followed_from_the_search_to_the_report(
    seewhy: CommandLine, place: Path, tmp_path: Path
) -> None:
    run = _study(
        seewhy, place, tmp_path / "run", "head.metric=log_loss", "search.max_layers=1", trials=2
    )
    for stage in ("adaptation", "finetuning"):
        (file,) = run.glob(f"backbones/*/{stage}/metrics.json")
        metrics = json.loads(file.read_text())
        assert metrics["metric"] == "log_loss"
        values = [float(row["validation_metric"]) for row in _history(run, stage)]
        if metrics["best_epoch"]:
            assert metrics["best_validation_metric"] == min(values)
            assert values.index(min(values)) == metrics["best_epoch"] - 1
    (file,) = run.glob("backbones/*/search/best.json")
    best = json.loads(file.read_text())
    assert best["metric"] == "log_loss"
    (trials,) = run.glob("backbones/*/search/trials.csv")
    reached = [float(row["value"]) for row in csv.DictReader(trials.open(newline=""))]
    assert best["layer_counts"][0]["best_value"] == min(reached) > 0
    summary = json.loads((run / "summary.json").read_text())
    (part,) = summary["backbones"].values()
    assert part["search"]["best_validation_metric"] == min(reached)
    assert "best_validation_accuracy" not in part["search"]
    page = (run / "report" / "index.html").read_text("utf-8")
    assert "its value is the validation log loss of adaptation" in page
    assert "lower values are better" in page
    assert "Each stage stops when validation log loss no longer improves" in page
    assert "<figcaption>Log loss</figcaption>" in page
    assert ">Validation log loss</th>" in page


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("head.sampler=even",), "head.sampler: input should be 'shuffle' or 'balanced'"),
        (
            ("head.sampler=balanced", "head.class_weights=balanced"),
            "head: expected one correction for classes of unequal sizes, but got ",
        ),
        (("head.metric=quadratic_kappa",), "expected ordered classes for head.metric = "),
        (("data.weight=file",), "photos.csv, line 2: data.weight: expected a number of "),
        (("data.weight=trusted",), "has no column 'trusted', which data.weight names; did you"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    settings: tuple[str, ...], sentence: str, seewhy: CommandLine, place: Path, tmp_path: Path
) -> None:
    given = [f"--set={one}" for one in settings]
    backbone = f"--backbone=local-dir:{place / 'small'}"
    out = ("--out", str(tmp_path / "run"))
    done = seewhy("run", str(place / "photos.csv"), backbone, *SMALL, *given, *out, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
