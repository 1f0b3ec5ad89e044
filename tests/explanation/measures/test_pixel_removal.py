"""Baselines, the order of removal, and maps that know nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from seewhy.errors import ConfigError
from seewhy.explanation.measures.pixel_removal import (
    blurred,
    find_baseline,
    mean_colour,
    ranks,
    removed,
    resized,
)
from seewhy.explanation.measures.reference_maps import (
    centred_gaussian,
    gaussian_matrix,
    random_maps,
    rearranged,
)


def test_the_blur_is_a_gaussian_of_ten_pixels_at_224() -> None:
    images = torch.rand(2, 3, 56, 112, generator=torch.Generator().manual_seed(0))
    # 10/224 of the sides are 2.5 and 5 pixels; beyond the border is nothing, the rest scaled up.
    blur = {"sigma": (2.5, 5.0), "mode": "constant", "truncate": 30.0}
    within = gaussian_filter(np.ones((56, 112)), **blur)
    for image, found in zip(images, blurred(images), strict=True):
        for channel, ours in zip(image, found, strict=True):
            expected = gaussian_filter(channel.double().numpy(), **blur) / within
            np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_baselines_keep_a_constant_image() -> None:
    images = torch.full((1, 3, 9, 7), 0.3)
    for name in ("mean", "blur"):
        torch.testing.assert_close(find_baseline(name)(images), images)


def test_the_mean_baseline_is_each_images_own_colour() -> None:
    images = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]], [[[5.0, 5.0]], [[2.0, 4.0]]]])
    expected = torch.tensor([[[[2.0, 2.0]], [[0.5, 0.5]]], [[[5.0, 5.0]], [[3.0, 3.0]]]])
    torch.testing.assert_close(mean_colour(images), expected)


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(ConfigError, match="'blurr' is unknown; did you mean blur"):
        find_baseline("blurr")


def test_ranks_by_hand() -> None:
    maps = torch.tensor([[[0.1, 0.9], [0.5, 0.3]]])
    ties = torch.zeros(1, 1, 1)
    assert ranks(maps, ties, (2, 2)).tolist() == [[[3, 0], [1, 2]]]


def test_equal_values_are_ordered_by_the_second_map() -> None:
    maps = torch.tensor([[[0.0, 0.0, 2.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])
    ties = torch.tensor([[[0.3, 0.1, 0.0, 0.2]], [[0.1, 0.2, 0.3, 0.4]]])
    assert ranks(maps, ties, (1, 4)).tolist() == [[[1, 3, 0, 2]], [[3, 2, 1, 0]]]


def test_interpolation_makes_no_order_among_equal_places() -> None:
    # 0.1 and 0.7 have no exact weights: interpolated, a constant map differs in the last bits.
    ties = random_maps(0, 1, (5, 5), seed=0)
    for value in (0.1, 0.7, 3e4):
        flat = ranks(torch.full((1, 3, 3), value), ties, (17, 17))
        assert torch.equal(flat, ranks(torch.zeros(1, 3, 3), ties, (17, 17)))


def test_ranks_follow_the_bilinear_map_and_are_a_permutation() -> None:
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = ranks(maps, torch.zeros(3, 1, 1), (12, 20))
    for ranked, values in zip(found, resized(maps, (12, 20)), strict=True):
        assert sorted(ranked.flatten().tolist()) == list(range(240))
        ordered = values.flatten()[ranked.flatten().argsort()]
        # Differences below a millionth are no differences.
        assert (ordered.diff() <= 2e-6).all()


def test_removed_counts_pixels_from_either_end() -> None:
    ranked = torch.tensor([[[3, 0], [1, 2]]])
    assert removed(ranked, 0.5).tolist() == [[[[False, True], [True, False]]]]
    assert removed(ranked, 0.25, least=True).tolist() == [[[[True, False], [False, False]]]]
    assert not removed(ranked, 0.0).any()
    assert removed(ranked, 1.0, least=True).all()


def test_a_gaussian_matrix_has_rows_of_sum_one() -> None:
    matrix = gaussian_matrix(5, 1.0)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(matrix[2, 1] / matrix[2, 2], torch.tensor(np.exp(-0.5)).float())


def test_random_maps_hang_on_seed_and_image_alone() -> None:
    state = torch.get_rng_state()
    maps = random_maps(4, 3, (7, 7), seed=1)
    torch.rand(5)
    assert torch.equal(random_maps(4, 3, (7, 7), seed=1), maps)
    assert torch.equal(random_maps(4, 1, (7, 7), seed=1)[0], maps[0])
    assert not torch.equal(random_maps(5, 3, (7, 7), seed=1), maps)
    assert not torch.equal(random_maps(4, 3, (7, 7), seed=2), maps)
    torch.set_rng_state(state)


def test_random_maps_are_smooth_and_prefer_no_place() -> None:
    maps = torch.cat([random_maps(image, 20, (16, 16), seed=0) for image in range(100)])
    assert maps.amin(dim=(1, 2)).eq(0).all()
    assert maps.amax(dim=(1, 2)).eq(1).all()
    centred = maps - maps.mean(dim=(1, 2), keepdim=True)
    step = (centred[:, :, 1:] * centred[:, :, :-1]).mean() / centred.square().mean()
    # Neighbours of noise smoothed by 2 places correlate by exp(-1/16) = 0.94.
    assert 0.9 < step < 0.97
    # Noise cut off at the border would be averaged over less there, and vary twice as much.
    spread = maps.std(dim=0)
    assert 0.9 < spread[::15, ::15].mean() / spread[7:9, 7:9].mean() < 1.15
    places = maps.flatten(1).argmax(dim=1)
    quadrant = (places // 16 // 8) * 2 + places % 16 // 8
    shares = quadrant.bincount(minlength=4) / len(maps)
    # A quarter each; the deviation of such a share is 0.0097.
    assert (shares - 0.25).abs().max() < 0.04


def test_a_centred_gaussian_by_hand() -> None:
    # Centres are ±1/4 off the middle, a deviation of 1/4: exp(-1/2) along one axis.
    found = centred_gaussian((1, 2))
    torch.testing.assert_close(found, torch.full((1, 2), float(np.exp(-0.5))))
    odd = centred_gaussian((3, 5))
    assert odd.argmax() == 7
    torch.testing.assert_close(odd, odd.flip(0, 1))


def test_a_rearranged_map_has_its_own_values_in_the_patterns_order() -> None:
    maps = torch.tensor([[[5.0, 0.0], [0.0, 2.0]]])
    pattern = torch.tensor([[[0.1, 0.2], [0.4, 0.3]]])
    assert rearranged(maps, pattern).tolist() == [[[0.0, 0.0], [5.0, 2.0]]]
