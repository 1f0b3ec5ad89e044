"""Whole studies that search for a head: it is trained only where folds show that it is better."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
WORDS = [
    "--backbone", "local-dir:resnet10t", "--set=input.size=64", "--set=head.kind=network",
    "--set=search.trials=3", "--set=search.max_layers=1",
    "--set=adaptation.epochs=12", "--set=adaptation.patience=12", "--set=head.batch_size=16",
    "--set=search.batch_size=[16]", "--set=search.dropout=[0,0]",
    "--set=finetuning.epochs=1", "--set=audit.stages=[]", "--set=explanation.faithfulness=0",
    "--device=cpu",
]  # fmt: skip
# Configured, and as what is searched: two hidden units that are hardly trained, or enough of both.
POOR = ["--set=head.units=[2]", "--set=head.learning_rate=1e-6"]
GOOD = ["--set=head.units=[250]", "--set=head.learning_rate=1e-3"]
AMONG_POOR = ["--set=search.units=[2,3]", "--set=search.learning_rate=[1e-6,2e-6]"]
AMONG_GOOD = ["--set=search.units=[200,300]", "--set=search.learning_rate=[1e-3,1e-3]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("heads")
    draw_folder(place / "colours", each=16)
    save_local(place / "resnet10t", "resnet10t")
    return place


def _study(place: Path, seewhy: CommandLine, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return best.json and the backbone's summary."""
    done = seewhy("run", "colours", "--out", "out", "--fresh", *WORDS, *words, cwd=place)
    assert done.returncode == 0, done.stderr
    folder = place / "out/backbones/resnet10t"
    best = json.loads((folder / "search/best.json").read_text("utf-8"))
    if "comparison" in best:
        assert f"search: {best['comparison']['reason']}" in " ".join(done.stderr.split())
        assert best["comparison"]["reason"][1:] in (place / "out/report/index.html").read_text()
    return best, json.loads((folder / "summary.json").read_text("utf-8"))


def test_a_head_that_is_better_on_folds_is_trained(place: Path, seewhy: CommandLine) -> None:
    best, summary = _study(place, seewhy, *POOR, *AMONG_GOOD)
    assert best["comparison"]["accepted"]
    assert best["comparison"]["difference"]["low"] > 0
    assert summary["head"]["units"] == best["head"]["units"]
    assert 200 <= best["head"]["units"][0] <= 300
    # Adaptation repeats the winning trial, whose value is the mean of its last five epochs.
    history = place / "out/backbones/resnet10t/adaptation/history.csv"
    lines = [line.split(",") for line in history.read_text("utf-8").splitlines()]
    column = lines[0].index("validation_accuracy")
    last = [float(line[column]) for line in lines[-5:]]
    assert sum(last) / 5 == pytest.approx(best["layer_counts"][0]["best_value"], abs=1e-12)


def test_one_that_is_not_is_left_and_the_configured_one_trained(
    place: Path, seewhy: CommandLine
) -> None:
    best, summary = _study(place, seewhy, *GOOD, *AMONG_POOR)
    assert not best["comparison"]["accepted"]
    assert summary["head"]["units"] == [250]


def test_it_is_trained_in_any_case_where_that_is_asked_for(
    place: Path, seewhy: CommandLine
) -> None:
    best, summary = _study(place, seewhy, *GOOD, *AMONG_POOR, "--set=search.accept=always")
    assert "comparison" not in best
    assert summary["head"]["units"] == best["head"]["units"]
    assert best["head"]["units"][0] in (2, 3)
