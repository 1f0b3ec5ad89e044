"""The audit of a stage: audit.json and, beside it, audit.npz (pictures) and audit-details.npz."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.npz_files import ArraySpec, read_npz
from seewhy.storage.repositories.base import Repository
from seewhy.storage.repositories.data import DataRepository
from seewhy.storage.repositories.mitigation import MitigationRepository
from seewhy.storage.schemas.audit import Audit
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset

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


class AuditRepository(Repository):
    """The audits of a backbone's stages."""

    def path(self, slug: str, stage: Stage) -> Path:
        """Return one stage's audit.json; fine-tuning's is directly in the backbone's folder."""
        folder = self.layout.backbone(slug)
        return (folder if stage == "finetuning" else folder / stage) / "audit.json"

    def write(
        self,
        slug: str,
        audit: Audit,
        pictures: Mapping[str, NDArray[np.uint8]],
        details: Mapping[str, Mapping[str, NDArray[Any]]],
    ) -> None:
        """Write audit.npz, audit-details.npz and, last, audit.json.

        `pictures` are examples of what was found, (n, 3, S, S, 3), by ``CLASS-FINDING``; `details`
        are the arrays of `read_details`, likewise.
        """
        path = self.path(slug, audit.stage)
        parts = {f"{key}.{part}": a for key, one in details.items() for part, a in one.items()}
        for file, arrays in ((path.with_suffix(".npz"), pictures), (_details_path(path), parts)):
            with writing(file) as part, part.open("wb") as stream:
                np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]
        write_record(path, audit)

    def read(self, slug: str, stage: Stage) -> Audit | None:
        """Read audit.json; None where this classifier has not been audited."""
        return record_where_there(self.path(slug, stage), Audit)

    def read_pictures(self, slug: str, stage: Stage) -> dict[str, NDArray[np.uint8]]:
        """Read audit.npz: by ``CLASS-FINDING``, (n, 3, S, S, 3).

        Raises
        ------
        RunError
            Where the file is missing, damaged or holds something else.
        """
        path = self.path(slug, stage).with_suffix(".npz")
        try:
            with np.load(path, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error
        for name, pictures in found.items():
            if pictures.dtype != np.uint8 or pictures.ndim != 5:
                raise RunError(f"{path}: is not as seewhy writes it ({name}: no pictures)")
        return found

    def read_details(
        self, slug: str, stage: Stage, audit: Audit
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Read audit-details.npz: what the details of an audit's findings look like.

        Returns
        -------
        dict of str to dict of str to ndarray
            By ``CLASS-FINDING``: ``look`` (h, w, 3) float32, ``shape`` (h, w) bool, ``shares`` (2,)
            float64, of the class's images and of the others that carry it; and ``at`` (2,) int64,
            its top and left, where these are the same in all images.

        Raises
        ------
        RunError
            Where the file is missing or damaged.
        """
        path = _details_path(self.path(slug, stage))
        try:
            arrays = read_npz(path, _wanted(audit))
        except (OSError, ValueError, KeyError) as error:
            command = f"seewhy audit {self.layout.root} --backbone {slug}"
            raise RunError(
                f"{path}: cannot be read ({error}); audit the classifier again with `{command}`"
            ) from error
        found: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            key, _, part = name.partition(".")
            found.setdefault(key, {})[part] = array
        for key, one in found.items():
            if one["look"].shape[:2] != one["shape"].shape or not one["shape"].any():
                raise RunError(f"{path}: is not as seewhy writes it ({key}: look and shape)")
        return found

    def read_images(self) -> Dataset:
        """Read the images that an audit uses: the study's own, before any mitigation.

        Raises
        ------
        RunError
            Where they are damaged, or a mitigated study is no longer inside the original study.
        """
        own = DataRepository(self.layout).read()
        if not MitigationRepository(self.layout).data_path.is_file():
            return own
        around = self.layout.enclosing
        if around is not None:
            data = DataRepository(around).read()
            compared = ("classes", "ids", "paths", "splits")
            same = all(getattr(data, name) == getattr(own, name) for name in compared)
            if same and np.array_equal(data.labels, own.labels):
                return data
        raise RunError(
            f"{self.layout.root}: was mitigated from another study's images and is audited on "
            "those; it must stay where it was made, RUN/backbones/SLUG/mitigated in that study's "
            "run directory"
        )


def _wanted(audit: Audit) -> dict[str, ArraySpec]:
    """Return what each array of audit-details.npz must be, for the findings of an audit."""
    return {
        f"{label}-{number}.{part}": expected
        for label, one in enumerate(audit.classes)
        for number, finding in enumerate(one.findings)
        for part, expected in _DETAIL_ARRAYS.get(finding.kind, {}).items()
    }


def _details_path(audit: Path) -> Path:
    """Return the path of the details that belong to an audit.json."""
    return audit.with_name("audit-details.npz")
