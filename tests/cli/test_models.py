"""`seewhy models` lists backbones by names that can be typed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def test_models_lists_the_papers_backbones(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("models", cwd=tmp_path, COLUMNS="160")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    rows = {cells[0]: cells for cells in ([c.strip() for c in ln.split("│")[1:-1]] for ln in lines)}
    assert rows["vgg16.tv_in1k"][1:4] == ["vgg16", "138.4 M", "16"]
    assert rows["resnet50.tv_in1k"][1:4] == ["resnet50", "25.6 M", "54"]
    assert rows["inception_v3.tf_in1k"][1] == "inception_v3"
