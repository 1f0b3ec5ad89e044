"""Which version of seewhy wrote a run directory.

File names and JSON keys change between schema versions. A run directory of another version is
refused as a whole, before any of its records is read or anything is written to it.
"""

from __future__ import annotations

import json
from pathlib import Path

from seewhy.errors import RunError
from seewhy.storage.schemas.summary import SCHEMA_VERSION

# What an unfinished run of schema version 1 has in place of fingerprint.json.
OLD_FINGERPRINT = "begun.json"
# The releases that read each earlier schema version.
_READERS = {1: "0.1"}


def refuse_other_version(root: Path) -> None:
    """Refuse a run directory, finished or not, that another schema version wrote.

    Raises
    ------
    RunError
        Names the path, its schema version and the seewhy version that reads it.
    """
    version = _schema_version(root)
    if version is None or version == SCHEMA_VERSION:
        return
    reader = f"seewhy {_READERS[version]}" if version in _READERS else "the seewhy that wrote it"
    raise RunError(
        f"{root}: was written with schema version {version}, but this seewhy reads only schema "
        f"version {SCHEMA_VERSION}; open or resume it with {reader}, or run the study again with "
        "--out in another folder or with --fresh, which deletes the old run"
    )


def _schema_version(root: Path) -> int | None:
    """Return a run's schema version; None if nothing says so, or if the summary is damaged."""
    try:
        summary = json.loads((root / "summary.json").read_bytes())
    except FileNotFoundError:
        return 1 if (root / OLD_FINGERPRINT).is_file() else None
    except (OSError, ValueError):
        return None
    version = summary.get("schema_version") if isinstance(summary, dict) else None
    return version if isinstance(version, int) else None
