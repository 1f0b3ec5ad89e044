"""A region of a training image, at the cut, replaced by another image's.

Fine-tuning starts from activations at the cut; pixels are not at hand there, and the frozen part
is not to run again. So the region is a box of the map at the cut, all channels, and what is put in
its place is another training image's, of the same places. ``erasing`` takes the box by chance;
``focus`` takes the one that speaks most for the image's label, as the weights of this very step
see it. Knows activations, labels and the part after the cut; nothing of epochs or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from seewhy.data.pixel_augmentation import between
from seewhy.errors import ConfigError
from seewhy.models.cut import evaluating
from seewhy.runtime.device import Compute

# The box's sides, as a share of the map's.
SIDE = 0.35


class Replacement:
    r"""Replaces a region in half of each class's images of a batch.

    With ``focus`` the region is the box with the greatest sum of the map

    .. math:: M = \sum_k \max\left(\frac{\partial z_y}{\partial A_k} \odot A_k, 0\right)

    where A are the image's activations at the cut and z_y is the logit of its label: what speaks
    for the label there, to first order; `seewhy.explain` calls it ``gradcam-elementwise``. An image
    whose M is 0 everywhere has no hottest region, and loses a box taken by chance.

    Parameters
    ----------
    where : {"erasing", "focus"}
    tail_and_head : nn.Module
        Activations (B, C, h, w) to logits (B, K); asked for the map with the weights it has at that
        moment, in evaluation mode. Its modes, statistics and gradients stay as they are.
    compute : Compute

    References
    ----------
    Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. Choe and Shim, "Attention-based
    Dropout Layer for Weakly Supervised Object Localization", CVPR 2019, drop the hottest places of
    a layer's map.
    """

    def __init__(
        self, where: Literal["erasing", "focus"], tail_and_head: nn.Module, compute: Compute
    ) -> None:
        self._where = where
        self._tail_and_head = tail_and_head
        self._compute = compute

    @torch.no_grad()
    def __call__(self, activations: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Replace a region in half of the images, (B, C, h, w) at the cut; they are overwritten.

        h and w are at least 2. The generator is on the CPU, so that every device is given the same.
        ``focus`` draws all that ``erasing`` draws: with equal random numbers the two differ in the
        places alone.
        """
        height, width = activations.shape[2:]
        tall, wide = box_sides(height, width)
        columns = width - wide + 1
        chosen = choose(labels, generator)
        donors = draw_donors(labels, generator)[chosen]
        places = _draw((height - tall + 1) * columns, len(labels), generator, labels.device)[chosen]
        # Indexing copies: neither a donor nor the map sees what is replaced.
        given, own = activations[donors], activations[chosen]
        if self._where == "focus" and len(own):
            heat = self._heat(own, labels[chosen]).unsqueeze(1)
            sums = functional.avg_pool2d(heat, (tall, wide), stride=1).flatten(1)
            most, hottest = sums.max(dim=1)
            places = torch.where(most > 0, hottest, places)
        rows = between(height, places // columns, places.new_tensor(tall)).unsqueeze(2)
        across = between(width, places % columns, places.new_tensor(wide)).unsqueeze(1)
        activations[chosen] = torch.where((rows & across).unsqueeze(1), given, own)
        return activations

    def _heat(self, activations: Tensor, labels: Tensor) -> Tensor:
        """Return the map of each image's label, (n, h, w) float32."""
        with torch.enable_grad(), evaluating(self._tail_and_head), self._compute.autocast():
            asked = activations.detach().requires_grad_()
            # A copy goes in, since the first layer may work in place.
            logits: Tensor = self._tail_and_head(asked.clone())
            scores = logits.gather(1, labels.unsqueeze(1)).sum()
            (gradient,) = torch.autograd.grad(scores, asked)
        return (gradient.float() * activations.float()).clamp_(min=0).sum(dim=1)


def box_sides(height: int, width: int) -> tuple[int, int]:
    """Return the sides of the box that is replaced in a map of these sides; at least 1 each."""
    return max(1, round(SIDE * height)), max(1, round(SIDE * width))


def choose(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Choose half of each class's images in a batch, by their labels (B,).

    Every second one; whether the first of a class is one of them is drawn for each class, so that
    an odd number has its half on average.
    """
    same = labels[:, None] == labels[None]
    earlier = same.tril(-1).sum(dim=1)
    coins = _draw(2, len(labels), generator, labels.device)
    # The coin of a class is that of its first image in the batch.
    return (earlier + coins[same.int().argmax(dim=1)]) % 2 == 0


def draw_donors(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw, for each image of a batch, the one whose activations it is given, by labels (B,).

    It is of another class, since one of the same class may have the same detail in the same
    place; of the same class where the batch has no other, and itself where it is alone.
    """
    count = len(labels)
    chance = torch.rand(count, count, generator=generator).to(labels.device)
    chance -= (labels[:, None] == labels[None]).float()
    return chance.fill_diagonal_(-2).argmax(dim=1)


def check_region(where: str, shape: Sequence[int], backbone: str) -> None:
    """Refuse a cut whose map, (C, h, w), is too small to lose a region and keep the rest."""
    _, height, width = shape
    if where != "none" and min(height, width) < 2:
        raise ConfigError(
            f"finetuning.augmentation: {where!r} replaces a part of the map at the cut, expected "
            f"at least 2×2 places, but that of {backbone} has {height}×{width}; raise input.size "
            "or finetuning.open, or set it to 'none'"
        )


def _draw(below: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randint(below, (count,), generator=generator).to(device)
