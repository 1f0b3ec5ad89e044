"""Each augmentation by what must hold for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seewhy.config import AUGMENTATIONS
from seewhy.data.pixel_augmentation import ZOOM_AREA, augment
from seewhy.errors import ConfigError


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=generator(99))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_same_generator_same_images(name: str) -> None:
    images = noise(64)
    before = images.clone()
    first, again, other = (augment(images, (name,), generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, images)
    assert torch.equal(images, before)
    assert first.shape == images.shape


def test_names_are_applied_in_order_from_one_stream() -> None:
    images, chance = noise(8), generator(4)
    expected = augment(augment(images, ("flip",), chance), ("crop",), chance)
    assert torch.equal(augment(images, ("flip", "crop"), generator(4)), expected)
    assert augment(images, (), generator(0)) is images


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'flop'; did you mean flip"):
        augment(noise(1), ("flop",), generator(0))


def test_flip_gives_each_image_or_its_mirror() -> None:
    images = noise(400, 4, 6)
    found = augment(images, ("flip",), generator(0))
    same = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 160 <= int(mirrored.sum()) <= 240  # 200, four standard deviations of 10 each way


def test_translate_moves_a_point_by_whole_pixels() -> None:
    images = torch.zeros(500, 3, 32, 48)
    images[:, :, 16, 24] = 1
    found = augment(images, ("translate",), generator(0))
    assert (found.sum(dim=(2, 3)) == 1).all()
    assert ((found == 0) | (found == 1)).all()
    places = found[:, 0].nonzero()[:, 1:] - torch.tensor([16, 24])
    # Up to an eighth of each side, every shift of them seen, both axes on their own.
    assert sorted(set(places[:, 0].tolist())) == list(range(-4, 5))
    assert sorted(set(places[:, 1].tolist())) == list(range(-6, 7))
    assert abs(np.corrcoef(places.T.numpy())[0, 1]) < 0.2


def test_crop_cuts_from_the_mirrored_border() -> None:
    images = noise(60, 16, 24)
    found = augment(images, ("crop",), generator(3))
    padded = torch.nn.functional.pad(images, (3, 3, 2, 2), mode="reflect")
    shifts = set()
    for before, after in zip(padded, found, strict=True):
        fits = [
            (top, left)
            for top in range(5)
            for left in range(7)
            if torch.equal(before[:, top : top + 16, left : left + 24], after)
        ]
        assert len(fits) == 1
        shifts.update(fits)
    assert len(shifts) > 20


def test_translate_repeats_the_border() -> None:
    images = noise(60, 16, 24)
    found = augment(images, ("translate",), generator(3))
    padded = torch.nn.functional.pad(images, (3, 3, 2, 2), mode="replicate")
    for before, after in zip(padded, found, strict=True):
        assert any(
            torch.equal(before[:, top : top + 16, left : left + 24], after)
            for top in range(5)
            for left in range(7)
        )


def test_erase_paints_one_rectangle_in_half_of_the_images() -> None:
    images = noise(400, 32, 40)
    found = augment(images, ("erase",), generator(0))
    changed = (found != images).any(dim=1)
    erased = changed.flatten(1).any(1)
    assert 160 <= int(erased.sum()) <= 240
    shares, ratios = [], []
    for index in erased.nonzero().flatten().tolist():
        rows = changed[index].any(1).nonzero().flatten()
        columns = changed[index].any(0).nonzero().flatten()
        top, left = int(rows[0]), int(columns[0])
        tall, wide = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
        inside = found[index, :, top : top + tall, left : left + wide]
        assert int(changed[index].sum()) == tall * wide
        torch.testing.assert_close(
            inside, images[index].mean((1, 2))[:, None, None].expand_as(inside)
        )
        shares.append(tall * wide / (32 * 40))
        ratios.append(tall / wide)
    # The bounds with what rounding to whole pixels adds.
    assert 0.015 < min(shares) < 0.05
    assert 0.17 < max(shares) < 0.22
    assert 0.25 < min(ratios) < 0.5
    assert 2 < max(ratios) < 4


def test_tiny_images_can_be_augmented() -> None:
    images = noise(16, 3, 2)
    found = augment(images, AUGMENTATIONS, generator(0))
    assert found.shape == images.shape
    assert not found.isnan().any()


def _ramps(count: int, side: int) -> torch.Tensor:
    """Images whose channels are the place: down, across, and their sum."""
    place = (torch.arange(side) + 0.5) / side
    down, across = place[:, None].expand(side, side), place.expand(side, side)
    image = torch.stack([down, across, (down + across) / 2])
    return image.expand(count, 3, side, side).clone()


def test_zoom_scales_a_part_of_the_image_up() -> None:
    side = 64
    found = augment(_ramps(300, side), ("zoom",), generator(0))
    # On a ramp, the difference of neighbours is the part's side as a share of the image's.
    middle = found[:, :, side // 4 : -side // 4, side // 4 : -side // 4]
    tall = (middle[:, 0, -1, 0] - middle[:, 0, 0, 0]) / (side // 2 - 1) * side
    wide = (middle[:, 1, 0, -1] - middle[:, 1, 0, 0]) / (side // 2 - 1) * side
    area, ratio = tall * wide, wide / tall
    assert float(tall.max()) <= 1 + 1e-4
    assert float(wide.max()) <= 1 + 1e-4
    assert ZOOM_AREA[0] - 1e-3 <= float(area.min()) < 0.42
    assert 0.93 < float(area.max()) <= 1 + 1e-3
    assert 0.7 < float(ratio.min()) < 0.8
    assert 1.25 < float(ratio.max()) < 1.4
    # The part is within the image: at the ends of the ramp nothing is repeated for long.
    assert float(found[:, 0].amin(dim=(1, 2)).min()) >= 0.5 / side - 1e-6
    steps = found[:, 0, 1:, 0] - found[:, 0, :-1, 0]
    assert int((steps <= 1e-7).sum(dim=1).max()) <= 1


def test_zoom_is_torchvisions_resized_crop() -> None:
    """The part of one image, read off a ramp, cut out and scaled up by torchvision's way."""
    side = 32
    images = torch.cat([noise(1, side, side), _ramps(1, side)[:, :]])
    images[0] = F.avg_pool2d(images[0], 5, 1, 2)  # smooth, so that sampling details matter less
    for seed in range(5):
        both = augment(images[1:].clone(), ("zoom",), generator(seed))[0]
        found = augment(images[:1].clone(), ("zoom",), generator(seed))[0]
        rows = both[0, :, side // 2] * side - 0.5
        columns = both[1, side // 2] * side - 0.5
        for r, c in ((8, 20), (15, 15), (22, 9)):
            y, x = float(rows[r]), float(columns[c])
            top, left = int(y), int(x)
            part = images[0, :, top : top + 2, left : left + 2]
            weights = torch.tensor([[1 - (y - top)], [y - top]]) * torch.tensor(
                [1 - (x - left), x - left]
            )
            torch.testing.assert_close(
                found[:, r, c], (part * weights).sum(dim=(1, 2)), atol=1e-4, rtol=1e-4
            )


def test_colour_and_trivial_draw_for_each_image_and_leave_the_global_state() -> None:
    images = noise(1).expand(6, -1, -1, -1).clone()
    before = torch.random.get_rng_state()
    for name in ("colour", "trivial"):
        found = augment(images, (name,), generator(2))
        assert len({tuple(image.flatten().tolist()) for image in found}) > 3
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1
    assert torch.equal(torch.random.get_rng_state(), before)


def test_colour_keeps_every_place_and_changes_brightness_by_at_most_thirty_percent() -> None:
    grey = torch.full((200, 3, 4, 4), 0.5)
    found = augment(grey, ("colour",), generator(1))
    assert float(found.flatten(1).std(dim=1).max()) < 1e-6
    level = found.mean(dim=(1, 2, 3))
    assert 0.35 - 1e-4 <= float(level.min()) < 0.38
    assert 0.62 < float(level.max()) <= 0.65 + 1e-4
