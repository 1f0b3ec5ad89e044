"""The images of a study: index.csv, checks.json, and the arrays of their pixels and masks.

The pixels are decoded straight into their file by ``data/``; here they are only read.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.storage.csv_files import CsvTable, Rows, read_rows, write_table
from seewhy.storage.json_files import read_record, write_record
from seewhy.storage.schemas.data_checks import DataChecks, DataFindings
from seewhy.storage.schemas.levels import Levels
from seewhy.storage.schemas.study import Dataset, SetAside, Split


def write(
    index: Path,
    checks: Path,
    data: Dataset,
    findings: DataFindings | None,
    failed: str | None = None,
) -> None:
    """Write index.csv, a line an image, and then checks.json.

    Parameters
    ----------
    index, checks : Path
        Of the two files.
    data : Dataset
    findings : DataFindings or None
        What the checks found; None where nothing was looked for.
    failed : str, optional
        Why the checks failed.
    """
    groups = [""] * len(data.ids) if data.groups is None else data.groups.tolist()
    rows = (
        (id_, path, data.classes[label], split, group)
        for id_, path, label, split, group in zip(
            data.ids, data.paths, data.labels, data.splits, groups, strict=True
        )
    )
    write_table(index, CsvTable(("id", "path", "label", "split", "group"), rows))
    found = DataChecks(
        source=data.source,
        working_size=int(data.pixels.shape[1]),
        counts=data.counts(),
        set_aside=[asdict(item) for item in data.set_aside],
        masks=data.masks is not None,
        findings=findings,
        failed=failed,
        levels=list(data.levels.known),
    )
    write_record(checks, found)


def read(index: Path, checks: Path, pixels: Path, masks: Path) -> Dataset:
    """Read the images of a study back, their pixels and masks memory-mapped.

    Parameters
    ----------
    index, checks, pixels, masks : Path
        Of the four files; the last is opened only where checks.json says that there are masks.

    Raises
    ------
    RunError
        Where one is missing or damaged.
    """
    found = read_record(checks, DataChecks)
    rows = read_rows(index)
    classes = tuple(found.counts["train"])
    number = {name: k for k, name in enumerate(classes)}
    try:
        return Dataset(
            source=found.source,
            classes=classes,
            ids=tuple(row["id"] for row in rows),
            paths=tuple(row["path"] for row in rows),
            labels=np.array([number[row["label"]] for row in rows], dtype=np.int64),
            splits=tuple(cast(Split, row["split"]) for row in rows),
            pixels=np.load(pixels, mmap_mode="r", allow_pickle=False),
            masks=np.load(masks, mmap_mode="r", allow_pickle=False) if found.masks else None,
            set_aside=tuple(SetAside(**item) for item in found.set_aside),
            groups=_read_groups(rows),
            levels=Levels(tuple(found.levels)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{index.parent}: cannot be read ({error})") from error


def _read_groups(rows: Rows) -> NDArray[np.int64] | None:
    """Read which images are duplicates of each other, where that counted."""
    if any(not row.get("group") for row in rows):
        return None
    return np.array([int(row["group"]) for row in rows], dtype=np.int64)
