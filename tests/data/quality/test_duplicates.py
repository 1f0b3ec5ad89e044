"""Planted copies are found, other pictures are not, and no set takes for ever."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from seewhy.data.quality import duplicates as module
from seewhy.data.quality.duplicates import Duplicates, find_duplicates
from seewhy.data.quality.measurements import measure_images
from seewhy.data.sources.demo.demo import draw_demo
from seewhy.runtime.progress import Silent

Change = Callable[[Image.Image], Image.Image]


def find(pixels: np.ndarray, threshold: float = 0.75) -> Duplicates:
    measured = measure_images(pixels, Silent())
    return find_duplicates(measured.digests, measured.thumbs, threshold)


def jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return Image.open(stream).convert("RGB")


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Two pictures of each of the demo's classes and splits, 32 in all."""
    listing = draw_demo(10, 4, 96, 0)
    return np.stack([listing.load(i) for i in range(0, len(listing.paths), 3)])


def test_different_pictures_of_one_kind_are_no_duplicates(drawn: np.ndarray) -> None:
    found = find(drawn)
    assert found.groups.tolist() == [-1] * len(drawn)
    assert found.similarity.shape == (0,)


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda image: image.resize((64, 64)).resize((96, 96)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: image.convert("L").convert("RGB"),
        lambda image: image.transform((96, 96), Image.Transform.AFFINE, (1, 0, 1, 0, 1, 0)),
        lambda image: image.crop((1, 1, 94, 94)).resize((96, 96)),
    ],
    ids=["recompressed", "resized", "darker", "grey", "shifted", "cropped"],
)
def test_changed_copies_are_found(drawn: np.ndarray, change: Change) -> None:
    chosen = [0, 9, 20, 31]
    copies = [np.asarray(change(Image.fromarray(drawn[i]))) for i in chosen]
    found = find(np.concatenate([drawn, np.stack(copies)]))
    expected = np.full(len(drawn) + 4, -1)
    expected[chosen] = expected[len(drawn) :] = range(4)
    assert found.groups.tolist() == expected.tolist()
    assert (found.similarity >= 0.75).all()
    assert (found.similarity < 1).all()


def test_exact_copies_alone_at_a_threshold_of_one(drawn: np.ndarray) -> None:
    pixels = np.concatenate([drawn[:6], drawn[[4, 2, 4]], drawn[:1]])
    pixels[-1, 0, 0, 0] ^= 1
    found = find(pixels, threshold=1)
    assert found.groups.tolist() == [-1, -1, 0, -1, 1, -1, 1, 0, 1, -1]
    assert found.similarity.tolist() == [1, 1]
    # With near ones the changed copy of the first comes along.
    found = find(pixels)
    assert found.groups.tolist() == [0, -1, 1, -1, 2, -1, 2, 1, 2, 0]
    assert found.similarity[0] == pytest.approx(1, abs=1e-4)


def test_a_group_is_what_pairs_hold_together() -> None:
    pairs = np.array([[0, 1], [1, 2], [4, 5]])
    found = module._grouped(pairs, np.array([0.8, 0.9, 1.0]), 6)
    assert found.groups.tolist() == [0, 0, 0, -1, 1, 1]
    assert found.similarity.tolist() == [0.8, 1]


def test_the_similarity_is_the_correlation_at_the_best_shift(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HOPEFUL", -1)  # noise is unlike itself a place further
    rng = np.random.default_rng(0)
    wide = rng.normal(0, 20, (34, 34)).astype(np.float32)
    detail = np.stack([wide[1:33, 1:33], wide[0:32, 1:33], wide[0:32, 2:34]])
    found = module._similarity(detail, np.array([[0, 1], [0, 2], [1, 2]]), 2.0)
    assert found == pytest.approx([1, 1, 1], abs=1e-5)
    middle = wide[2:32, 2:32].ravel(), rng.normal(0, 20, 900).astype(np.float32)
    ours = float(
        module._standardised(middle[0][None])[0] @ module._standardised(middle[1][None])[0]
    )
    assert ours == pytest.approx(np.corrcoef(*middle)[0, 1], abs=1e-5)


def test_more_alike_than_are_compared_at_once_make_one_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two tight bunches: the few most alike of most images are all within their own.
    monkeypatch.setattr(module, "MOST", 3)
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (32, 32, 1)).repeat(3, axis=2)
    second = np.clip(first + rng.integers(-40, 41, (32, 32, 1)), 0, 255)
    pixels = np.stack([first] * 20 + [second] * 20)
    pixels = np.clip(pixels + rng.integers(-2, 3, pixels.shape), 0, 255).astype(np.uint8)
    assert find(pixels).groups.tolist() == [0] * 40


def test_images_that_are_all_equal_or_all_flat() -> None:
    rng = np.random.default_rng(0)
    flat = (100 + rng.integers(-2, 3, (300, 32, 32, 3))).astype(np.uint8)
    assert find(flat).groups.max() == -1
    # What two plain images share is the trace of their compression.
    faint = np.kron(rng.integers(0, 2, (8, 8, 1)), np.ones((4, 4, 3), dtype=int))
    assert find(np.stack([90 + faint, 120 + faint]).astype(np.uint8)).groups.tolist() == [-1, -1]
    assert find(np.zeros((3000, 32, 32, 3), dtype=np.uint8)).groups.tolist() == [0] * 3000
    assert find(flat[:1]).groups.tolist() == [-1]
    assert find(flat[:0]).groups.tolist() == []
