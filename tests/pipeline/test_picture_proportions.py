"""Studies by the command line with padded pictures, and with an input that is not square."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.data.decoding.fit import PADDING, Fit
from seewhy.data.decoding.picture import decode_image
from seewhy.storage.run_directory import RunDirectory
from tests.pipeline.conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
SHAPE = (40, 80)  # height and width of the pictures
RUN = (
    "run", "colours", "--backbone", "local-dir:small", "--quiet", "--device=cpu",
    "--set=adaptation.epochs=2", "--set=finetuning.epochs=1", "--set=head.units=[8]",
    "--set=search.trials=0", "--set=explanation.faithfulness=4",
)  # fmt: skip
CORNER = (4, 12)  # height and width of the mark


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wide pictures, the red ones marked in the lower right corner, and a network."""
    place = tmp_path_factory.mktemp("proportions")
    draw_folder(place / "colours", size=SHAPE, each=24, tint=20)
    for file in (place / "colours" / "red").iterdir():
        pixels = np.array(Image.open(file))
        pixels[-CORNER[0] :, -CORNER[1] :] = (250, 250, 0)
        Image.fromarray(pixels).save(file)
    save_local(place / "small", "resnet10t")
    return place


@pytest.fixture(scope="module")
def padded(place: Path, seewhy: CommandLine) -> RunDirectory:
    options = ("--set=input.size=64", "--set=input.resize=pad", "--set=audit.stages=[]")
    done = seewhy(*RUN, *options, "--out", "padded", cwd=place)
    assert done.returncode == 0, done.stderr
    return RunDirectory(place / "padded")


@pytest.fixture(scope="module")
def wide(place: Path, seewhy: CommandLine) -> RunDirectory:
    """Inputs of three quarters of the pictures' proportions, with an audit."""
    done = seewhy(*RUN, "--set=input.size=[64,96]", "--out", "wide", cwd=place)
    assert done.returncode == 0, done.stderr
    return RunDirectory(place / "wide")


def test_padded_pictures_are_whole(padded: RunDirectory) -> None:
    data = padded.data.read()
    assert data.pixels.shape[1:] == (64, 64, 3)
    assert (data.pixels[:, :16] == PADDING).all() and (data.pixels[:, 48:] == PADDING).all()
    red = data.labels == data.classes.index("red")
    # The mark: 12 of 80 columns of 64, 4 of 40 rows of 32.
    assert (np.abs(data.pixels[red][:, 46:48, 56:].astype(int) - (250, 250, 0)) < 8).all()
    findings = padded.data.read_checks().findings
    assert findings is not None
    assert (findings.cropped, findings.padded, findings.stretched) == (0, 0.5, 1)
    assert not any("removes" in sentence for sentence in findings.sentences)
    page = padded.report.path.read_text("utf-8")
    assert "Whole images are shown: 0.50 of the input is padding (median)." in page


@pytest.mark.parametrize("name", ["padded", "wide"])
def test_predict_sees_pictures_as_the_study_did(
    name: str, place: Path, seewhy: CommandLine, request: pytest.FixtureRequest
) -> None:
    run: RunDirectory = request.getfixturevalue(name)
    data = run.data.read()
    recorded = run.backbones.read("small", data.classes).predictions["finetuning"]
    paths = [f"colours/{data.paths[index]}" for index in data.where("test")]
    out = f"{name}.csv"
    done = seewhy(
        "predict", name, *paths, "--out", out, "--uncalibrated", "--quiet", "--device=cpu",
        cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (place / out).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = [[float(row[f"p:{label}"]) for label in data.classes] for row in rows]
    np.testing.assert_allclose(found, recorded.probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "square", "within", "grid", "size"),
    [
        # The whole picture, in the middle half of the input's rows.
        ("padded", [0, 0, 80, 40], [0, 0.25, 1, 0.75], (2, 2), 64),
        # 60 of the 80 columns: 96/64 · 40.
        ("wide", [10, 0, 70, 40], [0, 0, 1, 1], (2, 3), [64, 96]),
    ],
)
def test_explain_lays_maps_where_the_study_saw_them(
    name: str,
    square: list[int],
    within: list[float],
    grid: tuple[int, int],
    size: object,
    place: Path,
    seewhy: CommandLine,
    request: pytest.FixtureRequest,
) -> None:
    request.getfixturevalue(name)
    out = f"{name}-maps"
    done = seewhy(
        "explain", name, "colours/red/00.png", "--out", out, "--quiet", "--device=cpu", cwd=place
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((place / out / "manifest.json").read_text("utf-8"))
    (picture,) = manifest["pictures"]
    assert (picture["square"], picture["within"], manifest["input_size"]) == (square, within, size)
    assert manifest["resize"] == ("pad" if name == "padded" else "crop")
    assert np.load(place / out / picture["maps"][0]["map"]).shape == grid
    overlay = Image.open(place / out / picture["maps"][0]["overlay"])
    assert overlay.size == SHAPE[::-1]


def test_an_input_that_is_not_square_from_pixels_to_report(wide: RunDirectory) -> None:
    data = wide.data.read()
    assert data.pixels.shape[1:] == (64, 96, 3)
    first = decode_image(wide.root.parent / "colours" / data.paths[0])
    np.testing.assert_array_equal(data.pixels[0], Fit((64, 96)).picture(first))
    assert wide.data.read_checks().working_size == (64, 96)
    summary = wide.summary.read()
    assert (summary.backbones["small"].input_size, summary.failed) == ((64, 96), [])
    records = wide.backbones.read("small", data.classes)
    assert records.maps["finetuning"].maps.shape[1:] == (2, 3)
    assert records.faithfulness is not None
    audit = wide.audit.read("small", "finetuning")
    assert audit is not None and len(audit.classes) == 3
    page = wide.report.path.read_text("utf-8")
    assert "--picture: 96 / 64" in page
    assert "stored at 64 × 96 pixels" in page
    assert "The crop to the input's proportions removes 0.25 of an image" in page.replace(
        "&#39;", "'"
    )


def test_another_way_to_resize_is_another_study(
    padded: RunDirectory, place: Path, seewhy: CommandLine
) -> None:
    options = ("--set=input.size=64", "--set=input.resize=squash", "--set=audit.stages=[]")
    done = seewhy(*RUN, *options, "--out", "padded", cwd=place)
    assert done.returncode == 2
    assert "input.resize: 'pad' there, 'squash' now" in done.stderr
    done = seewhy("explain", "padded", "colours/red/00.png", "--resize", "crop", cwd=place)
    assert done.returncode == 2
    assert "resize: goes with a timm network or a folder of weights" in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--set=input.resize=stretch"], "input.resize: input should be 'crop', 'pad' or 'squash'"),
        (
            ["--set=input.size=[192]"],
            "input.size: expected a side of 32 … 1024 pixels, or [height, width] of such sides, "
            "but got [192]",
        ),
        (["--set=input.size=[64,2000]"], "but got [64, 2000]"),
        (
            ["--set=input.size=[224,256]", "--backbone=levit_128s", "--set=backbone.weights=none"],
            "levit_128s: cannot take 224×256 images",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    options: list[str], sentence: str, place: Path, seewhy: CommandLine
) -> None:
    done = seewhy("run", "colours", "--quiet", "--device=cpu", *options, "--out", "none", cwd=place)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (place / "none").exists()
