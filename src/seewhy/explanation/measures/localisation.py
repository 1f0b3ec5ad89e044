"""A map against an object's mask, and how concentrated it is: no network needed.

Pure functions of tensors; whether the object is what the network should use is the caller's
question. An empty map, nowhere positive, points nowhere: it has NaN for a number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.explanation.measures.pixel_removal import resized
from seewhy.explanation.measures.reference_maps import rearranged, reference_patterns

MEASURES = ("pointing_game", "energy_inside", "iou_at_area")
"""What `score_localisation` measures; more is better in each."""


def gini(maps: Tensor) -> Tensor:
    r"""Return how concentrated maps (N, h, w) are: the Gini index (N,) of their absolute values.

    .. math:: G = \frac{\sum_{i=1}^{n} (2i - n - 1)\, v_i}{n \sum_i v_i}

    with v the values in ascending order and n = h·w. 0 where all places are equal, 1 − 1/n where
    one place has everything, 0 for an empty map. Neither direction is good: a concentrated map
    may point anywhere.

    References
    ----------
    Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training",
    ICML 2020 (the Gini index of an attribution).
    """
    values = maps.abs().flatten(1).sort(dim=1).values
    count = values.shape[1]
    weights = 2 * torch.arange(1, count + 1, device=maps.device).to(values) - count - 1
    total = values.sum(dim=1)
    tiny = torch.finfo(values.dtype).tiny
    return (weights * values).sum(dim=1) / (count * total).clamp_min(tiny)


def pointing_hits(maps: Tensor, masks: Tensor) -> Tensor:
    """Play the pointing game: 1 where the map's maximum is on the object, 0 where not, (N,).

    The centre of the largest place of a map (N, h, w) is looked up in the mask (N, H, W), without
    the tolerance of 15 pixels that the paper grants; among equal places the share of hits counts.
    NaN for an empty map.

    References
    ----------
    Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018.
    """
    places = []
    for cells, pixels in zip(maps.shape[1:], masks.shape[1:], strict=True):
        centres = (torch.arange(cells, device=maps.device) + 0.5) * (pixels / cells)
        places.append(centres.long().clamp_max(pixels - 1))
    under = masks[:, places[0]][:, :, places[1]].to(maps)
    largest = (maps == maps.amax(dim=(1, 2), keepdim=True)).to(maps)
    return _known(maps, (largest * under).sum(dim=(1, 2)) / largest.sum(dim=(1, 2)))


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the map's sum that is on the object, (N,) in 0 … 1.

    Maps (N, h, w) are upsampled bilinearly to the masks (N, H, W), negative values count as zero.
    NaN for an empty map.

    References
    ----------
    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
    Networks", CVPR Workshops 2020 (the energy-based pointing game).
    """
    energy = resized(maps, (masks.shape[1], masks.shape[2])).clamp_min(0)
    total = energy.sum(dim=(1, 2)).clamp_min(torch.finfo(energy.dtype).tiny)
    return _known(maps, (energy * masks).sum(dim=(1, 2)) / total)


def overlap(maps: Tensor, masks: Tensor, threshold: float) -> Tensor:
    """Return intersection over union (N,) of the object and the map's bright part.

    Maps (N, h, w) are upsampled bilinearly to the masks (N, H, W), none of which is empty; pixels
    of at least the share `threshold` of a map's maximum are its bright part. NaN for an empty map.
    """
    values = resized(maps, (masks.shape[1], masks.shape[2]))
    bright = values >= threshold * values.amax(dim=(1, 2), keepdim=True)
    both, either = (bright & masks).sum(dim=(1, 2)), (bright | masks).sum(dim=(1, 2))
    return _known(maps, both / either)


def overlap_at_area(maps: Tensor, masks: Tensor) -> Tensor:
    r"""Return intersection over union (N,) of the object and as many of the map's hottest pixels.

    .. math:: \mathrm{IoU} = \frac{|T_K \cap M|}{|T_K \cup M|} = \frac{r}{2 - r},
              \qquad r = \frac{|T_K \cap M|}{K}

    with M the object's pixels, K = \|M\|, and T_K the K pixels with the highest values of the map,
    upsampled bilinearly to the masks (N, H, W), none of which is empty. r is the relevance rank
    accuracy of the paper. No threshold is chosen, so neither a method's contrast nor the object's
    size favours a map. Among equal values at the limit, the expected share counts. NaN for an empty
    map.

    References
    ----------
    Arras, Osman, Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural
    network explanations", Information Fusion 81, 2022.
    """
    values = resized(maps, (masks.shape[1], masks.shape[2])).clamp_min(0).flatten(1)
    objects = masks.flatten(1)
    sizes = objects.sum(dim=1)
    limits = torch.stack(
        [one.kthvalue(len(one) - int(k) + 1).values for one, k in zip(values, sizes, strict=True)]
    )[:, None]
    above, equal = values > limits, values == limits
    left = (sizes - above.sum(dim=1)) / equal.sum(dim=1)
    both = (above & objects).sum(dim=1) + left * (equal & objects).sum(dim=1)
    return _known(maps, both / (2 * sizes - both))


def score_localisation(
    maps: Tensor,
    masks: Tensor,
    numbers: Tensor,
    seed: int = 0,
    random_maps: int = 2,
    filled: Tensor | None = None,
) -> dict[str, Tensor]:
    """Score maps against masks, beside random maps and a centred Gaussian.

    Parameters
    ----------
    maps : Tensor of float, (n, h, w)
        Never negative.
    masks : Tensor of bool, (n, H, W)
        In the images' own framing.
    numbers : Tensor of int, (n,)
        The images' places in the set that is measured: random maps depend on them and the seed,
        not on the batches.
    seed : int, default 0
    random_maps : int, default 2
        R random maps an image.
    filled : Tensor of float, (n, 4), optional
        The part of each image that is no padding, default all of it: left, top, right and bottom as
        shares of its sides. Random maps and the Gaussian are there alone.

    Returns
    -------
    dict of str to Tensor of float, (R + 2, n)
        By `MEASURES`: for the maps, for each random map, for the Gaussian. NaN for an image whose
        map or mask is empty.
    """
    known = (maps.amax(dim=(1, 2)) > 0) & masks.flatten(1).any(dim=1)
    found = {name: torch.full((random_maps + 2, len(maps)), torch.nan) for name in MEASURES}
    if not known.any():
        return found
    given, objects = maps[known].float(), masks[known]
    size = (given.shape[1], given.shape[2])
    parts = None if filled is None else filled[known]
    patterns, _ = reference_patterns(numbers[known], size, seed, random_maps, parts)
    # A pattern gets the map's own values: a map that covers more would have more on the object.
    for row, one in enumerate([given, *(rearranged(given, pattern) for pattern in patterns)]):
        found["pointing_game"][row, known] = pointing_hits(one, objects)
        found["energy_inside"][row, known] = energy_inside(one, objects)
        found["iou_at_area"][row, known] = overlap_at_area(one, objects)
    return found


def _known(maps: Tensor, values: Tensor) -> Tensor:
    """Return values (N,) with NaN where the map is empty."""
    return values.masked_fill(maps.amax(dim=(1, 2)) <= 0, torch.nan)
