"""A map against an object's mask, and how concentrated it is: no network needed.

Pure functions of tensors; whether the object is what the network should use is the caller's
question. An empty map, nowhere positive, points nowhere: it has NaN for a number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.explanation.measures.pixel_removal import resized


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


def _known(maps: Tensor, values: Tensor) -> Tensor:
    """Return values (N,) with NaN where the map is empty."""
    return values.masked_fill(maps.amax(dim=(1, 2)) <= 0, torch.nan)
