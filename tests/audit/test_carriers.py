"""Who carries a colour, a texture, a place: on images whose carriers are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.carriers import describe, stand_out
from seewhy.data.decoding.fit import PADDING
from seewhy.storage.schemas.audit import AuditKind

SIZE = 20


def noise(count: int, seed: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Draw images of noise around grey."""
    rng = np.random.default_rng(seed)
    return rng.integers(80, 170, (count, size, size, 3)).astype(np.uint8)


def test_colours_are_means_and_deviations() -> None:
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    image[0, : SIZE // 2, :, 0] = 200
    assert describe(image, "colour")[0] == pytest.approx([100, 0, 0, 100, 0, 0])


def test_a_place_is_averages_of_its_parts() -> None:
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    image[0, 10:12, 10:12] = (10, 20, 30)
    # Ten pixels a side in five parts: the upper left part is what was painted.
    found = describe(image, "place", (0.5, 0.5, 1.0, 1.0))
    assert found.shape == (1, 75)
    assert found[0, :3] == pytest.approx([10, 20, 30])
    assert found[0, 3:].max() == 0


def test_a_small_place_has_as_many_parts_as_pixels() -> None:
    assert describe(noise(1, 0), "place", (0.0, 0.0, 0.1, 0.15)).shape == (1, 2 * 3 * 3)


def test_texture_is_seen_around_the_middle_alone() -> None:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    checks = np.where((rows + columns) % 2, 200, 50).astype(np.uint8)
    inside, outside = np.full((2, SIZE, SIZE, 3), 125, np.uint8)
    middle = slice(SIZE // 2 - 3, SIZE // 2 + 3)
    inside[middle, middle] = checks[middle, middle, None]
    outside[:] = checks[..., None]
    outside[middle, middle] = 125
    found = describe(np.stack([inside, outside]), "texture")
    # Checks of ±75, blurred away almost wholly: mean size and deviation are nearly that.
    assert found[1] == pytest.approx([75] * 6, abs=8)
    assert found[0].max() < 8


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_images_under_a_tint_stand_out_and_no_others_of_the_class(share: float) -> None:
    pixels = noise(300, 1)
    of_class = np.arange(300) < 100
    tinted = np.arange(300) < 100 * share
    pixels[tinted] = (pixels[tinted] * (1.2, 1.0, 0.6)).astype(np.uint8)
    found = stand_out(describe(pixels, "colour"), of_class)
    assert found[tinted].all()
    # A tenth of what is not tinted is beyond nine tenths of the others.
    assert found[~of_class].mean() == pytest.approx(0.1, abs=0.01)
    assert found[of_class & ~tinted].sum() <= 0.3 * (of_class & ~tinted).sum()


def test_images_without_anything_to_see_are_no_error() -> None:
    flat = np.full((30, SIZE, SIZE, 3), 9, np.uint8)
    assert not stand_out(describe(flat, "colour"), np.arange(30) < 10).any()


def padded(image: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Cut the upper left part of an image out and pad it to the image's size."""
    whole = np.empty_like(image)
    whole[:] = PADDING
    top, left = (len(image) - rows) // 2, (len(image) - columns) // 2
    whole[top : top + rows, left : left + columns] = image[:rows, :columns]
    return whole


@pytest.mark.parametrize("kind", ["colour", "texture"])
def test_other_proportions_do_not_stand_out(kind: AuditKind) -> None:
    """The classes differ in nothing but their padding."""
    pixels = noise(200, 2, 64)
    of_class = np.arange(200) < 100
    pixels = np.stack(
        [padded(one, 32 if own else 48, 64) for one, own in zip(pixels, of_class, strict=True)]
    )
    found = stand_out(describe(pixels, kind), of_class)
    assert found[of_class].mean() < 0.5


@pytest.mark.parametrize("kind", ["colour", "texture"])
def test_images_without_padding_are_described_as_they_were(kind: AuditKind) -> None:
    pixels = noise(9, 3)
    alone = describe(pixels, kind)
    some = pixels.copy()
    some[4] = padded(pixels[4], 8, SIZE)
    beside = describe(some, kind)
    assert (np.delete(beside, 4, axis=0) == np.delete(alone, 4, axis=0)).all()
    # A picture's description is that of its pixels, whatever the padding is.
    if kind == "colour":
        part = pixels[4, :8].astype(np.float32)
        due = [*part.mean(axis=(0, 1)), *part.std(axis=(0, 1))]
        assert beside[4] == pytest.approx(due, rel=1e-5)


def test_the_texture_of_a_few_pixels_is_a_number() -> None:
    image = np.empty((1, SIZE, SIZE, 3), np.uint8)
    image[:] = PADDING
    image[0, 5, 5] = 0
    assert np.isfinite(describe(image, "texture")).all()
