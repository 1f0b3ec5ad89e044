"""What several test packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the project; tests skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"reference data are not there ({SHARED})")
    return SHARED
