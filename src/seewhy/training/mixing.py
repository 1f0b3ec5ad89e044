"""Training images mixed with others of their batch, at the cut: mixup and CutMix.

The frozen part is not run again: activations at the cut are mixed, and the loss is mixed in the
same shares. Knows activations; nothing of layers, epochs or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor

from seewhy.data.pixel_augmentation import between


@dataclass(frozen=True)
class Mixed:
    """A batch in which each image has a share of another one.

    Attributes
    ----------
    inputs : Tensor, (B, C, h, w)
    partners : Tensor of int64, (B,)
        Places in the batch.
    share : float
        What is an image's own, 0 … 1; the rest is its partner's.
    """

    inputs: Tensor
    partners: Tensor
    share: float


class Mixing:
    """Mixes batches at the cut.

    Each batch draws one share from Beta(alpha, alpha) and for every image a partner. Where both
    ways are on, each batch takes one of them with equal probability.

    Parameters
    ----------
    mixup : float
        alpha of the weighted sum of two activations; 0: off.
    cutmix : float
        alpha of a box of the map at the cut that is the partner's; 0: off.

    References
    ----------
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Verma et al., "Manifold
    Mixup", ICML 2019 (in a hidden layer); Yun et al., "CutMix", ICCV 2019.
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        self._mixup, self._cutmix = mixup, cutmix

    def __bool__(self) -> bool:
        return self._mixup > 0 or self._cutmix > 0

    def __call__(self, activations: Tensor, generator: torch.Generator) -> Mixed:
        """Mix activations (B, C, h, w), which may be overwritten; the generator is on the CPU."""
        boxes = self._cutmix > 0
        if boxes and self._mixup > 0:
            boxes = bool(torch.rand((), generator=generator) < 0.5)
        own = beta_share(self._cutmix if boxes else self._mixup, generator)
        order = torch.randperm(len(activations), generator=generator)
        partners = order.to(activations.device)
        given = activations[partners]
        if not boxes:
            return Mixed(activations.lerp_(given, 1 - own), partners, own)
        inside = _box(activations.shape[2:], 1 - own, generator).to(activations.device)
        share = 1 - float(inside.float().mean())
        return Mixed(torch.where(inside, given, activations), partners, share)


def beta_share(alpha: float, generator: torch.Generator) -> float:
    """Draw a share from Beta(alpha, alpha), by its quantile function."""
    chance = float(torch.rand((), generator=generator, dtype=torch.float64))
    return float(betaincinv(alpha, alpha, chance))


def _box(shape: torch.Size, area: float, generator: torch.Generator) -> Tensor:
    """Return where a box of a share of the map is, (1, 1, h, w), its centre drawn evenly."""
    marks = []
    for side in shape:
        long = round(side * area**0.5)
        middle = int(torch.randint(side, (), generator=generator))
        start, end = max(middle - long // 2, 0), min(middle - long // 2 + long, side)
        marks.append(between(side, torch.tensor([start]), torch.tensor([end - start]))[0])
    return (marks[0][:, None] & marks[1])[None, None]
