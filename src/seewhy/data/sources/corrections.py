"""Corrected labels fed back: a table of paths with a label, or ``drop``, laid over a listing.

The report's own tables of label issues and outliers have the columns that are needed: keep the rows
that are wrong, correct their class, and name the file with ``data.corrections``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seewhy.config import DataConfig
from seewhy.data.sources.class_names import class_name, printable
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.table_columns import find_columns
from seewhy.data.sources.table_file import read_table
from seewhy.errors import DataError, UnreadableImageError, near_names
from seewhy.wording import count, some

DROP = "drop"


def correct(listing: Listing, file: Path) -> Listing:
    """Return a listing with the labels of a table of corrections; dropped images are set aside.

    Parameters
    ----------
    listing : Listing
    file : Path
        A table (see `seewhy.data.sources.table_file.read_table`) with a column of paths, as the
        study's records name them, and one of labels: a class of the listing, or ``drop``.

    Raises
    ------
    DataError
        With the line: for a path that is no image of the listing or is in two rows, a label that
        is empty or no class; and where the table cannot be read.
    """
    table = read_table(file)
    columns = find_columns(table, DataConfig())
    place_of = {path: k for k, path in enumerate(listing.paths)}
    number = {name: k for k, name in enumerate(listing.classes)}
    labels = listing.labels.copy()
    dropped: dict[int, str] = {}
    seen: dict[str, str] = {}
    for row, path in enumerate(table.columns[columns.path]):
        where, label = table.where(row), class_name(table.columns[columns.label][row])
        if path not in place_of:
            raise DataError(
                f"{where}: {path!r} is no image of {listing.source}{near_names(path, place_of)}"
            )
        if path in seen:
            raise DataError(f"{where}: {path!r} is in {seen[path]} too; correct it once")
        seen[path] = table.place(row)
        if label == DROP and DROP not in number:
            dropped[place_of[path]] = f"dropped by {printable(file.name)}, {table.place(row)}"
        elif label not in number:
            raise DataError(
                f"{where}: expected a class or {DROP!r} as label, but got {label!r}"
                f"{near_names(label, number)}"
            )
        else:
            labels[place_of[path]] = number[label]
    changed = np.flatnonzero(labels != listing.labels)
    note = _note(listing, labels, changed, len(dropped), file)
    return replace(
        listing,
        labels=labels,
        dropped=dropped,
        notes=(*listing.notes, note),
        other_sources=(*listing.other_sources, file),
    )


def without_dropped(listing: Listing) -> Listing:
    """Return a listing that refuses to load the images that corrections dropped."""
    if not listing.dropped:
        return listing
    return replace(listing, load=_refusing(listing.load, dict(listing.dropped)))


def _refusing(
    load: Callable[[int], NDArray[np.uint8]], dropped: dict[int, str]
) -> Callable[[int], NDArray[np.uint8]]:
    def load_kept(index: int) -> NDArray[np.uint8]:
        if index in dropped:
            raise UnreadableImageError(dropped[index])
        return load(index)

    return load_kept


def _note(
    listing: Listing,
    labels: NDArray[np.int64],
    changed: NDArray[np.int64],
    dropped: int,
    file: Path,
) -> str:
    moves = Counter(
        f"{listing.classes[listing.labels[k]]} → {listing.classes[labels[k]]}" for k in changed
    )
    kinds = some([f"{move} {number:,}" for move, number in moves.most_common()], 5)
    return (
        f"{printable(file.name)}: {count(len(changed), 'label')} changed"
        f"{f' ({kinds})' if kinds else ''}, {count(dropped, 'image')} dropped; `seewhy compare` "
        "sets this study beside the one before."
    )
