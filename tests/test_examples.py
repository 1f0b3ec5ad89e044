"""The examples run as their first lines say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from seewhy.explanation.streaming import ExplainedSet

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_any_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("explain_any_model").main(draw(tmp_path / "cat.png", 0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    shares = [float(line.split()[0]) for line in lines[:3]]
    assert shares == sorted(shares, reverse=True)
    assert lines[3] == str(tmp_path / "cat-overlay.png")
    with Image.open(tmp_path / "cat-overlay.png") as overlay:
        assert overlay.size == (90, 60)


def test_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = load("explain_folder")
    monkeypatch.setattr(example, "BATCH", 2)
    for k in range(3):
        draw(tmp_path / f"{k}.png", k)
    example.main(tmp_path, tmp_path / "maps.npz")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"3 pictures in {tmp_path / 'maps.npz'}"
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as stored:
        found = ExplainedSet(**stored)
    assert found.maps.shape == (3, 1, 7, 7)
    assert found.probabilities.shape == (3, 1000)
    assert lines[1].startswith("0.png: ")
    assert lines[1].endswith(", by inner.bn2")
