"""Details planted in noise are found with their shape and carriers; noise has none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.discovery.details import fixed_details, moving_details, places_in, reduced

LABELS = np.repeat([0, 1], 30)
MARK = np.array([[[255, 0, 90]] * 4, [[0, 255, 20]] * 4, [[90, 90, 255]] * 4], np.float32)


def pictures(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.integers(0, 256, (60, 20, 20, 3)).astype(np.float32)


def plant(
    seed: int, anywhere: bool
) -> tuple[NDArray[np.float32], dict[int, tuple[int, int]], NDArray[np.float64]]:
    """Return pictures whose class 1 carries the mark in two of three, where, and hot places."""
    rng = np.random.default_rng(seed)
    found = pictures(rng)
    places, hot = {}, np.full((60, 2), 0.5)
    for i in range(30, 60):
        top, left = rng.integers(0, 16, 2) if anywhere else (12, 3)
        hot[i] = (top + 1.5) / 20, (left + 2) / 20
        if i % 3:
            found[i, top : top + 3, left : left + 4] = MARK
            places[i] = int(top), int(left)
    return found, places, hot


def test_a_detail_at_one_place() -> None:
    found, places, _ = plant(0, anywhere=False)
    details = fixed_details(found, LABELS, 1, most=3, seed=0)
    assert len(details) == 1
    (detail,) = details
    assert detail.at == (12, 3)
    assert detail.shape.shape == (3, 4)
    assert detail.shape.all()
    assert np.allclose(detail.look, MARK)
    assert detail.places == places
    assert detail.own == pytest.approx(20 / 30)
    assert detail.others == 0
    assert fixed_details(found, LABELS, 0, most=3, seed=0) == []


def crossed(share: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return pictures of which a share of class 1 carries a cross of single pixels, and who."""
    found = pictures(np.random.default_rng(4))
    carries = (np.arange(60) >= 30) & (np.arange(60) < 30 + 30 * share)
    for k in range(5):
        found[carries, 6 + k, 9 + k] = found[carries, 6 + k, 13 - k] = (255, 0, 90)
    return found, carries


def test_a_detail_thinner_than_a_window() -> None:
    found, carries = crossed(0.6)
    (detail,) = fixed_details(found, LABELS, 1, most=2, seed=0)
    assert detail.at == (6, 9)
    assert (detail.shape == (np.eye(5, dtype=bool) | np.eye(5, dtype=bool)[::-1])).all()
    assert sorted(detail.places) == np.flatnonzero(carries).tolist()
    assert detail.own == pytest.approx(0.6)


def test_few_images_or_few_pixels_are_no_thin_detail() -> None:
    assert fixed_details(crossed(0.3)[0], LABELS, 1, most=2, seed=0) == []
    found = pictures(np.random.default_rng(4))
    found[30:, 3, 3:6] = (255, 0, 90)
    assert fixed_details(found, LABELS, 1, most=2, seed=0) == []


def test_a_detail_is_not_found_again_as_a_thin_one() -> None:
    found, _, _ = plant(0, anywhere=False)
    # A thin one besides: three images in ten have neither.
    found[30:51, 2, 2:12] = (9, 250, 9)
    solid, thin = fixed_details(found, LABELS, 1, most=3, seed=0)
    assert (solid.at, thin.at) == ((12, 3), (2, 2))
    assert (solid.shape.sum(), thin.shape.sum()) == (12, 10)


def test_a_detail_at_places_that_differ() -> None:
    found, places, hot = plant(1, anywhere=True)
    details = moving_details(found, LABELS, 1, hot, reach=(0.2, 0.2), most=3)
    assert [detail.places for detail in details] == [places]
    assert details[0].at is None
    assert np.allclose(details[0].look, MARK)
    assert moving_details(found, LABELS, 0, hot, reach=(0.2, 0.2), most=3) == []


def test_images_with_an_empty_map_have_no_place_to_look_at() -> None:
    found, places, hot = plant(1, anywhere=True)
    hot[[i for i in range(len(hot)) if i not in places]] = np.nan
    (detail,) = moving_details(found, LABELS, 1, hot, reach=(0.2, 0.2), most=3)
    assert detail.places == places
    assert (
        moving_details(found, LABELS, 1, np.full_like(hot, np.nan), reach=(0.2, 0.2), most=3) == []
    )


def test_what_both_classes_share_is_no_detail() -> None:
    found, _, _ = plant(2, anywhere=False)
    found[:, 12:15, 3:7] = MARK
    assert fixed_details(found, LABELS, 1, most=3, seed=0) == []


def test_carriers_among_other_pictures() -> None:
    found, _, hot = plant(3, anywhere=True)
    detail = moving_details(found, LABELS, 1, hot, reach=(0.2, 0.2), most=1)[0]
    others = pictures(np.random.default_rng(9))[:3]
    others[1, 5:8, 16:20] = MARK
    assert places_in(others, detail) == {1: (5, 16)}


def test_reducing_averages() -> None:
    pixels = np.arange(96 * 96 * 3, dtype=np.uint32).reshape(1, 96, 96, 3) % 251
    small = reduced(pixels.astype(np.uint8))
    assert small.shape == (1, 48, 48, 3)
    by_hand = pixels.reshape(1, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    assert np.allclose(small, by_hand, atol=1e-2)
    tiny = pixels[:, :20, :20].astype(np.uint8)
    assert np.array_equal(reduced(tiny), tiny)


def test_pictures_that_are_not_square_keep_their_proportions() -> None:
    pixels = np.arange(64 * 96 * 3, dtype=np.uint32).reshape(1, 64, 96, 3) % 251
    small = reduced(pixels.astype(np.uint8))
    assert small.shape == (1, 32, 48, 3)
    assert np.allclose(small, pixels.reshape(1, 32, 2, 48, 2, 3).mean(axis=(2, 4)), atol=1e-2)


@pytest.mark.parametrize("across", [14, 40])
def test_details_are_found_in_wide_pictures(across: int) -> None:
    """A mark at the same place, and at places that differ, in pictures 20 high and 48 wide."""
    rng = np.random.default_rng(5)
    wide = rng.uniform(0, 255, (len(LABELS), 20, 48, 3)).astype(np.float32)
    fixed, moving = wide.copy(), wide.copy()
    own = np.flatnonzero(LABELS == 1)
    fixed[own, 11:14, across : across + 4] = MARK
    (detail,) = fixed_details(fixed, LABELS, 1, 1, seed=0)
    assert (detail.at, detail.shape.shape) == ((11, across), (3, 4))
    hot = np.full((len(LABELS), 2), np.nan)
    places = {}
    for k in own.tolist():
        top, left = int(rng.integers(0, 17)), int(rng.integers(0, 44))
        moving[k, top : top + 3, left : left + 4] = MARK
        places[k] = (top, left)
        hot[k] = (top + 1.5) / 20, (left + 2) / 48
    (detail,) = moving_details(moving, LABELS, 1, hot, reach=(0.2, 0.2), most=1)
    assert detail.places == places


@pytest.mark.parametrize("shape", [(32, 1024), (1024, 32), (2, 50)])
def test_the_shorter_side_has_room_for_a_window(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    small = reduced(rng.integers(0, 256, (60, *shape, 3), dtype=np.uint8)).shape
    assert sorted(small[1:3]) == [3, 48]
    found = rng.integers(0, 256, small).astype(np.float32)
    top, left = np.array(found.shape[1:3]) // 2 - 1
    found[30:, top : top + 3, left : left + 3] = MARK[:, :3]
    hot = np.full((60, 2), 0.5)
    (fixed,) = fixed_details(found, LABELS, 1, most=2, seed=0)
    (moving,) = moving_details(found, LABELS, 1, hot, reach=(0.2, 0.2), most=2)
    for detail in (fixed, moving):
        assert detail.shape.shape == (3, 3)
        assert sorted(detail.places) == list(range(30, 60))


def test_a_moving_detail_at_an_edge_does_not_grow_beyond_it() -> None:
    found = pictures(np.random.default_rng(7))
    found[30:, :3, 8:12] = MARK
    hot = np.broadcast_to((0.1, 0.5), (60, 2))
    (detail,) = moving_details(found, LABELS, 1, hot, reach=(0.2, 0.2), most=1)
    assert detail.shape.shape == (3, 4)
    assert np.allclose(detail.look, MARK)
    assert set(detail.places) == set(range(30, 60))


def test_hot_places_are_searched_as_far_as_each_side_says() -> None:
    """Fifteen columns beside the hot place: within reach across, not with the rows' reach."""
    rng = np.random.default_rng(8)
    found = rng.integers(0, 256, (60, 20, 40, 3)).astype(np.float32)
    for i in range(30, 60):
        top = int(rng.integers(0, 16))
        found[i, top : top + 3, 4:8] = MARK
    hot = np.full((60, 2), 0.5)
    assert moving_details(found, LABELS, 1, hot, reach=(0.5, 0.1), most=1) == []
    (detail,) = moving_details(found, LABELS, 1, hot, reach=(0.5, 0.5), most=1)
    assert detail.own == 1
