"""Who carries a colour, a texture, a place: on images whose carriers are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.carriers import describe, stand_out

SIZE = 20


def noise(count: int, seed: int) -> NDArray[np.uint8]:
    """Draw images of noise around grey."""
    rng = np.random.default_rng(seed)
    return rng.integers(80, 170, (count, SIZE, SIZE, 3)).astype(np.uint8)


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
