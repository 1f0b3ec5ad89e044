"""The explanations of a backbone: maps.npz and index.csv per stage, and faithfulness.json.

Maps are written batch by batch; the file's header is checked before its values are read.
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
from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.npz_files import ArraySpec, growing_npz, read_npz
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.faithfulness import Faithfulness
from seewhy.storage.schemas.maps import Maps

# What maps.npz has of every image, beside its id.
_ARRAYS = {
    "maps": "float16",
    "label_maps": "float16",
    "explained": "int64",
    "scales": "float32",
    "label_scales": "float32",
    "empty": "bool",
    "label_empty": "bool",
}


class ExplanationRepository(Repository):
    """The maps of both stages, and how faithful those of fine-tuning are."""

    def _folder(self, slug: str) -> Path:
        return self.layout.backbone(slug) / "explanations"

    def maps_path(self, slug: str, stage: Stage) -> Path:
        """Return one stage's maps.npz."""
        return self._folder(slug) / stage / "maps.npz"

    def write_maps(
        self,
        slug: str,
        stage: Stage,
        parts: Iterable[Maps],
        labels: NDArray[np.int64],
        classes: Sequence[str],
    ) -> None:
        """Write one stage's maps.npz and, beside it, its index.csv, one line per image.

        `parts` has the test images' maps, batch by batch as they are computed, so that memory holds
        one batch; `labels` (N,) are of all test images.
        """
        path = self.maps_path(slug, stage)
        ids: list[str] = []
        rows: list[tuple[int, float, bool]] = []
        method, layer = "", ""
        with writing(path) as file, growing_npz(file) as columns:
            for part in parts:
                columns.append(**{name: getattr(part, name) for name in _ARRAYS})
                ids += part.ids
                method, layer = part.method, part.layer
                peaks = part.maps.reshape(len(part.ids), -1).max(axis=1) / part.scales
                rows += zip(
                    part.explained.tolist(), peaks.tolist(), part.empty.tolist(), strict=True
                )
            texts = {"ids": ids, "method": method, "layer": layer, "stage": stage}
            columns.put(**{name: np.array(text) for name, text in texts.items()})
        shown_rows = (
            (id_, classes[label], classes[shown], classes[shown], peak, empty)
            for id_, label, (shown, peak, empty) in zip(ids, labels, rows, strict=True)
        )
        header = ("id", "label", "predicted", "explained", "peak", "empty")
        write_table(path.with_name("index.csv"), CsvTable(header, shown_rows))

    def read_maps(self, slug: str, stage: Stage, ids: tuple[str, ...]) -> Maps:
        """Read one stage's maps.npz; `ids` are those of the stage's predictions, in their order.

        Raises
        ------
        RunError
            Where the file is missing, damaged, or of another study.
        """
        path = self.maps_path(slug, stage)
        try:
            return _checked(read_npz(path, _wanted(len(ids))), stage, ids)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error

    def faithfulness_path(self, slug: str) -> Path:
        """Return faithfulness.json: how faithful fine-tuning's maps are."""
        return self._folder(slug) / "faithfulness.json"

    def write_faithfulness(self, slug: str, found: Faithfulness) -> None:
        """Write faithfulness.json."""
        write_record(self.faithfulness_path(slug), found)

    def read_faithfulness(self, slug: str) -> Faithfulness | None:
        """Read faithfulness.json; None where it was not measured."""
        return record_where_there(self.faithfulness_path(slug), Faithfulness)


def _wanted(count: int) -> dict[str, ArraySpec]:
    """Return what each array of maps.npz must be, for `count` images."""
    places = (count, None, None)
    shapes = {name: places if name.endswith("maps") else (count,) for name in _ARRAYS}
    return {
        "ids": ArraySpec("str", (count,)),
        **{name: ArraySpec(dtype, shapes[name]) for name, dtype in _ARRAYS.items()},
        **{name: ArraySpec("str") for name in ("method", "layer", "stage")},
    }


def _checked(found: dict[str, Any], stage: Stage, ids: tuple[str, ...]) -> Maps:
    """Return the arrays of maps.npz as maps; a ValueError where they do not fit each other."""
    if tuple(found.pop("ids").tolist()) != ids or str(found.pop("stage")) != stage:
        raise ValueError("its ids or its stage are not those of predictions.csv")
    if found["maps"].shape != found["label_maps"].shape:
        raise ValueError("maps and label_maps have different shapes")
    if not all(bool((found[name] >= 0).all()) for name in ("maps", "label_maps")):
        raise ValueError("a map is negative or not a number")
    method, layer = str(found.pop("method")), str(found.pop("layer"))
    return Maps(ids=ids, method=method, layer=layer, stage=stage, **found)
