"""Masks in a folder beside the pictures: found by place and stem, optional, one by one."""

from __future__ import annotations

from collections.abc import Callable
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
    assert listing.notes[-1] == f"2 object masks found in {folder}."
    assert {file.name for file in listing.other_sources} == {"0.png", "3.jpg"}


def test_a_folder_called_masks_without_any_of_these_is_none(photos: Path) -> None:
    _mask(photos.parent / "masks" / "elsewhere" / "0.png")
    listing = _list(photos)
    assert listing.load_mask is None
    assert listing.other_sources == ()


def test_each_kind_of_bad_mask_is_listed_and_the_study_goes_on(photos: Path) -> None:
    folder = photos.parent / "masks" / "cat"
    _mask(folder / "0.png")
    _mask(folder / "1.png", (20, 40))
    _mask(folder / "2.png", (480, 320))
    _mask(folder / "3.png", (24, 16))
    _mask(photos.parent / "masks" / "dog" / "0.png")
    Image.new("L", (48, 32)).save(folder / "4.png")
    (folder / "5.png").write_text("no picture at all")
    noise = np.random.default_rng(0).integers(0, 256, (32, 48), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "6.png")
    whole = (folder / "6.png").read_bytes()
    (folder / "6.png").write_bytes(whole[: len(whole) // 2])
    run = RunDirectory(photos.parent / "run")
    data = prepare_data(load_config(str(photos)), 32, run, Silent())
    assert data.masks is not None
    # Whole, wrong proportions, ten times the size, half the size, blank, text, cut off, none.
    usable = [0.5, 0, 0.5, 0.5, 0, 0, 0, 0]
    assert data.masks.reshape(16, -1).mean(axis=1).tolist() == [*usable, 0.5, *[0.0] * 7]
    assert len(data.ids) == 16
    findings = run.data.read_checks().findings
    assert findings is not None
    (sentence,) = [one for one in findings.sentences if "object mask" in one]
    assert sentence.startswith(
        "3 object masks cannot be used: cat/1.jpg: its mask 1.png has 20 × 40 pixels, the picture "
        "48 × 32, cat/5.jpg: its mask 5.png cannot be read ("
    )
    assert "cat/6.jpg: its mask 6.png cannot be read (" in sentence
    assert (
        "4 of 16 images have an object mask; 2 masks have another size than their pictures and are "
        "scaled; 1 mask marks nothing."
    ) in findings.notes


def test_the_command_lists_masks_that_cannot_be_used(photos: Path, seewhy: Callable) -> None:
    _mask(photos.parent / "masks" / "cat" / "0.png")
    _mask(photos.parent / "masks" / "cat" / "1.png", (20, 40))
    done = seewhy("check", photos, cwd=photos.parent)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert "1 of 16 images have an object mask." in said
    assert "1 object mask cannot be used: cat/1.jpg: its mask 1.png has 20 × 40 pixels" in said
