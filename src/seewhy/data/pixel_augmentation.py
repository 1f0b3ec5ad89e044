"""Training images changed at random, whole batches on the device, before they are normalised.

All chance comes from one generator, so an epoch can be repeated. Knows images; nothing of classes,
networks or epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from seewhy.config import AUGMENTATIONS
from seewhy.errors import ConfigError, near_names

ERASE_AREA = (0.02, 0.2)
ERASE_ASPECT = (0.3, 1 / 0.3)
ERASE_PROBABILITY = 0.5
ZOOM_AREA = (0.4, 1.0)
ZOOM_ASPECT = (3 / 4, 4 / 3)
COLOUR = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}


def augment(images: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Change a batch at random, each image in its own way, before it is normalised.

    - ``crop``: padded by an eighth of each side with its mirror image, then cut at random.
    - ``translate``: shifted by up to an eighth of each side, the border repeated.
    - ``flip``: left and right exchanged, for every other image on average.
    - ``zoom``: a part of 40 to 100 % of the area, its sides in a ratio of 0.75 to 1.33 of the
      image's, scaled up to the image's size (GoogLeNet's random crop).
    - ``colour``: brightness, contrast and saturation by up to 30 %.
    - ``trivial``: one of fourteen operations (geometric and of colour) at a strength by chance.
    - ``erase``: in every other image on average, a rectangle of 2 to 20 % of the area, its sides in
      a ratio of 0.3 to 3.3, painted in the image's mean colour.

    Parameters
    ----------
    images : Tensor of float32, shape (B, 3, H, W)
        In 0 … 1.
    names : sequence of str
        Applied in this order.
    generator : torch.Generator
        All chance comes from it; one of the CPU gives the same on every device.

    Returns
    -------
    Tensor of float32, shape (B, 3, H, W)

    Raises
    ------
    ConfigError
        For a name that is none of these.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (zoom); Müller and Hutter,
    "TrivialAugment", ICCV 2021; Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
    """
    steps: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
        "crop": partial(_shift, inside=_mirrored),
        "translate": partial(_shift, inside=lambda place, side: place.clamp(0, side - 1)),
        "flip": _flip,
        "zoom": _zoom,
        "colour": partial(_each, change=v2.ColorJitter(**COLOUR)),
        "trivial": partial(_each, change=_TRIVIAL),
        "erase": _erase,
    }
    for name in names:
        if name not in steps:
            raise ConfigError(
                f"input.augmentation: expected {', '.join(AUGMENTATIONS)}, but got {name!r}"
                f"{near_names(name, AUGMENTATIONS)}"
            )
        images = steps[name](images, generator)
    return images


def _mirrored(place: Tensor, side: int) -> Tensor:
    """Reflect places beyond the border, the border itself not repeated."""
    place = place.abs()
    return torch.where(place < side, place, 2 * (side - 1) - place)


def _shift(
    images: Tensor, generator: torch.Generator, inside: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Move each image by up to an eighth of its sides; `inside` maps places back into it."""
    count, _, height, width = images.shape
    places = []
    for side in (height, width):
        most = side // 8
        offset = torch.randint(
            -most, most + 1, (count, 1), generator=generator, device=generator.device
        )
        place = torch.arange(side, device=generator.device) + offset
        places.append(inside(place, side).to(images.device))
    rows, columns = places[0][:, :, None], places[1][:, None, :]  # (B, H, 1), (B, 1, W)
    batch = torch.arange(count, device=images.device)[:, None, None]
    # Gathered with the channels last, as they are in memory: (B, H, W, 3).
    return images.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    chosen = _uniform(len(images), generator, images.device) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def _zoom(images: Tensor, generator: torch.Generator) -> Tensor:
    """Scale a part of each image up to the image's size."""
    count = len(images)
    area, aspect, down, across = (_uniform(count, generator, images.device) for _ in range(4))
    area = ZOOM_AREA[0] + area * (ZOOM_AREA[1] - ZOOM_AREA[0])
    low, high = (float(np.log(ratio)) for ratio in ZOOM_ASPECT)
    aspect = torch.exp(low + aspect * (high - low))
    tall, wide = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    # In the grid's coordinates, -1 … 1, a part of size s has its centre at most 1 - s from 0.
    moves = torch.zeros(count, 2, 3, device=images.device)
    moves[:, 0, 0], moves[:, 0, 2] = wide, (2 * across - 1) * (1 - wide)
    moves[:, 1, 1], moves[:, 1, 2] = tall, (2 * down - 1) * (1 - tall)
    grid = F.affine_grid(moves, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


# On floats in 0 … 1; the mean grey fills what a rotation or a shift uncovers.
_TRIVIAL = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR, fill=0.5)


def _each(images: Tensor, generator: torch.Generator, change: nn.Module) -> Tensor:
    """Change each image by a transform of torchvision, which draws from the global generator."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return torch.stack([change(image) for image in images]).clamp_(0, 1)


def _erase(images: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    chance, area, aspect, down, across = (
        _uniform(count, generator, images.device) for _ in range(5)
    )
    area = (ERASE_AREA[0] + area * (ERASE_AREA[1] - ERASE_AREA[0])) * height * width
    low, high = (float(np.log(ratio)) for ratio in ERASE_ASPECT)
    aspect = torch.exp(low + aspect * (high - low))
    tall = (area * aspect).sqrt().round().clamp(1, height)
    wide = (area / aspect).sqrt().round().clamp(1, width)
    top = (down * (height - tall + 1)).floor()
    left = (across * (width - wide + 1)).floor()
    rows = between(height, top, tall).unsqueeze(2)  # (B, H, 1)
    columns = between(width, left, wide).unsqueeze(1)  # (B, 1, W)
    erased = rows & columns & (chance < ERASE_PROBABILITY).view(-1, 1, 1)
    return torch.where(erased.unsqueeze(1), images.mean(dim=(2, 3), keepdim=True), images)


def between(side: int, start: Tensor, length: Tensor) -> Tensor:
    """Mark the places from `start` on, `length` of them, in a row of `side`, (B, side)."""
    place = torch.arange(side, device=start.device)
    return (place >= start[:, None]) & (place < (start + length)[:, None])


def _uniform(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device).to(device)
