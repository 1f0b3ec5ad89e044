"""Where the places are in a layer's output: maps, maps with channels last, or tokens.

Networks put out (N, C, h, w), Swin and its kin (N, h, w, C), transformers (N, prefix + h·w, C)
with class, register or distillation tokens in front, some of them (prefix + h·w, N, C). Knows
shapes alone: no networks, no methods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["channels first", "channels last", "tokens", "tokens first"]

# More tokens than these in front of the patches are no prefix, but another grid.
_MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class SpatialLayout:
    """How a layer's output becomes maps."""

    kind: Kind  # the last one has the images on its second axis
    grid: tuple[int, int]  # rows h and columns w
    prefix: int = 0  # tokens before the patches: class, register, distillation

    def to_maps(self, output: Tensor) -> Tensor:
        """Return the layer's output, or its gradient, as maps (N, C, h, w)."""
        if self.kind == "channels first":
            return output
        if self.kind == "channels last":
            return output.permute(0, 3, 1, 2)
        if self.kind == "tokens first":
            output = output.transpose(0, 1)
        count, _, channels = output.shape
        patches = output[:, self.prefix :]
        return patches.reshape(count, *self.grid, channels).permute(0, 3, 1, 2)

    @property
    def channel_axis(self) -> int:
        """The axis of the layer's output that runs over channels."""
        return 1 if self.kind == "channels first" else -1

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of the layer's output that run over places; tokens include the prefix."""
        axes: dict[Kind, tuple[int, ...]] = {
            "channels first": (2, 3),
            "channels last": (1, 2),
            "tokens": (1,),
            "tokens first": (0,),
        }
        return axes[self.kind]

    @property
    def batch_axis(self) -> int:
        """The axis of the layer's output that runs over images."""
        return 1 if self.kind == "tokens first" else 0


def read_layout(
    shape: torch.Size,
    images: torch.Size,
    prefix: int | None = None,
    grid: tuple[int, int] | None = None,
    last: bool = False,
    tokens_first: bool = False,
) -> SpatialLayout | None:
    """Determine the layout of an output from its shape; None where it is no map.

    Parameters
    ----------
    shape : torch.Size
        Of the layer's output.
    images : torch.Size
        Of the images, (N, C, H, W): a map keeps their proportions, but for a cell of rounding.
    prefix : int, optional
        The number of tokens before the patches, as the network declares it.
    grid : tuple of int, optional
        The patch grid that the network names, for tokens; used where the count agrees.
    last : bool, default False
        Whether the layer normalises its last axis: where both readings fit, channels are there.
    tokens_first : bool, default False
        Whether tokens come before images where there are as many of both.
    """
    count, side = images[0], (int(images[2]), int(images[3]))
    if len(shape) == 3:
        turned = shape[1] == count and (tokens_first or shape[0] != count)
        if not turned and shape[0] != count:
            return None
        found = _tokens(int(shape[0 if turned else 1]), side, prefix, grid)
        return replace(found, kind="tokens first") if found is not None and turned else found
    if len(shape) != 4 or shape[0] != count:
        return None
    readings: list[tuple[Kind, tuple[int, int]]] = [
        ("channels first", (int(shape[2]), int(shape[3]))),
        ("channels last", (int(shape[1]), int(shape[2]))),
    ]
    for kind, cells in reversed(readings) if last else readings:
        if is_grid(cells, side):
            return SpatialLayout(kind, cells)
    return None


def is_grid(cells: tuple[int, int], side: tuple[int, int]) -> bool:
    """Say whether a grid has more than one place and the image's proportions."""
    height, width = cells
    return height * width > 1 and abs(height * side[1] - width * side[0]) < max(side)


def _tokens(
    count: int, side: tuple[int, int], prefix: int | None, grid: tuple[int, int] | None
) -> SpatialLayout | None:
    """Find the grid of `count` tokens; without a known prefix the largest grid that fits."""
    if grid is not None:
        before = count - grid[0] * grid[1]
        known = before == prefix if prefix is not None else 0 <= before <= _MOST_PREFIX_TOKENS
        if known and is_grid(grid, side):
            return SpatialLayout("tokens", grid, before)
    # Blocks of a network with a class token may run without it (CaiT).
    prefixes = range(_MOST_PREFIX_TOKENS + 1) if prefix is None else (prefix, 0)
    for before in prefixes:
        cells = _proportioned(count - before, side)
        if cells is not None:
            return SpatialLayout("tokens", cells, before)
    return None


def _proportioned(places: int, side: tuple[int, int]) -> tuple[int, int] | None:
    """Return the rows and columns, nearest to the image's proportions, that make `places`."""
    fitting = [
        (height, places // height)
        for height in range(1, places + 1)
        if places % height == 0 and is_grid((height, places // height), side)
    ]
    if not fitting:
        return None
    return min(fitting, key=lambda cells: abs(cells[0] * side[1] - cells[1] * side[0]))
