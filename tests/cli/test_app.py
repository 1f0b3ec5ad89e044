"""Bad input to the real command line: one clear sentence, exit code 2, nothing left behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
SEEWHY = [sys.executable, "-c", "from seewhy.cli.app import main; main()"]
NONE = ["--set=search.trials=0", "--device=cpu", "--quiet", "--out", "out"]


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check that it ended with one sentence that holds `parts`, and nothing else."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("seewhy: ")
    for part in parts:
        assert part in lines[0]


def picture(path: Path, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (10, 200, 30)).save(path)


def arrays(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez(path, images=images, labels=labels, label_names=np.array(["cat", "dog"]))


def make(kind: str, place: Path) -> list[str]:
    """Make one kind of bad input in `place`; return the arguments that name it."""
    if kind == "a missing path":
        return ["pictures"]
    if kind == "an empty folder":
        (place / "pictures").mkdir()
    elif kind == "a single class":
        for number in range(5):
            picture(place / "pictures" / "cat" / f"{number}.png")
    elif kind == "a class of one image":
        for number in range(5):
            picture(place / "pictures" / "cat" / f"{number}.png")
        picture(place / "pictures" / "dog" / "0.png")
    elif kind == "corrupt images":
        for number in range(5):
            picture(place / "pictures" / "cat" / f"{number}.png")
            broken = place / "pictures" / "dog" / f"{number}.png"
            picture(broken)
            broken.write_bytes(broken.read_bytes()[:60])
    elif kind == "an npz with pickled objects":
        images = np.array([{"a": 1}], dtype=object)
        arrays(place / "train.npz", images, np.array([0]))
        return ["train.npz"]
    elif kind == "an npz with mismatched lengths":
        images = np.zeros((5, 32, 32, 3), dtype=np.uint8)
        arrays(place / "train.npz", images, np.array([0, 1]))
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
    tmp_path: Path, seewhy: CommandLine, kind: str, parts: tuple[str, ...]
) -> None:
    source = make(kind, tmp_path)
    refused(seewhy("run", *source, *NONE, cwd=tmp_path), *parts)
    assert not (tmp_path / "out").exists()


def test_a_corrupt_image_and_a_bomb_are_set_aside_and_listed(
    tmp_path: Path, seewhy: CommandLine
) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            picture(tmp_path / "pictures" / name / f"{number}.png")
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
    tmp_path: Path, seewhy: CommandLine, arguments: list[str], parts: tuple[str, ...]
) -> None:
    refused(seewhy("run", *arguments, *NONE[2:], cwd=tmp_path), *parts)
    assert not (tmp_path / "out").exists()


def test_a_taken_directory_is_refused(tmp_path: Path, seewhy: CommandLine) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    refused(seewhy("run", "demo", *NONE, cwd=tmp_path), "out", "already holds files")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_study_of_the_folder_one_stands_in_does_not_take_its_runs_for_a_class(
    tmp_path: Path, seewhy: CommandLine
) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            picture(tmp_path / name / f"{number}.png")
    settings = ["--backbone=resnet10t", "--set=backbone.weights=none", "--set=input.size=64"]
    settings += ["--set=adaptation.epochs=1", "--set=finetuning.epochs=1", "--quiet"]
    settings.append("--set=search.trials=0")
    for name in ("one", "two"):
        done = seewhy("run", ".", *settings, f"--set=name={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        run = tmp_path / "runs" / name
        checks = json.loads((run / "data" / "checks.json").read_text("utf-8"))
        assert list(checks["counts"]["train"]) == ["cat", "dog"]


@pytest.mark.parametrize("command", ["explain", "report"])
def test_what_is_no_run_is_named(tmp_path: Path, seewhy: CommandLine, command: str) -> None:
    extra = ["x.png"] if command == "explain" else []
    refused(seewhy(command, "nothing", *extra, cwd=tmp_path), "no such run directory")


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a disk of one megabyte needs root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    for name in ("cat", "dog"):
        for number in range(20):
            picture(tmp_path / "pictures" / name / f"{number}.png", side=128)
    probe = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=1m none {disk}"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us mount a small disk")
    command = " ".join(
        [
            f"'{SEEWHY[0]}' -c '{SEEWHY[2]}'",
            "run pictures --quiet --device=cpu",
            f"--out {disk}/out",
        ]
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=1m none {disk} && {command}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    refused(done, "no space left on the disk")


def test_help_shows_examples() -> None:
    done = subprocess.run(
        [*SEEWHY, "run", "--help"], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "COLUMNS": "140"},
    )  # fmt: skip
    assert done.returncode == 0
    assert "seewhy run demo" in done.stdout
    assert "Examples" in done.stdout


def test_models_lists_the_papers_backbones(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("models", cwd=tmp_path, COLUMNS="160")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    rows = {cells[0]: cells for cells in ([c.strip() for c in ln.split("│")[1:-1]] for ln in lines)}
    assert rows["vgg16.tv_in1k"][1:4] == ["vgg16", "138.4 M", "16"]
    assert rows["resnet50.tv_in1k"][1:4] == ["resnet50", "25.6 M", "54"]
    assert rows["inception_v3.tf_in1k"][1] == "inception_v3"


def test_check_tells_what_is_wrong_and_writes_only_where_it_is_told(
    seewhy: CommandLine, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    images[7] = 90
    arrays(tmp_path / "a.npz", images, np.arange(60) % 2)
    images[50] = images[20]
    arrays(tmp_path / "b[1].npz", images[40:], np.arange(20) % 2)
    before = set(tmp_path.iterdir())
    done = seewhy("check", "a.npz", "--test", "b[1].npz", "--strict", "--quiet", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert not done.stderr
    assert "1 image is blank" in done.stdout
    assert "20 test images have a duplicate" in done.stdout
    assert "a.npz[20] (train, cat)  =  b[1].npz[10] (test, cat)" in done.stdout
    assert set(tmp_path.iterdir()) == before
    images[7], images[50] = images[8, ::-1], images[9, ::-1]
    arrays(tmp_path / "a.npz", images, np.arange(60) % 2)
    done = seewhy("check", "a.npz", "--strict", "--out", "looked", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Nothing wrong was found." in done.stdout
    assert json.loads((tmp_path / "looked" / "checks.json").read_text())["findings"]["images"] == 60
    with Image.open(tmp_path / "looked" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 300
    refused(seewhy("check", "nowhere", "--quiet", cwd=tmp_path), "nowhere: there is no such file")


def test_check_says_first_what_a_folder_holds(tmp_path: Path, seewhy: CommandLine) -> None:
    rng = np.random.default_rng(0)
    for place in ("Training/10", "Training/9", "Testing/9", "Testing/10"):
        for number in range(4):
            path = tmp_path / "mine" / place / f"{number}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    (tmp_path / "mine" / "Training" / "9" / "notes.txt").write_text("x")
    picture(tmp_path / "mine" / "new" / "1.png")
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
    assert "new/ (1 picture) lies beside the split folders and was not read." in done.stdout


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
    tmp_path: Path, seewhy: CommandLine, arguments: list[str], parts: tuple[str, ...]
) -> None:
    for place in ("mine", "zip/mine", "parts/fold0", "parts/fold1"):
        for name in ("cat", "dog"):
            picture(tmp_path / place / name / "1.png")
    picture(tmp_path / "loose" / "1.png")
    refused(seewhy("check", *arguments, cwd=tmp_path), *parts)


def test_version_needs_no_command(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "seewhy 0.1.0\n")


def test_explain_takes_a_network_without_a_study(tmp_path: Path, seewhy: CommandLine) -> None:
    picture(tmp_path / "photos" / "sub" / "a.png")
    picture(tmp_path / "photos" / "b.png")
    (tmp_path / "photos" / "c.png").write_bytes(b"no picture")
    words = ["explain", "timm:resnet10t", "photos", "--weights=none", "--size=64", "--device=cpu"]
    words += ["--classes=top2", "--method=gradcam", "--method=layercam", "--out=looked"]
    done = seewhy(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "seewhy: photos/c.png: is no JPEG, PNG" in done.stderr
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        "photos/b.png", "photos/sub/a.png",
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "looked" / "manifest.json").read_text("utf-8"))
    assert [one["path"] for one in manifest["failed"]] == ["photos/c.png"]
    for one in manifest["pictures"]:
        files = [one["sheet"], *(part[kind] for part in one["maps"] for kind in ("map", "overlay"))]
        assert len(files) == 9
        assert all((tmp_path / "looked" / name).is_file() for name in files)
    # A second call does not take its own overlays for pictures.
    done = seewhy(*words[:1], "timm:resnet10t", ".", *words[3:], cwd=tmp_path)
    again = json.loads((tmp_path / "looked" / "manifest.json").read_text("utf-8"))
    assert len(again["pictures"]) == 2


def test_layers_are_whole_names_in_a_narrow_terminal(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("layers", "timm:resnet10t", "--size=64", cwd=tmp_path, COLUMNS="20")
    assert done.returncode == 0, done.stderr
    rows = [line.split("  ") for line in done.stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["layer3.0.downsample.0", "AvgPool2d", "1 × 128 × 4 × 4", "map"] in cells
    assert ["layer4", "Sequential", "1 × 512 × 2 × 2", "auto"] in cells
    assert ["fc", "Linear", "1 × 1000"] in cells
    assert [row[0] for row in cells if row[-1] == "auto"] == ["layer4"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["explain", "timm:resnet5", "x.png"], ("resnet5", "did you mean", "resnet50")),
        (["explain", "resnet50", "x.png"], ("timm:resnet50",)),
        (["explain", "timm:resnet18.a1_in1k", "x.png"], ("resnet18", "hub", "local-dir:PATH")),
        (["explain", "nothing", "x.png", "--stage", "both"], ("--stage", "both")),
        (["layers", "local-dir:nowhere"], ("nowhere", "no such folder")),
        (["layers", "timm:resnet10t", "--stage", "adaptation"], ("stage", "run directory")),
    ],
)
def test_bad_words_for_a_classifier_are_named(
    tmp_path: Path, seewhy: CommandLine, arguments: list[str], parts: tuple[str, ...]
) -> None:
    refused(seewhy(*arguments, cwd=tmp_path), *parts)
    assert not (tmp_path / "explained").exists()
