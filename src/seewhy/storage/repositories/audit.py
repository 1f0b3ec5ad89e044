"""An audit: audit.json and, beside it, audit.npz (pictures) and audit-details.npz.

Each function takes the path of audit.json; the two others lie where it lies.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.json_files import write_record
from seewhy.storage.npz_files import ArraySpec, read_npz
from seewhy.storage.schemas.audit import Audit

# What audit-details.npz has of every finding of these kinds.
_MOVING_ARRAYS = {
    "look": ArraySpec("float32", (None, None, 3)),
    "shape": ArraySpec("bool", (None, None)),
    "shares": ArraySpec("float64", (2,)),
}
_DETAIL_ARRAYS = {
    "moving detail": _MOVING_ARRAYS,
    "detail": {**_MOVING_ARRAYS, "at": ArraySpec("int64", (2,))},
}


def write(
    path: Path,
    audit: Audit,
    pictures: Mapping[str, NDArray[np.uint8]],
    details: Mapping[str, Mapping[str, NDArray[Any]]],
) -> None:
    """Write audit.npz, audit-details.npz and, last, audit.json.

    Parameters
    ----------
    path : Path
        Of audit.json.
    audit : Audit
    pictures : mapping of str to ndarray of uint8, (n, 3, S, S, 3)
        Examples of what was found, by ``CLASS-FINDING``.
    details : mapping of str to mapping of str to ndarray
        What details look like, likewise: see `read_details`.
    """
    parts = {f"{key}.{part}": a for key, one in details.items() for part, a in one.items()}
    for file, arrays in ((_pictures_path(path), pictures), (_details_path(path), parts)):
        with writing(file) as part, part.open("wb") as stream:
            np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]
    write_record(path, audit)


def read_pictures(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Read audit.npz: by ``CLASS-FINDING``, (n, 3, S, S, 3).

    Raises
    ------
    RunError
        Where the file is missing, damaged or holds something else.
    """
    path = _pictures_path(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
    for name, pictures in found.items():
        if pictures.dtype != np.uint8 or pictures.ndim != 5:
            raise RunError(f"{path}: is not as seewhy writes it ({name}: no pictures)")
    return found


def read_details(path: Path, audit: Audit, again: str) -> dict[str, dict[str, NDArray[Any]]]:
    """Read audit-details.npz: what the details of an audit's findings look like.

    Parameters
    ----------
    path : Path
        Of audit.json.
    audit : Audit
        What lies there.
    again : str
        The command that audits the classifier again, for who must.

    Returns
    -------
    dict of str to dict of str to ndarray
        By ``CLASS-FINDING``: ``look`` (h, w, 3) float32, ``shape`` (h, w) bool, ``shares`` (2,)
        float64, of the class's images and of the others that carry it; and ``at`` (2,) int64,
        its top and left, where these are the same in all images.

    Raises
    ------
    RunError
        Where the file is damaged, or not there: seewhy wrote none at first.
    """
    path = _details_path(path)
    wanted = {
        f"{label}-{number}.{part}": expected
        for label, one in enumerate(audit.classes)
        for number, finding in enumerate(one.findings)
        for part, expected in _DETAIL_ARRAYS.get(finding.kind, {}).items()
    }
    try:
        arrays = read_npz(path, wanted)
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: is not there; an older seewhy audited this classifier, audit it again "
            f"with `{again}`"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); audit the classifier again with `{again}`"
        ) from error
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        key, _, part = name.partition(".")
        found.setdefault(key, {})[part] = array
    for key, one in found.items():
        if one["look"].shape[:2] != one["shape"].shape or not one["shape"].any():
            raise RunError(f"{path}: is not as seewhy writes it ({key}: look and shape)")
    return found


def _pictures_path(audit: Path) -> Path:
    """Return where the pictures lie that go with an audit.json."""
    return audit.with_suffix(".npz")


def _details_path(audit: Path) -> Path:
    """Return where the details lie that go with an audit.json."""
    return audit.with_name("audit-details.npz")
