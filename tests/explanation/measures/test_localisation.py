"""Maps against masks, and the Gini index: by hand and by Quantus's numbers."""

from __future__ import annotations

import pytest
import torch

from seewhy.explanation.measures.localisation import (
    energy_inside,
    gini,
    overlap,
    overlap_at_area,
    pointing_hits,
    score_localisation,
)

# Quantus 0.6.0 on this map: Sparseness 0.5614033 (it adds 1e-7 to every value);
# RelevanceMassAccuracy 0.7105263 and PointingGame True with the mask below.
MAP = torch.tensor([[[0.0, 0.1, 0.5], [0.2, 0.0, 0.9], [0.3, 0.3, 1.5]]])
MASK = torch.tensor([[[0, 0, 0], [0, 1, 1], [0, 1, 1]]]).bool()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.0, 5.0, 0.0], 0.75),
        ([2.0, 2.0, 2.0, 2.0], 0.0),
        # (-3·1 - 1·2 + 1·3 + 3·4) / (4 · 10)
        ([4.0, 2.0, 1.0, 3.0], 0.25),
        ([4.0, -2.0, -1.0, 3.0], 0.25),
        ([0.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_the_gini_index_by_hand(values: list[float], expected: float) -> None:
    torch.testing.assert_close(gini(torch.tensor([values])[:, None]), torch.tensor([expected]))


def test_quantus_has_the_same_numbers() -> None:
    torch.testing.assert_close(gini(MAP), torch.tensor([0.5614033]), rtol=0, atol=1e-6)
    torch.testing.assert_close(energy_inside(MAP, MASK), torch.tensor([0.7105263]))
    assert pointing_hits(MAP, MASK).tolist() == [1.0]


def test_the_pointing_game_looks_at_the_middle_of_the_largest_place() -> None:
    maps = torch.tensor([[[0.1, 0.9], [0.2, 0.3]]]).expand(3, 2, 2)
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, 2, 6] = True  # the middle of the upper right quarter
    masks[1, 2, 6] = True
    masks[1] = ~masks[1]
    masks[2, :4, 4:] = True
    assert pointing_hits(maps, masks).tolist() == [1.0, 0.0, 1.0]


def test_among_equal_maxima_the_share_of_hits_counts() -> None:
    maps = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    masks = torch.tensor([[[True, False], [False, True]]])
    torch.testing.assert_close(pointing_hits(maps, masks), torch.tensor([1 / 3]))


def test_energy_inside_by_hand() -> None:
    maps = torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]])
    masks = torch.tensor([[[True, False], [True, True]]])
    # Negative values speak against the class: 3 of 4.
    torch.testing.assert_close(energy_inside(maps, masks), torch.tensor([0.75]))


def test_energy_is_summed_over_the_upsampled_map() -> None:
    maps = torch.tensor([[[1.0, 0.0]]])
    masks = torch.tensor([[[True, False, False, False]]])
    # Half-pixel centres: 1, 0.75, 0.25, 0.
    torch.testing.assert_close(energy_inside(maps, masks), torch.tensor([0.5]))


def test_overlap_by_hand() -> None:
    maps = torch.tensor([[[1.0, 0.6, 0.4, 0.0]]])
    masks = torch.tensor([[[False, True, True, True]]])
    # At 0.5 the first two are bright: one of four shared. At 0.3 the first three: two of four.
    torch.testing.assert_close(overlap(maps, masks, 0.5), torch.tensor([0.25]))
    torch.testing.assert_close(overlap(maps, masks, 0.3), torch.tensor([0.5]))


def test_overlap_at_the_objects_area_by_hand() -> None:
    maps = torch.tensor([[[0.9, 0.6, 0.4, 0.0]]])
    masks = torch.tensor([[[False, True, True, True]]])
    # Three hottest pixels, two of them on the object: two of four.
    torch.testing.assert_close(overlap_at_area(maps, masks), torch.tensor([0.5]))
    # One hottest pixel, off the object.
    assert overlap_at_area(maps, torch.tensor([[[False, False, True, False]]])).tolist() == [0.0]
    # Three zeros share the second place: a third of a pixel is on the object.
    zeros = torch.tensor([[[0.9, 0.0, 0.0, 0.0]]])
    some = torch.tensor([[[True, True, False, False]]])
    torch.testing.assert_close(overlap_at_area(zeros, some), torch.tensor([(4 / 3) / (4 - 4 / 3)]))


def test_overlap_at_the_objects_area_needs_no_contrast() -> None:
    maps = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5
    found = overlap_at_area(maps, masks)
    torch.testing.assert_close(overlap_at_area(maps**4, masks), found)
    assert not torch.allclose(overlap(maps**4, masks, 0.5), overlap(maps, masks, 0.5))


def test_scores_do_not_depend_on_the_batches() -> None:
    maps = torch.rand(6, 3, 3, generator=torch.Generator().manual_seed(0))
    maps[1] = 0
    masks = torch.rand(6, 9, 9, generator=torch.Generator().manual_seed(1)) > 0.5
    masks[4] = False
    numbers = torch.arange(6)
    found = score_localisation(maps, masks, numbers, seed=3)
    parts = [
        score_localisation(maps[part], masks[part], numbers[part], seed=3)
        for part in (slice(0, 2), slice(2, 6))
    ]
    for name, values in found.items():
        assert values.shape == (4, 6)
        assert values.isnan().all(dim=0).tolist() == [False, True, False, False, True, False]
        torch.testing.assert_close(
            torch.cat([part[name] for part in parts], dim=1), values, equal_nan=True
        )
    # Random maps and the Gaussian have the map's own values: an even map has one score in all.
    even = score_localisation(torch.ones(1, 3, 3), masks[:1], numbers[:1])["energy_inside"]
    torch.testing.assert_close(even, masks[0].float().mean().expand(4, 1))


def test_a_map_that_is_its_mask_overlaps_wholly() -> None:
    masks = torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(0)) > 0.6
    maps = 7.0 * masks
    assert overlap(maps, masks, 0.5).tolist() == [1.0] * 4
    assert overlap_at_area(maps, masks).tolist() == [1.0] * 4
    assert energy_inside(maps, masks).tolist() == [1.0] * 4
    assert pointing_hits(maps, masks).tolist() == [1.0] * 4
    assert overlap(1.0 * ~masks, masks, 0.5).tolist() == [0.0] * 4


@pytest.mark.parametrize("empty", [0.0, -1.0])
def test_an_empty_map_points_nowhere(empty: float) -> None:
    maps = torch.stack([torch.full((2, 3), empty), torch.ones(2, 3)])
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[:, :2, :2] = True  # the upper left corner, a sixth
    for measure in (pointing_hits, energy_inside, lambda a, b: overlap(a, b, 0.5)):
        found = measure(maps, masks)
        assert found[0].isnan()
        assert overlap_at_area(maps, masks)[0].isnan()
        assert found[1].item() == pytest.approx(1 / 6)
