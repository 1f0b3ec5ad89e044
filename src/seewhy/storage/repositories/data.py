"""The images of a study and what was found among them, in ``data/``.

The pixels and masks are written while the source is decoded, see ``data/pixels.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.storage.csv_files import CsvTable, Rows, read_rows, write_table
from seewhy.storage.json_files import read_record, write_record
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.data_checks import DataChecks, DataFindings
from seewhy.storage.schemas.dataset import Dataset, SetAside, Split
from seewhy.storage.schemas.input_size import as_input_size
from seewhy.storage.schemas.levels import Levels

# Before the names of a source table's columns in index.csv.
_METADATA = "data."


class DataRepository(Repository):
    """The images of a study: pixels.npy, masks.npy, index.csv, checks.json, contact_sheet.png."""

    @property
    def pixels_path(self) -> Path:
        """The decoded images, (N, S, S, 3) uint8."""
        return self.layout.data / "pixels.npy"

    @property
    def masks_path(self) -> Path:
        """The object masks, (N, S, S) bool; only where the source has them."""
        return self.layout.data / "masks.npy"

    @property
    def checks_path(self) -> Path:
        """checks.json, what was found among the images before the training."""
        return self.layout.data / "checks.json"

    @property
    def index_path(self) -> Path:
        """index.csv, one line per image."""
        return self.layout.data / "index.csv"

    @property
    def contact_sheet_path(self) -> Path:
        """Samples of every class, one picture."""
        return self.layout.data / "contact_sheet.png"

    def write(
        self, data: Dataset, findings: DataFindings | None = None, failed: str | None = None
    ) -> None:
        """Write index.csv, and then checks.json; the pixels are there already.

        `findings` is None where nothing was checked, and where the checks failed, for the reason
        `failed`.
        """
        columns: dict[str, Iterable[object]] = {
            "id": data.ids,
            "path": data.paths,
            "label": (data.classes[label] for label in data.labels),
            "split": data.splits,
            "group": [""] * len(data.ids) if data.groups is None else data.groups.tolist(),
        }
        if data.weights is not None:
            columns["weight"] = data.weights.tolist()
        columns |= {_METADATA + name: cells for name, cells in data.metadata.items()}
        rows = zip(*columns.values(), strict=True)
        write_table(self.index_path, CsvTable(tuple(columns), rows))
        checks = DataChecks(
            source=data.source,
            working_size=as_input_size(*data.pixels.shape[1:3]),
            counts=data.counts(),
            set_aside=[asdict(item) for item in data.set_aside],
            masks=data.masks is not None,
            findings=findings,
            failed=failed,
            levels=list(data.levels.known),
            group_by=list(data.group_by),
        )
        write_record(self.checks_path, checks)

    def read_checks(self) -> DataChecks:
        """Read checks.json."""
        return read_record(self.checks_path, DataChecks)

    def read(self) -> Dataset:
        """Read the images of the study, their pixels and masks memory-mapped.

        Masks are read only where checks.json says that there are any.

        Raises
        ------
        RunError
            Where a file is missing or damaged.
        """
        checks = self.read_checks()
        rows = read_rows(self.index_path)
        classes = tuple(checks.counts["train"])
        number = {name: k for k, name in enumerate(classes)}
        try:
            return Dataset(
                source=checks.source,
                classes=classes,
                ids=tuple(row["id"] for row in rows),
                paths=tuple(row["path"] for row in rows),
                labels=np.array([number[row["label"]] for row in rows], dtype=np.int64),
                splits=tuple(cast(Split, row["split"]) for row in rows),
                pixels=_mapped(self.pixels_path),
                masks=_mapped(self.masks_path) if checks.masks else None,
                set_aside=tuple(SetAside(**item) for item in checks.set_aside),
                groups=_read_groups(rows),
                weights=_read_weights(rows),
                levels=Levels(tuple(checks.levels)),
                group_by=tuple(checks.group_by),
                metadata={
                    name.removeprefix(_METADATA): tuple(row[name] for row in rows)
                    for name in (rows[0] if rows else ())
                    if name.startswith(_METADATA)
                },
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.layout.data}: cannot be read ({error})") from error


def _mapped(path: Path) -> NDArray[Any]:
    return cast(NDArray[Any], np.load(path, mmap_mode="r", allow_pickle=False))


def _read_groups(rows: Rows) -> NDArray[np.int64] | None:
    """Read which images are duplicates of each other; None where duplicates were not grouped."""
    if any(not row["group"] for row in rows):
        return None
    return np.array([int(row["group"]) for row in rows], dtype=np.int64)


def _read_weights(rows: Rows) -> NDArray[np.float64] | None:
    """Read the images' weights in the training loss; None where they have none."""
    if not rows or "weight" not in rows[0]:
        return None
    return np.array([float(row["weight"]) for row in rows])
