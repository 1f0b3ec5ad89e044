"""Pictures and masks brought to an input's size, and places mapped there and back, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seewhy.config import Resize
from seewhy.data.decoding.fit import PADDING, Fit, Placement, filled_box, filled_shares

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
MODES: tuple[Resize, ...] = ("crop", "pad", "squash")
sizes = st.one_of(st.integers(32, 96), st.tuples(st.integers(32, 96), st.integers(32, 96)))


def halves(height: int, width: int) -> np.ndarray:
    """Red on the left and blue on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, BLUE
    return image


def test_square_of_a_wide_picture_is_its_middle() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = RED  # exactly the middle square
    image[:, 40:] = BLUE
    found = Fit(10).picture(image)
    assert (found[:, 2:8] == RED).all()
    assert (Fit(10).picture(image.transpose(1, 0, 2)) == found.transpose(1, 0, 2)).all()


def test_square_is_resize_then_crop() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 100, 3), dtype=np.uint8)
    whole = Image.fromarray(image).resize((50, 20), Image.Resampling.BICUBIC)
    assert Fit(20).picture(image).tolist() == np.asarray(whole)[:, 15:35].tolist()


def test_square_of_its_own_size_is_untouched_and_an_odd_one_not_blurred() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 33, 3), dtype=np.uint8)
    assert (Fit(32).picture(image) == image[:, :32]).all()
    assert (Fit(32).picture(image[:, :32]) == image[:, :32]).all()


def test_downscaling_is_antialiased() -> None:
    # A board of single pixels has to become its mean; taking every eighth pixel would keep black.
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = Fit(8).picture(np.repeat(board[:, :, None], 3, axis=2))
    assert np.abs(found.astype(int) - 127.5).max() < 2


def test_small_pictures_are_enlarged() -> None:
    assert (Fit(12).picture(np.full((3, 5, 3), 9, np.uint8)) == 9).all()
    assert Fit(12).picture(np.full((3, 5, 3), 9, np.uint8)).shape == (12, 12, 3)


def test_a_mask_follows_its_image() -> None:
    mask = np.zeros((20, 60), bool)
    mask[4:14, 24:34] = True
    found = Fit(10).mask(mask)
    expected = np.zeros((10, 10), bool)
    expected[2:7, 2:7] = True  # 4 / 2 … 14 / 2, (24 - 20) / 2 … (34 - 20) / 2
    assert found.dtype == bool
    assert (found == expected).all()
    assert (Fit(20).mask(mask[:, 20:40]) == mask[:, 20:40]).all()


@pytest.mark.parametrize(
    ("mode", "size", "shape", "kept", "filled"),
    [
        ("crop", 50, (100, 200), (50, 0, 150, 100), (0, 0, 50, 50)),
        ("crop", 50, (200, 100), (0, 50, 100, 150), (0, 0, 50, 50)),
        # Twice as wide as high: all of the first, the middle 50 rows of the second.
        ("crop", (30, 60), (100, 200), (0, 0, 200, 100), (0, 0, 60, 30)),
        ("crop", (30, 60), (200, 100), (0, 75, 100, 125), (0, 0, 60, 30)),
        ("pad", 50, (100, 200), (0, 0, 200, 100), (0, 12, 50, 37)),
        ("pad", (30, 60), (100, 200), (0, 0, 200, 100), (0, 0, 60, 30)),
        # 30 rows high, so 15 wide, in the middle of 60.
        ("pad", (30, 60), (200, 100), (0, 0, 100, 200), (22, 0, 37, 30)),
        ("squash", 50, (100, 200), (0, 0, 200, 100), (0, 0, 50, 50)),
        ("squash", (30, 60), (200, 100), (0, 0, 100, 200), (0, 0, 60, 30)),
    ],
)
def test_which_part_of_a_picture_fills_which_part_of_the_input(
    mode: Resize, size: int, shape: tuple[int, int], kept: tuple, filled: tuple
) -> None:
    assert Fit(size, mode).place(shape) == Placement(kept, filled)


def test_the_whole_picture_is_there_with_padding_around_it() -> None:
    found = Fit(40, "pad").picture(halves(80, 160))
    assert found.shape == (40, 40, 3)
    assert (found[:10] == PADDING).all() and (found[30:] == PADDING).all()
    assert (found[10:30, :18] == RED).all() and (found[10:30, 22:] == BLUE).all()
    tall = Fit(40, "pad").picture(halves(160, 80))
    assert (tall[:, :10] == PADDING).all() and (tall[:, 30:] == PADDING).all()
    assert (tall[:, 10:18] == RED).all() and (tall[:, 22:30] == BLUE).all()


def test_the_whole_picture_is_squashed() -> None:
    for shape in ((80, 160), (160, 80)):
        found = Fit((30, 60), "squash").picture(halves(*shape))
        assert found.shape == (30, 60, 3)
        assert (found[:, :28] == RED).all() and (found[:, 32:] == BLUE).all()


def test_a_crop_in_the_proportions_of_the_input() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:] = GREEN
    image[25:75, :50], image[25:75, 50:] = RED, BLUE  # what an input twice as wide as high shows
    found = Fit((30, 60)).picture(image)
    assert found.shape == (30, 60, 3)
    assert (found[2:28, :28] == RED).all() and (found[2:28, 32:] == BLUE).all()


def test_padding_is_near_the_mean_of_what_backbones_normalise_with() -> None:
    mean = np.array([0.485, 0.456, 0.406]) * 255
    np.testing.assert_allclose(PADDING, mean, atol=0.6)


@pytest.mark.parametrize("mode", MODES)
def test_a_mask_is_treated_like_its_picture(mode: Resize) -> None:
    """A white patch and the mask of it stay on the same pixels, but for those on its edge."""
    for shape in ((90, 150), (150, 90)):
        mask = np.zeros(shape, bool)
        mask[30:60, 36:72] = True
        picture = np.repeat(np.where(mask, 255, 0)[..., None].astype(np.uint8), 3, axis=2)
        for size in (45, (45, 75), (60, 30)):
            fit = Fit(size, mode)
            found, shown = fit.mask(mask), fit.picture(picture)
            assert found.any() and found.dtype == bool
            white = (shown > 200).all(axis=2)
            # A pixel apart at most: what is white lies in the mask, but for its outermost ring.
            assert (white & ~found).sum() + (found & ~white).sum() <= 2 * sum(found.shape)
            centre = [np.argwhere(one).mean(axis=0) for one in (white, found)]
            np.testing.assert_allclose(*centre, atol=0.6)


def test_no_padding_is_in_a_mask() -> None:
    found = Fit(40, "pad").mask(np.ones((80, 160), bool))
    assert found[10:30].all() and not found[:10].any() and not found[30:].any()


@given(
    size=sizes,
    shape=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    mode=st.sampled_from(MODES),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_place_of_the_input_maps_to_the_picture_and_back(
    size: int | tuple[int, int], shape: tuple[int, int], mode: Resize, at: tuple[float, float]
) -> None:
    """To the same place; which pixels are shown there is the next test."""
    fit = Fit(size, mode)
    placement = fit.place(shape)
    left, top, right, bottom = placement.filled
    x, y = left + at[0] * (right - left), top + at[1] * (bottom - top)
    across, down = placement.to_picture(x, y)
    assert -1e-6 <= across <= shape[1] + 1e-6 and -1e-6 <= down <= shape[0] + 1e-6
    assert placement.to_input(across, down) == pytest.approx((x, y), abs=1e-6)
    if mode != "crop":
        # The whole picture is shown.
        assert placement.to_picture(left, top) == (0, 0)
        assert placement.to_picture(right, bottom) == (shape[1], shape[0])


@given(
    size=sizes,
    shape=st.tuples(st.integers(40, 120), st.integers(40, 120)),
    mode=st.sampled_from(MODES),
)
def test_pixels_are_where_the_placement_says(
    size: int | tuple[int, int], shape: tuple[int, int], mode: Resize
) -> None:
    """In a picture whose colours are its coordinates, each pixel of the input shows its place."""
    rows, columns = np.indices(shape, dtype=np.float64)
    image = np.stack([2 * columns, 2 * rows, 0 * rows], axis=2).round().astype(np.uint8)
    fit = Fit(size, mode)
    found, placement = fit.picture(image).astype(float), fit.place(shape)
    left, top, right, bottom = placement.filled
    # Not at the outermost pixels, where the filter has no neighbours on one side.
    for x, y in ((left + 5, top + 7), ((left + right) // 2, (top + bottom) // 2)):
        if not (left + 4 < x < right - 4 and top + 4 < y < bottom - 4):
            continue
        across, down = placement.to_picture(x + 0.5, y + 0.5)
        # A pixel's value is that of its centre; half a pixel of the picture is one step here.
        assert abs(found[y, x, 0] / 2 - (across - 0.5)) <= 0.5 + 0.25
        assert abs(found[y, x, 1] / 2 - (down - 0.5)) <= 0.5 + 0.25


@given(size=sizes, shape=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_the_filled_box_is_where_the_picture_was_placed(
    size: object, shape: tuple[int, int]
) -> None:
    fit = Fit(size, "pad")  # type: ignore[arg-type]
    found = fit.picture(np.full((*shape, 3), 7, np.uint8))
    assert filled_box(found) == fit.place(shape).filled


def test_padding_is_at_the_edges_and_wholly_of_its_colour() -> None:
    image = np.random.default_rng(0).integers(0, 100, (8, 10, 3), dtype=np.uint8)
    assert filled_box(image) == (0, 0, 10, 8)
    image[4] = PADDING  # a row inside
    assert filled_box(image) == (0, 0, 10, 8)
    image[-1] = PADDING  # the odd row, at one edge alone
    assert filled_box(image) == (0, 0, 10, 7)
    image[0] = PADDING
    image[0, 3] = (124, 116, 105)
    assert filled_box(image) == (0, 0, 10, 7)
    image[:] = PADDING
    assert filled_box(image) == (0, 0, 10, 8)


def test_filled_boxes_are_shares_of_the_sides_where_any_is_padded() -> None:
    whole = np.zeros((8, 10, 3), np.uint8)
    padded = whole.copy()
    padded[:2] = padded[6:] = PADDING
    assert filled_shares([whole, whole]) is None
    found = filled_shares([whole, padded])
    assert found is not None
    assert found.tolist() == [[0, 0, 1, 1], [0, 0.25, 1, 0.75]]
