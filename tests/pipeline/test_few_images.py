"""A study of few images: a head that is fitted at once, told everywhere, and resumed."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from seewhy import explain, load_classifier, load_config, run_study
from seewhy.data.pixels import to_input
from seewhy.pipeline.mitigation import _config
from seewhy.storage.run_directory import RunDirectory

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Stops = Callable[[int], Any]
# The search is on: 35 trials per layer count.
SETTINGS = (
    *("--set=input.size=64", "--set=finetuning.epochs=1", "--set=explanation.faithfulness=0"),
    *("--set=audit.stages=[]", "--device=cpu", "--backbone=local-dir:small"),
)
CONFIG = {
    "data": {"source": "colours", "folds": 2},
    "backbone": [{"name": "local-dir:small"}],
    "input": {"size": 64},
    "finetuning": {"epochs": 1},
    "explanation": {"faithfulness": 0},
    "audit": {"stages": []},
    "device": "cpu",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with eight pictures per class, five of them for training, and a backbone."""
    place = tmp_path_factory.mktemp("few")
    draw_folder(place / "colours", each=8)
    save_local(place / "small", "resnet10t")
    return place


def _part(root: Path) -> dict[str, Any]:
    (part,) = json.loads((root / "summary.json").read_text("utf-8"))["backbones"].values()
    return dict(part)


def test_auto_fits_a_head_and_says_so_everywhere(place: Path, seewhy: CommandLine) -> None:
    done = seewhy("run", "colours", *SETTINGS, "--out", "auto", cwd=place)
    assert done.returncode == 0, done.stderr
    part = _part(place / "auto")
    sentence = part["head"]["fitted"]["chosen"]
    assert sentence.startswith("5 training images per class: ")
    assert sentence.endswith("chosen by cross-validation instead of a network head")
    assert sentence in " ".join((done.stdout + done.stderr).split())
    assert sentence in (place / "auto" / "study.log").read_text("utf-8")
    assert (place / "auto" / "report" / "index.html").read_text("utf-8").count(sentence) == 2
    assert (part["search"], part["head"]["units"]) == (None, [])
    folder = place / "auto" / "backbones" / "small"
    assert not (folder / "search").exists()
    rows = list(csv.DictReader((folder / "adaptation" / "history.csv").open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["1"]
    # Every part that needs predictions of images that were held out has them.
    held_out = list(csv.DictReader((folder / "out_of_fold.csv").open(encoding="utf-8")))
    assert len(held_out) == 3 * 6


@pytest.mark.parametrize("kind", ["logistic", "nearest-mean"])
def test_a_kind_that_is_asked_for_is_explained_like_any_head(
    kind: str, place: Path, seewhy: CommandLine
) -> None:
    words = ("--set", f"head.kind={kind}", "--set", "explanation.method=cam")
    done = seewhy("run", "colours", *SETTINGS, *words, "--out", kind, cwd=place)
    assert done.returncode == 0, done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert f"as head.kind = '{kind}' asks" in said
    folder = place / kind / "backbones" / "small"
    stored = load_file(folder / "adaptation" / "model.safetensors")
    assert [n for n in stored if n.startswith("head.")] == [
        "head.layers.0.bias",
        "head.layers.0.weight",
    ]
    rows = list(csv.DictReader((folder / "adaptation" / "predictions.csv").open(encoding="utf-8")))
    assert np.mean([row["label"] == row["predicted"] for row in rows]) > 0.6
    classifier = load_classifier(place / kind)
    images = to_input(
        torch.zeros((1, 64, 64, 3), dtype=torch.uint8), classifier.design.preprocess, "cpu"
    )
    assert explain(classifier, images).maps.shape[0] == 1


def test_what_such_a_head_cannot_follow_is_refused(place: Path, seewhy: CommandLine) -> None:
    words = ("--set", "head.kind=logistic", "--set", "head.label_smoothing=0.1")
    done = seewhy("run", "colours", *SETTINGS, *words, "--out", "refused", cwd=place)
    assert done.returncode == 2
    assert "expected kind = 'network' for label_smoothing = 0.1" in " ".join(done.stderr.split())
    assert not (place / "refused").exists()


def test_a_study_that_was_stopped_ends_as_the_uninterrupted_one(
    place: Path, stopping: Stops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("seewhy.pipeline.study.build_report", lambda run, *_: run.report.path)
    whole = run_study(load_config(CONFIG), "whole").root
    for stops in itertools.count():
        try:
            progress = stopping(3 + 5 * stops)
            stopped = run_study(load_config(CONFIG), "stopped", progress=progress).root
            break
        except KeyboardInterrupt:
            continue
    assert stops > 2
    names = ("metrics.json", "predictions.csv", "model.safetensors", "out_of_fold.csv")
    paths = [path for name in names for path in whole.rglob(name)]
    assert len(paths) == 7
    for path in paths:
        assert path.read_bytes() == (stopped / path.relative_to(whole)).read_bytes(), path
    assert _part(whole)["head"] == _part(stopped)["head"]


def test_a_second_classifier_has_the_kind_of_the_first(place: Path) -> None:
    """Whatever its images would choose: a network here, as no image is left out of the count."""
    config = load_config({**CONFIG, "data": {"source": str(place / "colours")}})
    run = RunDirectory(place / "whole")
    second = _config(run, "small", config, 0)
    assert second.head.kind == _part(place / "whole")["head"]["fitted"]["kind"]
    assert second.search.trials == 0
