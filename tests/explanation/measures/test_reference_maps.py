"""Maps that know nothing, of pictures with padding: they leave it out, as the picture does."""

from __future__ import annotations

import pytest
import torch

from seewhy.explanation.measures.localisation import MEASURES, score_localisation
from seewhy.explanation.measures.reference_maps import centred_gaussian, reference_patterns

NUMBERS, SIZE = torch.arange(4), (8, 6)
WHOLE, MIDDLE, UPPER, THIN = [0, 0, 1, 1], [0, 0.25, 1, 0.75], [0, 0, 1, 0.25], [0.49, 0, 0.5, 1]


def test_patterns_are_zero_outside_the_picture_and_as_before_inside() -> None:
    filled = torch.tensor([WHOLE, MIDDLE, UPPER, THIN])
    found, ties = reference_patterns(NUMBERS, SIZE, 3, 2, filled)
    before, same = reference_patterns(NUMBERS, SIZE, 3, 2)
    assert torch.equal(ties, same)
    inside = torch.zeros(4, *SIZE, dtype=torch.bool)
    inside[0], inside[1, 2:6], inside[2, :2] = True, True, True
    inside[3, :, 2] = True  # no column has its middle there: the nearest
    for pattern in found:
        assert ((pattern > 0) == inside).all()
    for pattern, whole in zip(found[:2], before, strict=False):
        torch.testing.assert_close(pattern, whole * inside)
    torch.testing.assert_close(found[2][0], before[2][0])


def test_all_of_each_picture_is_the_default() -> None:
    patterns = reference_patterns(NUMBERS, SIZE, 3, 2)[0]
    whole = reference_patterns(NUMBERS, SIZE, 3, 2, torch.tensor([WHOLE] * 4))[0]
    for one, other in zip(patterns, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-30)


def test_the_gaussian_is_that_of_the_picture() -> None:
    found = centred_gaussian((8, 6), (0, 0.5, 1, 1))
    torch.testing.assert_close(found[4:], centred_gaussian((4, 6)))
    assert torch.equal(centred_gaussian((8, 6), (0, 0, 1, 1)), centred_gaussian((8, 6)))


def test_leaving_the_padding_out_is_not_better_than_random() -> None:
    """Maps that know nothing but where the picture is, against objects anywhere in it."""
    count, rng = 600, torch.Generator().manual_seed(0)
    filled = torch.tensor([MIDDLE]).expand(count, 4)
    maps = torch.zeros(count, 8, 8)
    drawn, _ = reference_patterns(torch.arange(count) + 10_000, (8, 8), 5, 1)
    maps[:, 2:6] = drawn[0][:, 2:6]
    masks = torch.zeros(count, 32, 32, dtype=torch.bool)
    for mask, top, left in zip(
        masks,
        torch.randint(8, 17, (count,), generator=rng).tolist(),
        torch.randint(0, 25, (count,), generator=rng).tolist(),
        strict=True,
    ):
        mask[top : top + 8, left : left + 8] = True
    scores = score_localisation(maps, masks, torch.arange(count), 0, 2, filled)
    unaware = score_localisation(maps, masks, torch.arange(count), 0, 2)
    for name in MEASURES:
        ours, *random, _ = scores[name]
        known = float(torch.stack(random).mean())
        assert float(ours.mean()) == pytest.approx(known, rel=0.25), name
        assert float(unaware[name][1:3].mean()) < 0.75 * known, name
