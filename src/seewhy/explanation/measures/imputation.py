"""Noisy linear imputation: pixels taken away are filled in from what is left around them.

A hole filled with one colour shows its own outline to the network, which may then answer to the
outline. Filled so that every missing pixel is the weighted mean of its neighbours, it does not.
Whole batches are solved at once on their device: conjugate gradients on the masked grid, each
step helped by one multigrid cycle, so that the number of steps does not grow with the image.
Knows nothing of maps or networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.errors import ConfigError

_DAMPING = 0.8
_SWEEPS_AT_BOTTOM = 8
_TINY = torch.finfo(torch.float32).tiny


def impute(
    images: Tensor, missing: Tensor, tolerance: float = 5e-3, most_steps: int = 100
) -> Tensor:
    r"""Fill in missing pixels (N, 1, H, W) of images (N, C, H, W) linearly, without noise.

    Solves, for every missing pixel i and every channel,

    .. math:: x_i = \sum_{j \in N(i)} w_{ij} x_j \Big/ \sum_{j \in N(i)} w_{ij}

    with N(i) the up to eight neighbours inside the image, w = 1/6 for those that share an edge
    and 1/12 for those that share a corner. The result is float32; known pixels are as they were.

    Parameters
    ----------
    tolerance : float, default 5e-3
        Largest error left by the multigrid cycle's own estimate, in standard deviations of the
        image; half the noise that ROAD adds.
    most_steps : int, default 100
        About seven are needed.

    Raises
    ------
    ConfigError
        Where an image has no pixel left.

    References
    ----------
    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
    ICML 2022 (noisy linear imputation; weights as in the authors' code).
    """
    if bool(missing.flatten(1).all(dim=1).any()):
        raise ConfigError("expected at least one pixel of each image to be left, but all are gone")
    levels = _levels(missing.float())
    finest = levels[0]
    filled = images.float() * (1 - finest.hole)
    scale = images.float().flatten(1).std(dim=1)[:, None, None, None]
    residual = -finest.apply(filled)
    towards = rest = _cycle(levels, residual)
    energy = _dot(residual, rest)
    for _ in range(most_steps):
        # An image that is done stays as it is: its result depends on no other in the batch.
        unfinished = rest.abs().amax(dim=(1, 2, 3), keepdim=True) > tolerance * scale
        if not bool(unfinished.any()):
            break
        applied = finest.apply(towards)
        length = unfinished * energy / _dot(towards, applied).clamp_min(_TINY)
        filled = filled + length * towards
        residual = residual - length * applied
        rest = _cycle(levels, residual)
        before, energy = energy, _dot(residual, rest)
        towards = rest + energy / before.clamp_min(_TINY) * towards
    return filled


@dataclass(frozen=True)
class _Level:
    """The equations on one grid."""

    hole: Tensor  # (N, 1, h, w): 1 where a place is missing, else 0
    degree: Tensor  # (1, 1, h, w): sum of the neighbours' weights: 1, and less at the border

    def apply(self, values: Tensor) -> Tensor:
        """Return degree times value less the neighbours' weighted sum, at missing places."""
        # Weights 1/6 and 1/12 are those of `_around` by 12, but for the place itself with 4.
        left = (12 * self.degree + 4) * values
        left -= _around(values)
        left *= self.hole / 12
        return left


def _levels(hole: Tensor) -> list[_Level]:
    """Return the equations at ever coarser grids.

    A coarse place is missing where all it covers is: holes only shrink, so that a correction
    found on a coarse grid never reaches over a known pixel.
    """
    levels = []
    while True:
        ones = torch.ones_like(hole[:1])
        levels.append(_Level(hole, (_around(ones) - 4 * ones) / 12))
        if max(hole.shape[2:]) <= 2 or not bool(hole.any()):
            return levels
        hole = (_gathered(hole) >= _gathered(ones)).float()


def _cycle(levels: list[_Level], residual: Tensor) -> Tensor:
    """Solve roughly: one symmetric multigrid V-cycle with damped Jacobi sweeps."""
    level = levels[0]
    step = _DAMPING * level.hole / level.degree
    found = step * residual
    sweeps = _SWEEPS_AT_BOTTOM
    if len(levels) > 1:
        left = residual - level.apply(found)
        # Down is the transpose of up: conjugate gradients need a symmetric preconditioner.
        coarse = _gathered(_smoothed(level.hole * left)) * levels[1].hole
        coarse = _cycle(levels[1:], coarse) * levels[1].hole
        found += level.hole * _smoothed(_spread(coarse, found.shape[2:]))
        sweeps = 1
    for _ in range(sweeps):
        found += step * (residual - level.apply(found))
    return found


def _around(values: Tensor) -> Tensor:
    """Sum each 3 × 3 neighbourhood with weights (1, 2, 1) both ways; outside is nothing."""
    rows = 2 * values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    both = 2 * rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both


def _smoothed(values: Tensor) -> Tensor:
    """Average each 3 × 3 neighbourhood with weights (1, 2, 1) both ways, borders repeated."""
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    return _around(padded)[..., 1:-1, 1:-1] / 16


def _gathered(values: Tensor) -> Tensor:
    """Sum blocks of 2 × 2 places; an odd last row or column is summed alone."""
    height, width = values.shape[2:]
    return 4 * F.avg_pool2d(F.pad(values, (0, width % 2, 0, height % 2)), 2)


def _spread(values: Tensor, size: torch.Size) -> Tensor:
    """Copy each place to its block of 2 × 2: the transpose of `_gathered`."""
    doubled = values.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return doubled[..., : size[0], : size[1]]


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(dim=(2, 3), keepdim=True)
