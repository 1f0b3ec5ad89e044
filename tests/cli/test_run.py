"""Bad input to `seewhy run`: one clear sentence, exit code 2, nothing left behind."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Function = Callable[..., None]
NONE = ["--set=search.trials=0", "--device=cpu", "--quiet", "--out", "out"]


def make(kind: str, place: Path, write_image: Function, write_arrays: Function) -> list[str]:
    """Make one kind of bad input in `place`; return the arguments that name it."""
    if kind == "a missing path":
        return ["pictures"]
    if kind == "an empty folder":
        (place / "pictures").mkdir()
    elif kind == "a single class":
        for number in range(5):
            write_image(place / "pictures" / "cat" / f"{number}.png")
    elif kind == "a class of one image":
        for number in range(5):
            write_image(place / "pictures" / "cat" / f"{number}.png")
        write_image(place / "pictures" / "dog" / "0.png")
    elif kind == "corrupt images":
        for number in range(5):
            write_image(place / "pictures" / "cat" / f"{number}.png")
            broken = place / "pictures" / "dog" / f"{number}.png"
            write_image(broken)
            broken.write_bytes(broken.read_bytes()[:60])
    elif kind == "an npz with pickled objects":
        images = np.array([{"a": 1}], dtype=object)
        write_arrays(place / "train.npz", images, np.array([0]))
        return ["train.npz"]
    elif kind == "an npz with mismatched lengths":
        images = np.zeros((5, 32, 32, 3), dtype=np.uint8)
        write_arrays(place / "train.npz", images, np.array([0, 1]))
        return ["train.npz"]
    return ["pictures"]


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("a missing path", ("pictures",)),
        ("an empty folder", ("pictures",)),
        ("a single class", ("two",)),
        ("a class of one image", ("dog", "1 image")),
        ("corrupt images", ("dog", "set aside")),
        ("an npz with pickled objects", ("train.npz", "pickle")),
        ("an npz with mismatched lengths", ("train.npz", "5", "2")),
    ],
)
def test_bad_data_are_named(
    tmp_path: Path,
    seewhy: CommandLine,
    kind: str,
    parts: tuple[str, ...],
    write_image: Function,
    write_arrays: Function,
    refused: Function,
) -> None:
    source = make(kind, tmp_path, write_image, write_arrays)
    refused(seewhy("run", *source, *NONE, cwd=tmp_path), *parts)
    assert not (tmp_path / "out").exists()


def test_a_corrupt_image_and_a_bomb_are_set_aside_and_listed(
    tmp_path: Path, seewhy: CommandLine, write_image: Function
) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            write_image(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "pictures" / "cat" / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    bomb = io.BytesIO()
    Image.new("1", (16000, 16000)).save(bomb, "PNG")
    (tmp_path / "pictures" / "dog" / "bomb.png").write_bytes(bomb.getvalue())
    (tmp_path / "s.toml").write_text(
        '[data]\nsource = "pictures"\n[input]\nsize = 64\n'
        '[[backbone]]\nname = "resnet10t"\nweights = "none"\n'
        "[adaptation]\nepochs = 1\n[finetuning]\nepochs = 1\n"
    )
    done = seewhy("run", "s.toml", *NONE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checks = (tmp_path / "out" / "data" / "checks.json").read_text("utf-8")
    assert "corrupt.jpg" in checks
    assert "bomb.png" in checks
    report = (tmp_path / "out" / "report" / "index.html").read_text("utf-8")
    assert "corrupt.jpg" in report
    assert "bomb.png" in report


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["demo", "--backbone", "resnet5"], ("resnet5", "did you mean", "resnet50")),
        (["demo", "--backbone", "vit_tiny_patch16_224", "--set=seed=1"], ("vit_tiny",)),
        (["demo", "--set", "finetuning.epoch=3"], ("finetuning.epoch", "finetuning.epochs")),
        (["demo", "--set", "head.dropout=x"], ("head.dropout",)),
        (["demo", "--device", "cuda:7"], ("cuda:7", "CUDA devices")),
        (["demo", "--backbone", "local-dir:nowhere"], ("nowhere",)),
        (["none.toml"], ("none.toml", "no such config file")),
        (["cifar10.2"], ("127.0.0.1", "cifar102")),
        (["demo", "--backbone", "resnet18.a1_in1k"], ("resnet18", "hub")),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path,
    seewhy: CommandLine,
    arguments: list[str],
    parts: tuple[str, ...],
    refused: Function,
) -> None:
    refused(seewhy("run", *arguments, *NONE[2:], cwd=tmp_path), *parts)
    assert not (tmp_path / "out").exists()


def test_a_taken_directory_is_refused(
    tmp_path: Path, seewhy: CommandLine, refused: Function
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    refused(seewhy("run", "demo", *NONE, cwd=tmp_path), "out", "already holds files")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_study_of_the_folder_one_stands_in_does_not_take_its_runs_for_a_class(
    tmp_path: Path, seewhy: CommandLine, write_image: Function
) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png")
    settings = ["--backbone=resnet10t", "--set=backbone.weights=none", "--set=input.size=64"]
    settings += ["--set=adaptation.epochs=1", "--set=finetuning.epochs=1", "--quiet"]
    settings.append("--set=search.trials=0")
    for name in ("one", "two"):
        done = seewhy("run", ".", *settings, f"--set=name={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        run = tmp_path / "runs" / name
        checks = json.loads((run / "data" / "checks.json").read_text("utf-8"))
        assert list(checks["counts"]["train"]) == ["cat", "dog"]
