"""What several test packages share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Two test processes on two cores: more threads would only wait for each other. Set before any
# test imports PyTorch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the project; tests skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"reference data are not there ({SHARED})")
    return SHARED


@pytest.fixture(scope="session")
def seewhy() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line as a user runs it, in a process of its own, away from any network."""

    def run(
        *arguments: str | Path, cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        variables = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "SEEWHY_CACHE": str(cwd / "cache"),
            "SEEWHY_CIFAR102_URL": "http://127.0.0.1:9/",
            **environment,
        }
        return subprocess.run(
            [sys.executable, "-c", "from seewhy.cli import main; main()", *map(str, arguments)],
            cwd=cwd,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run
