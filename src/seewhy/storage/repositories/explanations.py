"""One stage's maps: maps.npz, and index.csv beside it, a line an image.

Maps stream to the disk batch by batch; what the file says of itself is checked before it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.csv_files import CsvTable, write_table
from seewhy.storage.npz_files import ArraySpec, growing_npz, read_npz
from seewhy.storage.schemas.study import Maps, Stage

# What maps.npz has of every image, beside its id.
_ARRAYS = (
    "maps",
    "label_maps",
    "explained",
    "scales",
    "label_scales",
    "empty",
    "label_empty",
)


def write(
    path: Path,
    stage: Stage,
    parts: Iterable[Maps],
    labels: NDArray[np.int64],
    classes: Sequence[str],
) -> None:
    """Write one stage's maps.npz and, beside it, its index.csv.

    Parameters
    ----------
    path : Path
        Of maps.npz.
    stage : {"adaptation", "finetuning"}
    parts : iterable of Maps
        The test images' maps, batch by batch as they come about; memory holds one batch.
    labels : ndarray of int64, (N,)
        Of all images.
    classes : sequence of str
    """
    ids: list[str] = []
    rows: list[tuple[int, float, bool]] = []
    method, layer = "", ""
    with writing(path) as file, growing_npz(file) as columns:
        for part in parts:
            columns.append(**{name: getattr(part, name) for name in _ARRAYS})
            ids += part.ids
            method, layer = part.method, part.layer
            peaks = part.maps.reshape(len(part.ids), -1).max(axis=1) / part.scales
            rows += zip(part.explained.tolist(), peaks.tolist(), part.empty.tolist(), strict=True)
        texts = {"ids": ids, "method": method, "layer": layer, "stage": stage}
        columns.put(**{name: np.array(text) for name, text in texts.items()})
    shown_rows = (
        (id_, classes[label], classes[shown], classes[shown], peak, empty)
        for id_, label, (shown, peak, empty) in zip(ids, labels, rows, strict=True)
    )
    header = ("id", "label", "predicted", "explained", "peak", "empty")
    write_table(path.with_name("index.csv"), CsvTable(header, shown_rows))


def read(path: Path, stage: Stage, ids: tuple[str, ...]) -> Maps:
    """Read maps.npz; what it says of itself is checked before its arrays are read.

    Parameters
    ----------
    path : Path
    stage : {"adaptation", "finetuning"}
    ids : tuple of str
        Of that stage's predictions; the maps must have the same ones in the same order.

    Raises
    ------
    RunError
        Where the file is missing, damaged, of another study or of an older version.
    """
    count = len(ids)
    places = (count, None, None)
    wanted = {
        "ids": ArraySpec("str", (count,)),
        "maps": ArraySpec("float16", places),
        "label_maps": ArraySpec("float16", places),
        "explained": ArraySpec("int64", (count,)),
        "scales": ArraySpec("float32", (count,)),
        "label_scales": ArraySpec("float32", (count,)),
        "empty": ArraySpec("bool", (count,)),
        "label_empty": ArraySpec("bool", (count,)),
        "method": ArraySpec("str"),
        "layer": ArraySpec("str"),
        "stage": ArraySpec("str"),
    }
    try:
        found: dict[str, Any] = read_npz(path, wanted)
        if tuple(found.pop("ids").tolist()) != ids or str(found.pop("stage")) != stage:
            raise ValueError("its ids or its stage are not those of predictions.csv")
        if found["maps"].shape != found["label_maps"].shape:
            raise ValueError("maps and label_maps have different shapes")
        if not all(bool((found[name] >= 0).all()) for name in ("maps", "label_maps")):
            raise ValueError("a map is negative or not a number")
        method, layer = str(found.pop("method")), str(found.pop("layer"))
        return Maps(ids=ids, method=method, layer=layer, stage=stage, **found)
    except (FileNotFoundError, KeyError) as error:
        missing = f"has no {error.args[0]}" if isinstance(error, KeyError) else "is not there"
        raise RunError(
            f"{path}: {missing}; an older seewhy wrote this study, run it again with --fresh"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
