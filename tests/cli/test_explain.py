"""`seewhy explain` on networks without a study, and bad names of classifiers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Function = Callable[..., None]


def test_explain_takes_a_network_without_a_study(
    tmp_path: Path, seewhy: CommandLine, write_image: Function
) -> None:
    write_image(tmp_path / "photos" / "sub" / "a.png")
    write_image(tmp_path / "photos" / "b.png")
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
    tmp_path: Path,
    seewhy: CommandLine,
    arguments: list[str],
    parts: tuple[str, ...],
    refused: Function,
) -> None:
    refused(seewhy(*arguments, cwd=tmp_path), *parts)
    assert not (tmp_path / "explained").exists()
