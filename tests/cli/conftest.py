"""What the tests of several commands share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """Check that a command ended with one sentence that holds all given parts, and exit code 2."""

    def check(done: subprocess.CompletedProcess[str], *parts: str) -> None:
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("seewhy: ")
        for part in parts:
            assert part in lines[0]

    return check


@pytest.fixture(scope="session")
def write_image() -> Callable[..., None]:
    """Write a green image of one colour, and the folders above it."""

    def write(path: Path, side: int = 40) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (10, 200, 30)).save(path)

    return write


@pytest.fixture(scope="session")
def write_arrays() -> Callable[[Path, np.ndarray, np.ndarray], None]:
    """Write images and labels of the classes cat and dog as an .npz file."""

    def write(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
        np.savez(path, images=images, labels=labels, label_names=np.array(["cat", "dog"]))

    return write
