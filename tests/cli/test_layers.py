"""`seewhy layers` lists layers by names that can be typed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def test_layers_are_whole_names_in_a_narrow_terminal(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("layers", "timm:resnet10t", "--size=64", cwd=tmp_path, COLUMNS="20")
    assert done.returncode == 0, done.stderr
    rows = [line.split("  ") for line in done.stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["layer3.0.downsample.0", "AvgPool2d", "1 × 128 × 4 × 4", "map"] in cells
    assert ["layer4", "Sequential", "1 × 512 × 2 × 2", "auto"] in cells
    assert ["fc", "Linear", "1 × 1000"] in cells
    assert [row[0] for row in cells if row[-1] == "auto"] == ["layer4"]


def test_layers_of_an_input_that_is_not_square(tmp_path: Path, seewhy: CommandLine) -> None:
    done = seewhy("layers", "timm:resnet10t", "--size=64x96", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "512 × 2 × 3" in done.stdout
    assert "for one image of 64×96" in done.stdout
    for wrong in ("64x", "0", "x", "64x96x3", "big"):
        done = seewhy("layers", "timm:resnet10t", f"--size={wrong}", cwd=tmp_path)
        assert done.returncode == 2
        assert f"--size: expected a side such as 224, or 192x256, but got '{wrong}'" in done.stderr
