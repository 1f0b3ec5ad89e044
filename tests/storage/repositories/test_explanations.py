"""Maps come back to the last bit; what is no file of maps is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from seewhy.errors import RunError
from seewhy.storage.layout import Layout
from seewhy.storage.repositories.explanations import ExplanationRepository
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.maps import Maps

CLASSES = ('a,"b"', "label\nof two\rlines", "<b>ß</b>")


def _parts(maps: Maps) -> Iterator[Maps]:
    """Hand maps on image by image, as batches come."""
    for k in range(len(maps.ids)):
        rows = {
            field.name: getattr(maps, field.name)[k : k + 1]
            for field in fields(Maps)
            if not isinstance(getattr(maps, field.name), str)
        }
        yield replace(maps, **rows)


def _written(root: Path, maps: Maps) -> ExplanationRepository:
    stored = ExplanationRepository(Layout(root))
    stored.write_maps("net", maps.stage, _parts(maps), np.array([0, 1]), CLASSES)
    return stored


@pytest.mark.parametrize("stage", STAGES)
def test_maps_come_back_to_the_last_bit(
    tmp_path: Path, two_maps: Callable[[Stage], Maps], stage: Stage
) -> None:
    maps = two_maps(stage)
    back = _written(tmp_path, maps).read_maps("net", stage, maps.ids)
    for field in fields(Maps):
        ours, theirs = getattr(maps, field.name), getattr(back, field.name)
        np.testing.assert_array_equal(ours, theirs, field.name)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype


def test_maps_of_another_shape_type_or_study_are_named(
    tmp_path: Path, two_maps: Callable[[Stage], Maps]
) -> None:
    maps = two_maps("adaptation")
    stored = _written(tmp_path, maps)
    path = stored.maps_path("net", maps.stage)
    with np.load(path) as arrays:
        good = dict(arrays)
    bad: dict[str, dict[str, object]] = {
        r"maps: expected float16 \(2, any, any\), but got float32": {
            "maps": good["maps"].astype(np.float32)
        },
        r"maps: expected float16 \(2, any, any\), but got float16 \(3, 1, 2\)": {
            "maps": np.zeros((3, 1, 2), np.float16)
        },
        r"label_maps: expected float16 \(2, any, any\), but got float16 \(2, 1, 4097\)": {
            "label_maps": np.zeros((2, 1, 4097), np.float16)
        },
        "maps and label_maps have different shapes": {"maps": np.zeros((2, 2, 2), np.float16)},
        "a map is negative or not a number": {"maps": np.full((2, 1, 2), -1, np.float16)},
        "empty: expected bool": {"empty": np.zeros(2)},
        r"ids: expected str \(2\), but got object": {"ids": np.array([{}, {}], dtype=object)},
        "its ids or its stage are not those": {"ids": np.array(["d", "e"])},
        "its ids or its stage": {"stage": np.array("finetuning")},
    }
    for message, changed in bad.items():
        np.savez(path, **{**good, **changed})
        with pytest.raises(RunError, match=rf"maps\.npz: cannot be read \({message}"):
            stored.read_maps("net", "adaptation", maps.ids)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(RunError, match=r"maps\.npz: cannot be read"):
        stored.read_maps("net", "adaptation", maps.ids)


def test_missing_maps_are_named(tmp_path: Path, two_maps: Callable[[Stage], Maps]) -> None:
    maps = two_maps("finetuning")
    stored = _written(tmp_path, maps)
    stored.maps_path("net", maps.stage).unlink()
    with pytest.raises(RunError, match=r"maps\.npz: cannot be read"):
        stored.read_maps("net", "finetuning", maps.ids)
