"""A whole study that searches for fine-tuning's settings: its files, its report, a resumed one."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from seewhy.config import load_config
from seewhy.pipeline.study import run_study

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
WORDS = [
    "--backbone", "local-dir:resnet10t", "--set=input.size=64", "--set=adaptation.epochs=2",
    "--set=finetuning.epochs=3", "--set=search.trials=0", "--set=search.finetuning_trials=3",
    "--set=audit.stages=[]", "--set=explanation.faithfulness=0", "--set=head.batch_size=8",
    "--device=cpu",
]  # fmt: skip
FOLDER = Path("out/backbones/resnet10t")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, seewhy: CommandLine) -> Path:
    place = tmp_path_factory.mktemp("settings")
    draw_folder(place / "colours", each=8)
    save_local(place / "resnet10t", "resnet10t")
    done = seewhy("run", "colours", "--out", "out", *WORDS, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "resnet10t: fine-tuning: the " in done.stderr
    return place


def test_every_trial_is_a_line_and_the_choice_a_record(place: Path) -> None:
    folder = place / FOLDER / "search"
    with (folder / "finetuning_trials.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["candidate"], row["epochs"]) for row in rows[:3]] == [
        ("0", "1"), ("1", "1"), ("2", "1"),
    ]  # fmt: skip
    # The best third and the configured ones: one or two.
    assert {row["epochs"] for row in rows[3:]} == {"3"}
    assert ("0", "3") in {(row["candidate"], row["epochs"]) for row in rows}
    found = json.loads((folder / "finetuning.json").read_text("utf-8"))
    assert found["candidates"] == 3
    history = (place / FOLDER / "finetuning" / "history.csv").read_text("utf-8").splitlines()
    rate = history[0].split(",").index("learning_rate")
    assert float(history[1].split(",")[rate]) == found["settings"]["learning_rate"]


def test_the_report_says_why_and_shows_the_trials(place: Path) -> None:
    page = (place / "out/report/index.html").read_text("utf-8")
    found = json.loads((place / FOLDER / "search/finetuning.json").read_text("utf-8"))
    assert found["stopped"][1:] in page
    assert "Settings of fine-tuning that were tried with" in page
    tables = place / "out/report/tables"
    assert (tables / "finetuning-search-resnet10t.csv").is_file()


def test_a_study_stopped_in_its_search_ends_with_the_same_numbers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    config = load_config(
        "colours",
        backbones="local-dir:resnet10t",
        device="cpu",
        settings=[word.removeprefix("--set=") for word in WORDS if word.startswith("--set=")],
    )
    from seewhy.pipeline import finetuning_search

    whole, calls = finetuning_search.finetune, []

    def stopping(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(finetuning_search, "finetune", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_study(config, "stopped")
    trials = Path("stopped/backbones/resnet10t/search/finetuning_trials.csv")
    assert len(trials.read_text("utf-8").splitlines()) == 3
    run_study(config, "stopped")
    for name in ("finetuning/predictions.csv", "finetuning/model.safetensors"):
        ours = Path("stopped/backbones/resnet10t") / name
        assert ours.read_bytes() == (place / FOLDER / name).read_bytes()
