"""A backward for transformers that skips tokens nobody asks about.

A class token's logits have, behind the last attention, no gradient by any other token; autograd
multiplies their zeros all the same. Here linear layers, GELUs and attention leave those rows out:
the same gradients for a fraction of the work. Knows no modules, layers or methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Picking rows out and putting them back costs something too.
_FEW = 0.25


class FewTokens(TorchFunctionMode):
    """While active, layers on tokens (N, T, C) go back through the rows that have a gradient."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and _on_tokens(args, kwargs):
            return _Linear.apply(*args)
        if func is F.gelu and _on_tokens(args, {}):
            return _Gelu.apply(args[0], kwargs.get("approximate", "none"))
        if func is F.scaled_dot_product_attention and _is_plain(args, kwargs):
            return _Attention.apply(*args)
        return func(*args, **kwargs)


def _on_tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say whether tokens, and nothing else, have a gradient, and all is handed over in place."""
    if kwargs or not torch.is_grad_enabled() or not args or not isinstance(args[0], Tensor):
        return False
    others = [value for value in args[1:] if isinstance(value, Tensor)]
    tokens = args[0].ndim == 3 and args[0].requires_grad
    return tokens and not any(value.requires_grad for value in others)


def _is_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say whether attention is asked for without a mask, dropout or a scale of its own."""
    given = {name: value for name, value in kwargs.items() if value}
    return len(args) == 3 and not given and args[0].ndim == 4 and args[0].requires_grad


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.kind = tokens.dtype
        return F.linear(tokens, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients

        def back(rows: Tensor) -> Tensor:
            found: Tensor = (rows @ weight.to(rows.dtype)).to(ctx.kind)
            return found

        return _through_rows(back, gradient, weight.shape[1]), None, None


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, approximate: str) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.approximate = approximate
        return F.gelu(tokens, approximate=approximate)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (tokens,) = ctx.saved_tensors
        (gradient,) = gradients

        def back(rows: Tensor, inputs: Tensor) -> Tensor:
            found: Tensor = torch.ops.aten.gelu_backward(rows, inputs, approximate=ctx.approximate)
            return found

        return _through_rows(back, gradient, tokens.shape[-1], tokens), None


class _Attention(torch.autograd.Function):
    """Scaled dot-product attention; back from few queries by the formula, for those alone."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        return F.scaled_dot_product_attention(query, key, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        query, key, value = ctx.saved_tensors
        (gradient,) = gradients
        queries = _asked(gradient, dim=(0, 1, 3))
        if len(queries) > _FEW * gradient.shape[2]:
            with torch.enable_grad():
                leaves = [tensor.detach().requires_grad_() for tensor in (query, key, value)]
                return torch.autograd.grad(
                    F.scaled_dot_product_attention(*leaves), leaves, gradient
                )
        scale = query.shape[-1] ** -0.5
        asked, gradient = query[:, :, queries], gradient[:, :, queries]
        weights = (asked @ key.transpose(-2, -1) * scale).softmax(dim=-1)  # (N, H, R, T)
        by_weights = gradient @ value.transpose(-2, -1)
        by_scores = weights * (by_weights - (by_weights * weights).sum(-1, keepdim=True)) * scale
        by_query = torch.zeros_like(query)
        by_query[:, :, queries] = by_scores @ key
        return by_query, by_scores.transpose(-2, -1) @ asked, weights.transpose(-2, -1) @ gradient


def _asked(gradient: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return the indices along the one other axis at which a gradient is not zero."""
    # Several times as fast as comparing every value with zero.
    asked = (gradient.amax(dim=dim) != 0) | (gradient.amin(dim=dim) != 0)
    return asked.nonzero()[:, 0]


def _through_rows(
    back: Callable[..., Tensor], gradient: Tensor, channels: int, *inputs: Tensor
) -> Tensor:
    """Apply `back` to the gradient's rows that are not zero, or to all where those are many.

    Parameters
    ----------
    back : callable
        From rows (R, C') of the gradient, and of each of the inputs, to rows (R, channels).
    gradient : Tensor, (N, T, C')
    channels : int
    inputs : Tensor, (N, T, C')
    """
    rows = gradient.flatten(0, 1)
    others = [values.flatten(0, 1) for values in inputs]
    asked = _asked(rows, dim=1)
    if len(asked) > _FEW * len(rows):
        found = back(rows, *others)
    else:
        some = back(rows[asked], *(values[asked] for values in others))
        found = some.new_zeros(len(rows), channels)
        found[asked] = some
    return found.view(*gradient.shape[:2], channels)
