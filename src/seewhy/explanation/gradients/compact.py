"""K gradients at once, in as little memory as they need.

Dense, or the rows of the few tokens that have one, or something that makes them when asked. Knows
shapes alone: no graph, no networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class DenseGradients:
    """K gradients with all their values, (K, …)."""

    values: Tensor

    def one(self, k: int) -> Tensor:
        """Return the k-th."""
        return self.values[k]

    def of(self, values: Tensor) -> Tensor:
        """Return what belongs to the gradient's values: all."""
        return values

    def like(self, values: Tensor) -> DenseGradients:
        """Return other gradients of the same shape."""
        return DenseGradients(values)


@dataclass(frozen=True)
class TokenGradients:
    """K gradients by tokens, few of which have one."""

    values: Tensor  # (K, N, R, C)
    tokens: tuple[int, ...]  # which R of the T tokens they belong to
    places: int  # T
    shape: torch.Size  # of each gradient: (N, T, …) or (N·T, C), C values a token

    def one(self, k: int) -> Tensor:
        """Return the k-th, zeros filled in."""
        rows = self.values[k]
        filled = rows.new_zeros(len(rows), self.places, rows.shape[2])
        filled[:, self.tokens] = rows
        return filled.view(self.shape)

    def of(self, values: Tensor) -> Tensor:
        """Return the rows (N, R, C) of values (N, T, C) or (N·T, C)."""
        return values.reshape(self.values.shape[1], self.places, -1)[:, self.tokens]

    def like(self, values: Tensor) -> TokenGradients:
        """Return other gradients of the same tokens and shape."""
        return replace(self, values=values)

    def seen_as(self, shape: torch.Size, values: Tensor) -> TokenGradients | None:
        """Return gradients of another shape, or None where that tears tokens apart.

        The rows get the new values (K, N, R, C').
        """
        count, channels = values.shape[1], values.shape[3]
        apart = tuple(shape[:2]) == (count, self.places)
        flat = tuple(shape) == (count * self.places, channels)
        if not (flat or apart) or shape.numel() != count * self.places * channels:
            return None
        return replace(self, values=values, shape=shape)


@dataclass(frozen=True)
class LazyGradients:
    """K gradients that are made one by one: `one` returns the k-th."""

    one: Callable[[int], Tensor]


Gradient = DenseGradients | TokenGradients | LazyGradients


def together(first: Gradient, second: Gradient) -> Gradient:
    """Return the sum of two gradients of the same shape."""
    if isinstance(first, DenseGradients) and isinstance(second, DenseGradients):
        return DenseGradients(first.values + second.values)
    if isinstance(first, TokenGradients) and isinstance(second, TokenGradients):
        if first.tokens == second.tokens:
            return first.like(first.values + second.values)
        if not set(first.tokens) & set(second.tokens):
            values = torch.cat([first.values, second.values], dim=2)
            return replace(first, values=values, tokens=first.tokens + second.tokens)
    return LazyGradients(lambda k: first.one(k) + second.one(k))
