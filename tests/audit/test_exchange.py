"""Exchanges on images of few pixels, and what they must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from seewhy.audit.discovery.details import Detail
from seewhy.audit.exchange import (
    ColourExchange,
    DetailExchange,
    Exchange,
    PlaceExchange,
    TextureExchange,
    filled_in,
    ground,
)
from seewhy.data.decoding.fit import PADDING, slices


def noise(seed: int, size: int = 16) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(60, 190, (size, size, 3), dtype=np.uint8)


def test_a_detail_is_pasted_where_it_lies_and_nowhere_else() -> None:
    shape = np.array([[True, False], [True, True]])
    detail = Detail(np.zeros((2, 2, 3), np.float32), shape, places={7: (3, 4)})
    exchange = DetailExchange(detail, scale=(2.0, 2.0))
    recipient, source = noise(1), noise(2)
    after = exchange(recipient, source, 7)
    changed = np.zeros((16, 16), bool)
    changed[6:8, 8:10] = changed[8:10, 8:12] = True
    assert (exchange.mask(7, (16, 16)) == changed).all()
    assert (after[changed] == source[changed]).all()
    assert (after[~changed] == recipient[~changed]).all()


def test_a_detail_over_the_edge_is_cut_off() -> None:
    detail = Detail(np.zeros((3, 3, 3), np.float32), np.ones((3, 3), bool), places={0: (-1, 14)})
    mask = DetailExchange(detail, (1.0, 1.0)).mask(0, (16, 16))
    assert mask[:2, 14:].all()
    assert mask.sum() == 4


def test_a_box_is_pasted() -> None:
    recipient, source = noise(1), noise(2)
    after = PlaceExchange((0.5, 0.0, 1.0, 0.25))(recipient, source, 0)
    assert (after[8:, :4] == source[8:, :4]).all()
    after[8:, :4] = recipient[8:, :4]
    assert (after == recipient).all()


def test_colours_follow_the_giver() -> None:
    recipient, source = noise(1), noise(2) // 2 + 20
    after = ColourExchange()(recipient, source, 0)
    assert after.mean(axis=(0, 1)) == pytest.approx(source.mean(axis=(0, 1)), abs=1)
    assert after.std(axis=(0, 1)) == pytest.approx(source.std(axis=(0, 1)), abs=1.5)


def test_texture_changes_the_ground_alone() -> None:
    recipient, source = noise(1, 32), noise(2, 32)
    after = TextureExchange()(recipient, source, 0)
    around = ground((32, 32))
    assert (after[~around] == recipient[~around]).all()
    assert (after[around] != recipient[around]).mean() > 0.9
    # Plain grounds have no fine texture to give: the blurred recipient is left.
    plain = TextureExchange()(recipient, np.full_like(source, 120), 0)
    assert plain[around].std() < recipient[around].std() / 2


def test_a_hole_is_filled_from_around() -> None:
    image = np.full((12, 12, 3), 90, np.uint8)
    hole = np.zeros((12, 12), bool)
    hole[4:8, 4:8] = True
    image[hole] = 255
    assert (filled_in(image, hole) == 90).all()
    ramp = np.broadcast_to((np.arange(12) * 20)[None, :, None], (12, 12, 3)).astype(np.uint8)
    marked = ramp.copy()
    marked[hole] = 0
    gap = filled_in(marked, hole).astype(int) - ramp
    assert np.abs(gap).max() <= 8


def test_filling_a_part_is_filling_the_whole() -> None:
    # Holes at the edge, at a corner, in two pieces; filters over the whole picture say what is due.
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    for pieces in ([(0, 0)], [(16, 9)], [(3, 4), (12, 13)], []):
        hole = np.zeros((20, 20), bool)
        for top, left in pieces:
            hole[top : top + 4, left : left + 3] = True
        whole = image.astype(np.float32)
        if pieces:
            rows, columns = ndimage.distance_transform_edt(
                hole, return_distances=False, return_indices=True
            )
            whole = image[rows, columns].astype(np.float32)
        for _ in range(40):
            whole[hole] = ndimage.uniform_filter(whole, (3, 3, 0), mode="nearest")[hole]
        found = filled_in(image, hole)
        assert (found == np.rint(whole)).all()
        assert found is not image


def test_a_detail_of_an_image_that_is_not_square() -> None:
    """Three rows and two columns of the image for one of the detail."""
    detail = Detail(np.zeros((1, 2, 3), np.float32), np.ones((1, 2), bool), places={0: (2, 4)})
    mask = DetailExchange(detail, (3.0, 2.0)).mask(0, (12, 16))
    expected = np.zeros((12, 16), bool)
    expected[6:9, 8:12] = True
    assert (mask == expected).all()


def test_a_box_and_the_ground_follow_both_sides() -> None:
    recipient, source = np.zeros((10, 40, 3), np.uint8), np.full((10, 40, 3), 9, np.uint8)
    after = PlaceExchange((0.5, 0.75, 1.0, 1.0))(recipient, source, 0)
    assert (after[5:, 30:] == 9).all() and after.sum() == 5 * 10 * 3 * 9
    around = ground((10, 40))
    # The ellipse is 0.36 of each side from the middle.
    assert not around[5, 6:34].any() and around[5, :5].all() and around[0].all()
    assert TextureExchange()(noise(1)[:10], noise(2)[:10], 0).shape == (10, 16, 3)


def bars(
    seed: int, box: tuple[int, int, int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Noise in a box, padding around it."""
    image = np.empty((32, 32, 3), np.uint8)
    image[:] = PADDING
    image[slices(box)] = noise(seed, 32)[slices(box)]
    return image


WIDE, TALL, WHOLE = (0, 8, 32, 24), (9, 0, 21, 32), (0, 0, 32, 32)


@pytest.mark.parametrize("exchange", [ColourExchange(), TextureExchange()])
@pytest.mark.parametrize("into", [WIDE, TALL, WHOLE])
@pytest.mark.parametrize("source", [WIDE, TALL, WHOLE])
def test_padding_is_not_changed(
    exchange: Exchange, into: tuple[int, int, int, int], source: tuple[int, int, int, int]
) -> None:
    recipient = bars(1, into)
    after = exchange(recipient, bars(2, source), 0)
    outside = np.ones((32, 32), bool)
    outside[slices(into)] = False
    assert (after[outside] == PADDING).all()
    assert (after != recipient)[slices(into)].any()


def test_colours_are_those_of_the_picture_without_its_padding() -> None:
    recipient, source = bars(1, WIDE), bars(2, TALL)
    source[slices(TALL)] = source[slices(TALL)] // 2 + 20
    after = ColourExchange()(recipient, source, 0)[slices(WIDE)]
    due = source[slices(TALL)]
    assert after.mean(axis=(0, 1)) == pytest.approx(due.mean(axis=(0, 1)), abs=1)
    assert after.std(axis=(0, 1)) == pytest.approx(due.std(axis=(0, 1)), abs=1.5)


def test_texture_is_from_the_sources_ground_whatever_the_padding() -> None:
    """The source's middle alone has texture: none of it is ground."""
    source = bars(2, TALL)
    part = source[slices(TALL)]
    part[ground((32, 12))] = 120
    recipient = bars(1, WIDE)
    recipient[slices(WIDE)] = 120
    recipient[8, 0] = 121  # its own ground is plain but for a pixel
    after = TextureExchange()(recipient, source, 0)[slices(WIDE)].astype(int)
    inner = after[ground((16, 32))]
    assert np.abs(inner - 120).mean() < 8
