"""Images with a part taken away: baselines, the order of removal, the removal.

Pure functions of tensors; knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.errors import ConfigError, near_names
from seewhy.explanation.measures.reference_maps import gaussian_matrix

# Fong and Vedaldi's 10 pixels at 224, as a share of the side. RISE's kernel of 11 pixels leaves
# most objects recognisable.
_BLUR = 10 / 224
# Differences below this share of a map's maximum are the rounding of the interpolation.
_ROUNDING = 1e-6


def mean_colour(images: Tensor) -> Tensor:
    """Fill each image with its own mean colour, (N, C, H, W).

    The data set's mean colour would be zero only for inputs normalised with that mean; the
    image's own needs no knowledge of the preprocessing.
    """
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


def blurred(images: Tensor) -> Tensor:
    """Blur each image, (N, C, H, W): a Gaussian of 10/224 of the side, colours kept."""
    height, width = images.shape[2:]
    rows = gaussian_matrix(height, _BLUR * height).to(images)
    columns = gaussian_matrix(width, _BLUR * width).to(images)
    return rows @ images @ columns.T


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean_colour, "blur": blurred}


def find_baseline(name: str) -> Callable[[Tensor], Tensor]:
    """Return the baseline called `name`: images (N, C, H, W) in, images without content out.

    Raises ConfigError where there is none; names those that are near.
    """
    if name not in BASELINES:
        raise ConfigError(
            f"baseline {name!r} is unknown{near_names(name, BASELINES)}; "
            f"there are: {', '.join(BASELINES)}"
        )
    return BASELINES[name]


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (N, h, w) at image size (H, W), bilinear with half-pixel centres: (N, H, W)."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def ranks(maps: Tensor, ties: Tensor, size: tuple[int, int]) -> Tensor:
    """Rank the pixels of each image by relevance, (N, H, W) int64; 0 is the most relevant.

    Maps (N, h, w) are upsampled bilinearly to the size (H, W). Among pixels of the same value the
    larger of `ties` (N, h', w') comes first: much of a map is exactly zero; taken row by row those
    places would be the picture's top, taken one by one a speckle.
    """
    values = resized(maps, size).flatten(1)
    scale = values.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    values = (values / scale / _ROUNDING).round()
    by_tie = resized(ties, size).flatten(1).argsort(dim=1, descending=True, stable=True)
    by_value = values.gather(1, by_tie).argsort(dim=1, descending=True, stable=True)
    order = by_tie.gather(1, by_value)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(-1, *size)


def removed(ranked: Tensor, share: float, least: bool = False) -> Tensor:
    """Mark the pixels (N, 1, H, W) that are taken away when a share of them is.

    They are the most relevant, or the `least` relevant, of those that `ranks` ranked; their number
    is rounded.
    """
    pixels = ranked.shape[1] * ranked.shape[2]
    count = round(share * pixels)
    gone = ranked >= pixels - count if least else ranked < count
    return gone[:, None]
