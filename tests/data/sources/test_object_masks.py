"""Masks in a folder beside the pictures: found by place and stem, optional, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.config import load_config
from seewhy.data.prepare import prepare_data
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.open_source import find_images
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory


def _mask(place: Path, size: tuple[int, int] = (48, 32)) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    white = np.zeros(size[::-1], dtype=np.uint8)
    white[: size[1] // 2] = 255
    Image.fromarray(white).save(place)


def _list(photos: Path) -> Listing:
    return find_images(load_config(str(photos)), Silent())


def test_masks_are_found_by_place_and_stem(photos: Path) -> None:
    _mask(photos.parent / "masks" / "cat" / "0.png")
    _mask(photos.parent / "masks" / "dog" / "3.jpg")
    listing = _list(photos)
    assert listing.load_mask is not None
    places = {path: k for k, path in enumerate(listing.paths)}
    for path in ("cat/0.jpg", "dog/3.jpg"):
        mask = listing.load_mask(places[path])
        assert mask[:16].all()
        assert not mask[16:].any()
    assert not listing.load_mask(places["cat/1.jpg"]).any()
    folder = photos.parent / "masks"
    assert listing.notes[-1] == f"2 of 16 images have an object mask in {folder}."
    assert {file.name for file in listing.other_sources} == {"0.png", "3.jpg"}


def test_a_folder_called_masks_without_any_of_these_is_none(photos: Path) -> None:
    _mask(photos.parent / "masks" / "elsewhere" / "0.png")
    listing = _list(photos)
    assert listing.load_mask is None
    assert listing.other_sources == ()


def test_a_mask_that_does_not_fit_is_listed_and_the_image_stays(photos: Path) -> None:
    _mask(photos.parent / "masks" / "cat" / "0.png")
    _mask(photos.parent / "masks" / "cat" / "1.png", (20, 40))
    run = RunDirectory(photos.parent / "run")
    data = prepare_data(load_config(str(photos)), 32, run, Silent())
    assert data.masks is not None
    assert data.masks.reshape(16, -1).mean(axis=1).tolist() == [0.5, *[0.0] * 15]
    findings = run.data.read_checks().findings
    assert findings is not None
    assert (
        "1 object mask cannot be used: cat/1.jpg: its mask 1.png has 20 × 40 pixels, the picture "
        "48 × 32."
    ) in findings.sentences
