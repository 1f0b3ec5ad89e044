"""Maps that know nothing: smooth random ones and a centred Gaussian, for comparison.

A number for a map means little without the same number for these. Knows nothing of networks.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

# Objects' maps are blobs about a quarter of the picture wide; so are the random ones.
_BLOB = 1 / 8
_CENTRE = 1 / 4


def gaussian_matrix(size: int, deviation: float) -> Tensor:
    """Return a matrix (size, size) whose rows are Gaussians around each place, each of sum 1.

    What is outside is left out and the rest scaled up, so that constants stay constant up to the
    border. The deviation, positive, is in places.
    """
    places = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-((places[:, None] - places) ** 2) / (2 * deviation**2))
    return weights / weights.sum(dim=1, keepdim=True)


def named_generator(*names: int | str) -> torch.Generator:
    """Return a generator that depends on these alone: a seed, and what is drawn."""
    key = hashlib.sha256(" ".join(map(str, names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)


def random_maps(image: int, count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Draw smooth random maps (count, h, w) float32 for one image, on the CPU.

    White noise smoothed by a Gaussian of an eighth of the side, of equal variance up to the
    border, scaled to 0 … 1. The maps depend on the image's number and the seed alone, never on what
    was drawn before; those of a smaller count are the first ones of a larger count.
    """
    generator = named_generator(seed, image, "maps")
    # One by one: a longer draw at once does not begin with the shorter one.
    noise = torch.stack([torch.randn(size, generator=generator) for _ in range(count)])
    rows, columns = (gaussian_matrix(side, _BLOB * side) for side in size)
    rows, columns = (m / m.square().sum(dim=1, keepdim=True).sqrt() for m in (rows, columns))
    smooth = rows @ noise @ columns.T
    low, high = smooth.amin(dim=(1, 2), keepdim=True), smooth.amax(dim=(1, 2), keepdim=True)
    return (smooth - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)


def centred_gaussian(
    size: tuple[int, int], box: tuple[float, float, float, float] = (0, 0, 1, 1)
) -> Tensor:
    """Return a map (h, w) float32 that falls off from the centre, a quarter of the side wide.

    Centre and sides are those of a box: left, top, right and bottom as shares of the map's sides.
    """
    axes = []
    for side, low, high in zip(size, (box[1], box[0]), (box[3], box[2]), strict=True):
        places = (torch.arange(side, dtype=torch.float32) + 0.5) / side - (low + high) / 2
        places /= high - low
        axes.append(torch.exp(-(places**2) / (2 * _CENTRE**2)))
    return axes[0][:, None] * axes[1]


def reference_patterns(
    numbers: Tensor, size: tuple[int, int], seed: int, count: int, filled: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Return `count` random maps and the Gaussian, (n, h, w) each, and the maps that break ties.

    `numbers` (n,) are the images' places in the set that is measured. A further random map changes
    none of the others. `filled` (n, 4) is the part of each image that is no padding: left, top,
    right and bottom as shares of its sides. Outside it the patterns are zero: a map would be better
    than they are by leaving the padding out.
    """
    drawn = torch.stack([random_maps(int(n), count + 1, size, seed) for n in numbers])
    # The first breaks ties, so that a further random map changes none of the others' numbers.
    random, ties = drawn[:, 1:].unbind(dim=1), drawn[:, 0]
    if filled is None:
        return [*random, centred_gaussian(size).expand(len(numbers), *size)], ties
    left, top, right, bottom = filled.double().unbind(dim=1)
    inside = _between(top, bottom, size[0])[:, :, None] & _between(left, right, size[1])[:, None]
    boxes = zip(*(side.tolist() for side in (left, top, right, bottom)), strict=True)
    centre = torch.stack([centred_gaussian(size, box) for box in boxes])
    # More than zero inside, so that the lowest place there comes before the padding.
    least = torch.finfo(torch.float32).tiny
    return [one.clamp_min(least) * inside for one in (*random, centre)], ties


def _between(low: Tensor, high: Tensor, side: int) -> Tensor:
    """Mark the places (n, side) with their middle between two shares (n,), and the one nearest."""
    middles = ((torch.arange(side, dtype=torch.float64) + 0.5) / side)[None]
    gaps = (middles - ((low + high) / 2)[:, None]).abs()
    within = (middles >= low[:, None]) & (middles < high[:, None])
    return within | (gaps == gaps.amin(dim=1, keepdim=True))


def rearranged(maps: Tensor, patterns: Tensor) -> Tensor:
    """Put each map's own values, (N, h, w), in the order of a pattern: the largest to the largest.

    What depends on how much a map covers rather than where (average drop, energy, IoU) can only be
    compared between maps that cover the same.
    """
    values = maps.flatten(1).sort(dim=1, descending=True).values
    order = patterns.flatten(1).argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(values).scatter_(1, order, values).view_as(maps)
