"""Kept pixels, and the input made of them."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from seewhy.data import pixels as module
from seewhy.data.decoding.fit import Fit
from seewhy.data.pixel_augmentation import augment
from seewhy.data.pixels import keep_masks, keep_pixels, mask_notes, to_input
from seewhy.data.sources.listing import Listing
from seewhy.errors import RunError, UnreadableImageError
from seewhy.runtime.progress import Advance, Silent
from seewhy.storage.schemas.dataset import Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(index: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8)


def listing(count: int, bad: tuple[int, ...] = (), side: int = 8) -> Listing:
    def load(index: int) -> np.ndarray:
        if index in bad:
            raise UnreadableImageError(f"number {index} is bad")
        return picture(index, side)

    return Listing(
        source="here",
        classes=("a", "b"),
        paths=tuple(f"p{i}" for i in range(count)),
        labels=np.arange(count) % 2,
        splits=(None,) * count,
        load=load,
    )


class Counting(Silent):
    """Notes how far a task came."""

    total = done = 0

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        self.total = total

        def advance(steps: int) -> None:
            self.done += steps

        yield advance


def test_images_are_kept_in_order_and_bad_ones_set_aside(tmp_path: Path) -> None:
    bad, progress = (0, 17, 99), Counting()
    kept = keep_pixels(listing(100, bad), Fit(8), tmp_path / "new" / "pixels.npy", progress)
    good = [i for i in range(100) if i not in bad]
    assert kept.indices.tolist() == good
    assert isinstance(kept.pixels, np.memmap)
    assert kept.pixels.dtype == np.uint8
    assert (kept.pixels == np.stack([picture(i) for i in good])).all()
    assert [(a.path, a.reason) for a in kept.set_aside] == [
        (f"p{i}", f"number {i} is bad") for i in bad
    ]
    assert (progress.total, progress.done) == (100, 100)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pixels.npy"]
    assert (np.load(tmp_path / "new" / "pixels.npy", allow_pickle=False) == kept.pixels).all()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17])
def test_any_number_of_images(tmp_path: Path, count: int) -> None:
    kept = keep_pixels(listing(count), Fit(8), tmp_path / "pixels.npy", Silent())
    assert kept.pixels.shape == (count, 8, 8, 3)


def test_all_images_bad(tmp_path: Path) -> None:
    kept = keep_pixels(listing(3, (0, 1, 2)), Fit(8), tmp_path / "pixels.npy", Silent())
    assert kept.pixels.shape == (0, 8, 8, 3)
    assert len(kept.set_aside) == 3


def test_images_are_brought_to_the_working_size(tmp_path: Path) -> None:
    kept = keep_pixels(listing(2, side=12), Fit(6), tmp_path / "pixels.npy", Silent())
    expected = Image.fromarray(picture(1, 12)).resize((6, 6), Image.Resampling.BICUBIC)
    assert (kept.pixels[1] == np.asarray(expected)).all()


def _masked(load_mask: Callable[[int], np.ndarray]) -> Listing:
    names = tuple(map(str, range(8)))
    labels = np.zeros(8, np.int64)
    return Listing("drawn", ("x",), names, labels, (None,) * 8, load_mask, load_mask)


def test_masks_follow_the_kept_images(tmp_path: Path) -> None:
    def load_mask(index: int) -> np.ndarray:
        mask = np.zeros((8, 8), bool)
        mask[index % 8] = True
        return mask

    kept = keep_masks(_masked(load_mask), np.array([1, 5]), Fit(8), tmp_path / "masks.npy")
    assert kept.refused == {}
    assert kept.masks.dtype == bool
    assert isinstance(kept.masks, np.memmap)
    assert (kept.masks == np.stack([load_mask(1), load_mask(5)])).all()
    assert mask_notes(kept) == ["2 of 2 images have an object mask."]


def test_a_mask_that_cannot_be_used_is_empty_and_named(tmp_path: Path) -> None:
    def load_mask(index: int) -> np.ndarray:
        if index == 5:
            raise UnreadableImageError("its mask is damaged")
        return np.ones((16, 16), bool)

    kept = keep_masks(_masked(load_mask), np.array([1, 5, 7]), Fit(8), tmp_path / "masks.npy")
    assert kept.masks.mean(axis=(1, 2)).tolist() == [1, 0, 1]
    assert kept.refused == {1: "its mask is damaged"}
    assert (kept.blank, kept.lost, kept.scaled) == ((), (), ())


def test_masks_that_mark_nothing_are_counted_apart(tmp_path: Path) -> None:
    beside = np.zeros((8, 16), bool)
    beside[:, :3] = True  # outside the square in the middle
    given = [np.zeros((1, 1), bool), np.zeros((8, 8), bool), beside, np.ones((8, 8), bool)]
    kept = keep_masks(_masked(given.__getitem__), np.arange(4), Fit(8), tmp_path / "masks.npy")
    assert kept.masks.any(axis=(1, 2)).tolist() == [False, False, False, True]
    assert (kept.blank, kept.lost) == ((1,), (2,))
    assert mask_notes(kept) == [
        "1 of 4 images have an object mask; 1 mask marks nothing; 1 mask marks nothing that is "
        "left of the picture at the size in use."
    ]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, stream: object) -> None:
            self.stream = stream

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    write_header = module.write_header
    monkeypatch.setattr(
        module, "write_header", lambda stream, *rest: write_header(Full(stream), *rest)
    )
    with pytest.raises(RunError, match="no space left on the disk; free some"):
        keep_pixels(listing(100), Fit(8), tmp_path / "pixels.npy", Silent())
    assert list(tmp_path.iterdir()) == []


def test_another_error_ends_the_work_and_leaves_nothing(tmp_path: Path) -> None:
    def load(index: int) -> np.ndarray:
        raise KeyError(index)

    broken = listing(500)
    object.__setattr__(broken, "load", load)
    with pytest.raises(KeyError):
        keep_pixels(broken, Fit(8), tmp_path / "pixels.npy", Silent())
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_little_is_decoded_ahead() -> None:
    seen: list[int] = []
    results = module.in_threads(seen.append, 50_000)
    next(results)
    time.sleep(0.1)  # Long enough for all of them, were they under way.
    ahead = len(seen)
    assert len(list(results)) == 49_999
    assert sorted(seen) == list(range(50_000))
    assert ahead <= (2 * 16 + 2) * module.CHUNK


def batch(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.stack([picture(i, side) for i in range(count)]))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "size"), [(32, 96), (64, 40), (32, 32)])
def test_input_is_what_torchvision_makes(interpolation: str, side: int, size: int) -> None:
    preprocess = Preprocess(size, MEAN, STD, interpolation)  # type: ignore[arg-type]
    found = to_input(batch(side=side), preprocess, "cpu")
    images = TF.to_dtype(batch(side=side).permute(0, 3, 1, 2), torch.float32, scale=True)
    mode = v2.InterpolationMode(interpolation)
    expected = TF.normalize(
        TF.resize(images, [size, size], interpolation=mode, antialias=True).clamp(0, 1), MEAN, STD
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert found.shape == (4, 3, size, size)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "size"), [(32, 96), (96, 40)])
def test_input_is_near_what_pillow_makes(interpolation: str, side: int, size: int) -> None:
    plain = Preprocess(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation)  # type: ignore[arg-type]
    # Less contrast: Pillow clips a bicubic overshoot already between its two passes.
    pixels = batch(side=side) // 2 + 64
    found = to_input(pixels, plain, "cpu").permute(0, 2, 3, 1).numpy() * 255
    filter_ = Image.Resampling[interpolation.upper()]
    expected = [
        np.asarray(Image.fromarray(p.numpy()).resize((size, size), filter_)) for p in pixels
    ]
    # It also rounds to whole values after each.
    assert np.abs(found - np.stack(expected)).max() <= 1.5


def test_normalisation_by_hand() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 8, 8, 3)
    found = to_input(pixels, Preprocess(8, (0.5, 0.1, 0.0), (0.5, 0.2, 2.0), "bilinear"), "cpu")
    assert found[0, :, 3, 3].tolist() == pytest.approx([-1.0, 0.5, 0.5])


def test_bicubic_overshoot_is_clamped() -> None:
    edge = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    edge[:, :, 4:] = 255
    plain = Preprocess(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic")
    found = to_input(edge, plain, "cpu")
    assert (found.min().item(), found.max().item()) == (0.0, 1.0)


def test_kept_pixels_are_not_changed() -> None:
    pixels = batch()
    to_input(pixels, Preprocess(32, MEAN, STD, "bilinear"), "cpu", ("erase",), torch.Generator())
    assert (pixels == batch()).all()


def test_augmentation_comes_before_the_resizing() -> None:
    plain = Preprocess(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
    found = to_input(batch(), plain, "cpu", ("crop", "flip"), torch.Generator().manual_seed(5))
    images = batch().permute(0, 3, 1, 2).float() / 255
    changed = augment(images, ("crop", "flip"), torch.Generator().manual_seed(5))
    expected = TF.resize(changed, [64, 64], antialias=True)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="expected a generator"):
        to_input(batch(), plain, "cpu", ("flip",))
