"""Colour map and overlay, against PyTorch, Pillow and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from seewhy.explanation import overlay as render


@pytest.mark.parametrize(("height", "width"), [(7, 7), (1, 1), (3, 5), (14, 2)])
@pytest.mark.parametrize("size", [1, 3, 7, 32, 224])
def test_resize_agrees_with_torch(height: int, width: int, size: int) -> None:
    map_ = np.random.default_rng(0).random((height, width)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(map_)[None, None], size=(size, size), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    resized = render.resize_map(map_, (size, size))
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=1e-6)


def test_normalised_by_its_own_maximum() -> None:
    np.testing.assert_array_equal(
        render.normalised(np.array([[0, 1], [2, 4]], dtype=np.float16)),
        np.array([[0, 0.25], [0.5, 1]], dtype=np.float32),
    )


def test_an_empty_map_stays_zero() -> None:
    assert not render.normalised(np.zeros((7, 7))).any()
    assert not render.heat(np.zeros((7, 7)), (16, 16))[..., 3].any()


def test_what_is_no_number_or_negative_counts_as_zero() -> None:
    np.testing.assert_allclose(
        render.normalised(np.array([np.nan, -3, 2, np.inf])), [0, 0, 0, 1], atol=1e-30
    )
    np.testing.assert_array_equal(render.normalised(np.array([np.nan, -3, 2])), [0, 0, 1])


@given(arrays(np.float32, (4, 4), elements=st.floats(0, 1e4, width=32)), st.floats(0.5, 100))
def test_normalised_ignores_the_scale(map_: np.ndarray, scale: float) -> None:
    once = render.normalised(map_)
    assert once.min() >= 0
    assert once.max() == (1 if map_.any() else 0)
    np.testing.assert_allclose(render.normalised(map_.astype(np.float64) * scale), once, atol=1e-6)


def test_colour_ends_are_the_colour_maps() -> None:
    from matplotlib import colormaps

    ends = np.rint(colormaps[render.COLOUR_MAP]([0, 255])[:, :3] * 255)
    np.testing.assert_array_equal(render.colour(np.array([0.0, 1.0])), ends)
    np.testing.assert_array_equal(render.colour(np.array([-1.0, 2.0])), ends)


def test_overlay_worked_out_by_hand() -> None:
    image = np.full((2, 2, 3), 100, dtype=np.uint8)
    # Coverage is value / OPAQUE_FROM, at most 1: 0, half, whole, whole.
    map_ = np.array([[0, render.OPAQUE_FROM / 2], [render.OPAQUE_FROM, 1]])
    laid = render.overlay(image, map_, opacity=0.5)
    colours = render.colour(map_).astype(float)
    expected = [
        100 * (1 - w) + c * w
        for w, c in zip((0, 0.25, 0.5, 0.5), colours.reshape(4, 3), strict=True)
    ]
    assert laid.dtype == np.uint8
    np.testing.assert_allclose(laid.reshape(4, 3), expected, atol=1)


def test_overlay_is_what_laying_the_heat_layer_over_the_image_gives() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    map_ = rng.random((7, 7))
    layer = Image.fromarray(render.heat(map_, (32, 32)))
    stacked = Image.alpha_composite(Image.fromarray(image).convert("RGBA"), layer).convert("RGB")
    laid = render.overlay(image, map_, opacity=1.0).astype(int)
    assert np.abs(laid - np.asarray(stacked).astype(int)).max() <= 1


def test_nothing_to_show_leaves_the_image_alone() -> None:
    image = np.random.default_rng(2).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(render.overlay(image, np.zeros((3, 3))), image)
    np.testing.assert_array_equal(render.overlay(image, np.ones((3, 3)), opacity=0), image)


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4, 3), (4, 4, 4)])
def test_overlay_names_a_wrong_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected argument `image` to be \(H, W, 3\)"):
        render.overlay(np.zeros(shape, dtype=np.uint8), np.ones((2, 2)))


def test_overlay_names_a_wrong_opacity() -> None:
    with pytest.raises(ValueError, match="`opacity` to be in 0 … 1, but got 2"):
        render.overlay(np.zeros((4, 4, 3), dtype=np.uint8), np.ones((2, 2)), 2)


def test_overlay_within_is_the_overlay_of_the_square_and_leaves_the_rest() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(1, 255, (30, 50, 3), dtype=np.uint8)
    map_ = rng.random((4, 4))
    laid = render.overlay_within(image, map_, (10, 0, 40, 30), 0.7)
    np.testing.assert_array_equal(laid[:, 10:40], render.overlay(image[:, 10:40], map_, 0.7))
    # A black line next to the square, a white one beside it, and nothing else.
    for black, white in ((9, 8), (40, 41)):
        assert (laid[:, black] == 0).all()
        assert (laid[:, white] == 255).all()
    np.testing.assert_array_equal(laid[:, :8], image[:, :8])
    np.testing.assert_array_equal(laid[:, 42:], image[:, 42:])
    square = np.ascontiguousarray(image[:, :30])
    np.testing.assert_array_equal(
        render.overlay_within(square, map_, (0, 0, 30, 30), 0.5), render.overlay(square, map_)
    )


def test_a_fine_overlay_is_the_coarse_ones_colours_enlarged() -> None:
    image = np.full((1400, 1400, 3), 128, dtype=np.uint8)
    map_ = np.random.default_rng(4).random((7, 7))
    laid = render.overlay_within(image, map_, (0, 0, 1400, 1400)).astype(int)
    exact = render.overlay(image, map_).astype(int)
    assert np.abs(laid - exact).max() <= 3


def test_a_map_of_other_proportions_than_its_image_is_stretched() -> None:
    map_ = np.array([[0.0, 1.0]])
    layer = render.heat(map_, (20, 60))
    assert layer.shape == (20, 60, 4)
    # Half a cell on either side has the cells' own values; so it is whatever the rows.
    assert (layer[:, :15, 3] == 0).all() and (layer[:, 45:, 3] == 255).all()
    image = np.full((20, 60, 3), 90, np.uint8)
    assert (render.overlay(image, map_)[:, :15] == 90).all()


def test_of_a_padded_picture_only_its_own_part_of_the_map_is_drawn() -> None:
    """Four rows of the map, the picture's are the middle two; the padding's are the largest."""
    map_ = np.array([[4.0], [0.0], [1.0], [4.0]])
    within = (0.0, 0.25, 1.0, 0.75)
    part = render.resize_map(map_, (4, 1), within)[:, 0]
    # Places at rows 1/4, 3/4, 5/4 and 7/4 of the two; 2 - 1/2 … in cells of the whole map.
    np.testing.assert_allclose(part, [1.0, 0.25, 0.75, 1.75], atol=1e-6)
    np.testing.assert_array_equal(part, render.resize_map(map_, (8, 1))[2:6, 0])
    # On the whole map's scale: 1.75 of 4, and not the most there is in the part.
    image = np.full((4, 1, 3), 100, np.uint8)
    laid = render.overlay_within(image, map_, (0, 0, 1, 4), 1.0, within)
    whole = np.full((8, 8, 3), 100, np.uint8)
    expected = render.overlay_within(whole, map_, (0, 0, 8, 8), 1.0)[2:6, :1]
    np.testing.assert_array_equal(laid, expected)
