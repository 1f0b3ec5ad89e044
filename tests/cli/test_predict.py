"""`seewhy predict` on networks without a study, and what it refuses."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Function = Callable[..., None]
NETWORK = ("timm:resnet10t", "--weights=none", "--size=64", "--device=cpu")


def test_predict_takes_a_network_without_a_study(
    tmp_path: Path, seewhy: CommandLine, write_image: Function
) -> None:
    write_image(tmp_path / "photos" / "sub" / "a.png")
    write_image(tmp_path / "photos" / "b.png")
    (tmp_path / "photos" / "c.png").write_bytes(b"no picture")
    done = seewhy("predict", NETWORK[0], "photos", *NETWORK[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "predictions.csv: 2 predictions\n"
    assert "seewhy: 1 image could not be read; the column error of predictions.csv" in done.stderr
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == ["photos/b.png", "photos/c.png", "photos/sub/a.png"]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert "p:0" in rows[0]
    shares = [float(value) for name, value in rows[0].items() if name.startswith("p:")]
    assert (len(shares), sum(shares)) == (1000, pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nowhere.png"], ("nowhere.png: ", "No such file")),
        (["bad.png", "nowhere.png"], ("none of the 2 pictures can be read; the first: bad.png",)),
        (["empty"], ("empty: the folder holds no picture files",)),
        (["nowhere.csv"], ("nowhere.csv: cannot be read",)),
        (["ages.csv"], ("ages.csv: no column holds names of pictures", "--path-column")),
        (["two.csv"], ("several columns hold names of pictures", "--path-column")),
        (["ages.csv", "--path-column=agee"], ("no column 'agee'", "--path-column", "age")),
        (["a.png", "--out=empty"], ("empty: is a folder", "--out")),
        (["a.png", "--out=b.png"], ("b.png: is named like a picture", "--out")),
        (["list.csv", "--out=./list.csv"], ("is the table to predict", "--out")),
        (["a.png", "--stage=both"], ("--stage: expected adaptation or finetuning",)),
        (["a.png", "--stage=adaptation"], ("stage: goes with a run directory",)),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(
    tmp_path: Path,
    seewhy: CommandLine,
    write_image: Function,
    refused: Function,
    arguments: list[str],
    parts: tuple[str, ...],
) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "ages.csv").write_text("age,size\n3,4\n", "utf-8")
    (tmp_path / "two.csv").write_text("left,right\na.png,b.png\n", "utf-8")
    (tmp_path / "list.csv").write_text("path\na.png\n", "utf-8")
    before = {file.name for file in tmp_path.iterdir()}
    command = ["predict", NETWORK[0], *arguments, *NETWORK[1:], "--quiet"]
    refused(seewhy(*command, cwd=tmp_path), *parts)
    assert {file.name for file in tmp_path.iterdir()} - {"cache"} == before
    assert (tmp_path / "list.csv").read_text("utf-8") == "path\na.png\n"
