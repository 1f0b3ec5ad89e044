"""What the page's script draws the test images from: packed small, whole, and nothing but text."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.explanation.overlay import normalised
from seewhy.report.figures.photographs import PictureStore
from seewhy.report.sections import images
from seewhy.report.sections.images import embedded, images_payload, quantised
from seewhy.report.sections.section import ReportInput
from seewhy.storage.schemas.provenance import Provenance


def _study(made: tuple) -> ReportInput:
    run, summary = made
    records = {slug: run.backbones.read(slug, summary.data.classes) for slug in summary.backbones}
    provenance: Provenance | None = None
    return ReportInput(run, summary, run.data.read(), records, provenance, "")


def _two_bytes(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<u2")


def test_answers_maps_and_photographs_come_back(make_run: Callable) -> None:
    study = _study(make_run())
    store = PictureStore(study.data)
    kept = store.photo(10)
    payload = images_payload(study, store)
    assert payload["ids"] == [f"id{k:03d}" for k in range(9, 17)]
    assert payload["labels"] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert payload["photos"].count(kept) == 1
    # Net A after fine-tuning: a dog (its place is 5) taken for a cat with 0.95.
    answers = payload["answers"][0][1]
    assert _two_bytes(answers["classes"]).reshape(8, 3)[5].tolist() == [0, 1, 2]
    chances = _two_bytes(answers["chances"]).reshape(8, 3) / 65535
    np.testing.assert_allclose(chances[5], [0.95, 0.025, 0.025], atol=1e-5)
    np.testing.assert_allclose(_two_bytes(answers["own"])[5] / 65535, 0.025, atol=1e-5)
    maps = payload["maps"][0][1]
    assert (maps["height"], maps["width"], maps["wrong"]) == (3, 3, [3, 5])
    predicted = np.frombuffer(base64.b64decode(maps["predicted"]), np.uint8).reshape(8, 3, 3)
    labelled = np.frombuffer(base64.b64decode(maps["labelled"]), np.uint8).reshape(2, 3, 3)
    assert predicted[5].ravel().tolist() == [255] + [64] * 8
    assert labelled[1].ravel().tolist() == [64] * 8 + [255]
    assert not predicted[1].any()


def test_of_too_many_images_the_wrong_ones_stay(
    make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MOST_IMAGES", 5)
    payload = images_payload(study := _study(make_run()), PictureStore(study.data))
    # Wrong by either: 1, 3, 5 and 6 of the eight; one of the others.
    assert len(payload["ids"]) == 5
    assert {"id010", "id012", "id014", "id015"} < set(payload["ids"])
    assert payload["of"] == 8


def test_photographs_become_smaller_until_they_fit(
    make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(make_run(side=192))

    def total() -> int:
        photos = images_payload(study, PictureStore(study.data))["photos"]
        return sum(len(base64.b64decode(photo)) for photo in photos)

    large = total()
    maps = images.MAP_BYTES * 4 // 3
    monkeypatch.setattr(images, "PICTURE_LETTERS", maps + large * 4 // 9)
    assert 0 < total() <= large // 3


@given(st.lists(st.floats(0, 60000, width=16), min_size=12, max_size=12))
def test_maps_of_one_byte_are_the_maps(values: list[float]) -> None:
    maps = np.array(values, dtype=np.float16).reshape(1, 3, 4)
    found = quantised(maps, 12)[0] / 255
    assert np.abs(found - normalised(maps[0])).max() <= 0.5 / 255 + 1e-6


def test_large_maps_are_halved_by_their_means() -> None:
    maps = np.zeros((1, 4, 4), dtype=np.float16)
    maps[0, :2, :2] = [[1, 2], [3, 2]]
    maps[0, 3, 3] = 4
    assert quantised(maps, 4)[0].tolist() == [[255, 0], [0, 128]]
    # An odd side: the last row and column stand in for what is missing.
    assert quantised(np.ones((1, 3, 3), np.float16), 8)[0].tolist() == [[255, 255], [255, 255]]
    nothing = np.full((1, 2, 2), np.nan, dtype=np.float16)
    assert not quantised(nothing, 9).any()


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!--", "a & b", "\u2028", "猫", "\udcff", '"']
)
def test_no_name_ends_the_element(name: str) -> None:
    text = str(embedded({"classes": [name]}))
    assert not [sign for sign in "<>&\u2028\u2029" if sign in text]
    found: Any = json.loads(text)["classes"][0]
    assert found == (name if name != "\udcff" else "?")
