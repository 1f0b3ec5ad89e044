"""`seewhy check` names what is wrong and writes only where it is asked to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Function = Callable[..., None]


def test_check_tells_what_is_wrong_and_writes_only_where_it_is_told(
    seewhy: CommandLine, tmp_path: Path, refused: Function, write_arrays: Function
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    images[7] = 90
    write_arrays(tmp_path / "a.npz", images, np.arange(60) % 2)
    images[50] = images[20]
    write_arrays(tmp_path / "b[1].npz", images[40:], np.arange(20) % 2)
    before = set(tmp_path.iterdir())
    done = seewhy("check", "a.npz", "--test", "b[1].npz", "--strict", "--quiet", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert not done.stderr
    assert "1 image is blank" in done.stdout
    assert "20 test images have a duplicate" in done.stdout
    assert "a.npz[20] (train, cat)  =  b[1].npz[10] (test, cat)" in done.stdout
    assert set(tmp_path.iterdir()) == before
    images[7], images[50] = images[8, ::-1], images[9, ::-1]
    write_arrays(tmp_path / "a.npz", images, np.arange(60) % 2)
    done = seewhy("check", "a.npz", "--strict", "--out", "looked", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "No problems were found." in done.stdout
    assert json.loads((tmp_path / "looked" / "checks.json").read_text())["findings"]["images"] == 60
    with Image.open(tmp_path / "looked" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 300
    refused(seewhy("check", "nowhere", "--quiet", cwd=tmp_path), "nowhere: there is no such file")


def test_check_says_first_what_a_folder_holds(
    tmp_path: Path, seewhy: CommandLine, write_image: Function
) -> None:
    rng = np.random.default_rng(0)
    for place in ("Training/10", "Training/9", "Testing/9", "Testing/10"):
        for number in range(4):
            path = tmp_path / "mine" / place / f"{number}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    (tmp_path / "mine" / "Training" / "9" / "notes.txt").write_text("x")
    write_image(tmp_path / "mine" / "new" / "1.png")
    done = seewhy("check", "mine", "--set=input.size=32", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    assert first == "2 classes, 16 images: '9' 8, '10' 8 (training 8, test 8)"
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["2", "classes"]
    assert ["│", "9", "│", "3", "│", "1", "│", "4", "│"] in rows
    assert ["│", "all", "│", "6", "│", "2", "│", "8", "│"] in rows
    assert "other files: .txt" in done.stdout and "Training/9/notes.txt" in done.stdout
    assert "Split folders: Training/ is training and Testing/ is test." in done.stdout
    assert "new/ (1 picture) is beside the split folders and was not read." in done.stdout


def test_many_classes_do_not_fill_a_screen(tmp_path: Path, seewhy: CommandLine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (630, 8, 8, 3), dtype=np.uint8)
    names = np.array([f"kind {k}" for k in range(210)])
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(630) % 210, label_names=names)
    done = seewhy("check", "a.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "210 classes, the first 20 of them" in done.stdout
    assert sum("kind" in line for line in done.stdout.splitlines()) < 24
    assert len(done.stderr.splitlines()[0]) < 500


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["mine", "--test", "loose"], ("--test loose: holds 1 picture, but no class folders",)),
        (["zip"], ("zip: holds the single folder mine/", "name zip/mine as the source")),
        (["parts"], ("fold0/, fold1/ hold the same folders", "--set data.top_folders=classes")),
    ],
)
def test_folders_that_are_not_what_they_seem(
    tmp_path: Path,
    seewhy: CommandLine,
    arguments: list[str],
    parts: tuple[str, ...],
    refused: Function,
    write_image: Function,
) -> None:
    for place in ("mine", "zip/mine", "parts/fold0", "parts/fold1"):
        for name in ("cat", "dog"):
            write_image(tmp_path / place / name / "1.png")
    write_image(tmp_path / "loose" / "1.png")
    refused(seewhy("check", *arguments, cwd=tmp_path), *parts)
