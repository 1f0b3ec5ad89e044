"""Rules for one node of a graph: from K gradients by its output to those by its inputs.

Each is the derivative of the operation the node is named after, read from what autograd saved. A
rule applies only to what it is sure of: otherwise it returns None, or raises one of `UNSURE`, and
autograd continues from the node. Knows nodes, neither networks nor what the gradients are for.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from seewhy.explanation.gradients.compact import DenseGradients, Gradient, TokenGradients
from seewhy.explanation.gradients.graph import (
    Node,
    device_of,
    dtype_of,
    passes_on,
    saved,
    saved_weight,
    shape_of,
    signed,
)

# The node before, and which of its outputs; with the gradient by that.
Parent = tuple[Node, int]
Step = tuple[Node, int, Gradient]
# Gradients whose values are there to compute with.
Known = DenseGradients | TokenGradients


def go_back(node: Node, gradient: Known, most: int) -> list[Step] | None:
    """Return the gradients by the inputs of a node with one output; None where there is no rule.

    There is none where a dense gradient would have more values per score than `most`.
    """
    parents = [(parent, place) for parent, place in node.next_functions if parent is not None]
    if not all(_plain(gradient, parent) for parent in parents):
        return None
    grows = any(shape_of(*parent).numel() > most for parent in parents)
    if grows and isinstance(gradient, DenseGradients):
        return None
    if node.name() == "AddBackward0":
        return _sum(node, gradient, parents)
    rule = _passing if passes_on(node) else _RULES.get(node.name())
    if rule is None or len(parents) != 1:
        return None
    (parent,) = parents
    found = rule(node, gradient, parent)
    if found is None:
        return None
    return [(*parent, found.like(found.values.to(dtype_of(*parent))))]


def _plain(gradient: Known, parent: Parent) -> bool:
    """Say whether an input is real and on the gradient's device, as every rule expects."""
    values = gradient.values
    return (
        values.is_floating_point()
        and dtype_of(*parent).is_floating_point
        and device_of(*parent) == values.device
    )


def _by_token(gradient: Known) -> bool:
    """Say whether the last axis is a token's channels; what is dense has them all anyway."""
    if isinstance(gradient, DenseGradients):
        return True
    _, count, _, channels = gradient.values.shape
    *before, last = gradient.shape
    return last == channels and prod(before) == count * gradient.places


def _sum(node: Node, gradient: Known, parents: list[Parent]) -> list[Step] | None:
    """Give each summand the sum's gradient, except where one was repeated or multiplied."""
    same = all(
        shape_of(*parent) == shape_of(node) and dtype_of(*parent) == dtype_of(node)
        for parent in parents
    )
    if saved(node, "alpha") != 1 or not same:
        return None
    return [(*parent, gradient) for parent in parents]


def _passing(node: Node, gradient: Known, parent: Parent) -> Known | None:
    shape, values = shape_of(*parent), gradient.values
    if isinstance(gradient, DenseGradients):
        return DenseGradients(values.reshape(len(values), *shape))
    return gradient.seen_as(shape, values)


def _linear(node: Node, gradient: Known, parent: Parent) -> Known | None:
    weight = saved_weight(node)
    if weight is None or not _by_token(gradient):
        return None
    values = gradient.values
    found = (values.flatten(0, -2) @ weight).view(*values.shape[:-1], weight.shape[1])
    if isinstance(gradient, DenseGradients):
        return DenseGradients(found)
    return gradient.seen_as(shape_of(*parent), found)


def _convolution(node: Node, gradient: Known, parent: Parent) -> Known | None:
    """Go back through a kernel as large as its map: a linear layer on all its values."""
    weight: Tensor = saved(node, "weight")
    shape = shape_of(*parent)
    whole = (
        isinstance(gradient, DenseGradients)
        and not saved(node, "transposed")
        and weight.shape[1:] == shape[1:]
        and set(shape_of(node)[2:]) == {1}
        and not any(saved(node, "padding"))
    )
    if not whole:
        return None
    rows = gradient.values.flatten(0, 1).flatten(1)  # (K·N, O)
    if weight.is_contiguous():
        return DenseGradients((rows @ weight.flatten(1)).view(-1, *shape))
    # As a weight with channels last is it is a matrix too: places, then channels.
    last = rows @ weight.movedim(1, -1).flatten(1)
    return DenseGradients(last.view(-1, shape[0], *shape[2:], shape[1]).movedim(-1, 2))


def _relu(node: Node, gradient: Known, parent: Parent) -> Known | None:
    result = gradient.of(saved(node, "result"))
    return gradient.like(torch.where(result <= 0, 0, gradient.values))


def _gelu(node: Node, gradient: Known, parent: Parent) -> Known | None:
    inputs = gradient.of(saved(node, "self")).expand_as(gradient.values)
    found = torch.ops.aten.gelu_backward(
        gradient.values, inputs, approximate=saved(node, "approximate")
    )
    return gradient.like(found)


def _multiplied(node: Node, gradient: Known, parent: Parent) -> Known | None:
    first = node.next_functions[0][0] is not None
    factor = _factor(node, gradient, parent, "other" if first else "self")
    return None if factor is None else gradient.like(gradient.values * factor)


def _divided(node: Node, gradient: Known, parent: Parent) -> Known | None:
    """Go back through ``x / constant``; ``constant / x`` has another derivative, autograd's."""
    if node.next_functions[0][0] is None:
        return None
    divisor = _factor(node, gradient, parent, "other")
    return None if divisor is None else gradient.like(gradient.values / divisor)


def _factor(node: Node, gradient: Known, parent: Parent, name: str) -> Tensor | None:
    """Return a factor without a gradient: one number, or one for each channel."""
    factor: Tensor | None = saved(node, name)
    if factor is None or factor.ndim > 1 or factor.is_complex():
        return None
    if shape_of(*parent) != shape_of(node):
        return None
    if factor.ndim == 1 and not _by_token(gradient):
        return None
    return factor


def _layer_norm(node: Node, gradient: Known, parent: Parent) -> Known | None:
    r"""Go back through :math:`x̂ w + b` with :math:`x̂ = (x − μ) r` over the last axis.

    .. math:: \partial x = r (u − \overline{u} − x̂\, \overline{u x̂}), \quad u = w\, \partial y

    Sums over channels are at least float32, as autograd's kernels keep them.
    """
    if len(saved(node, "normalized_shape")) != 1 or not _by_token(gradient):
        return None
    kind = torch.promote_types(gradient.values.dtype, torch.float32)
    inputs, mean, scale = (
        gradient.of(saved(node, name).to(kind)) for name in ("input", "result1", "result2")
    )
    weight: Tensor | None = saved(node, "weight")
    by_output = gradient.values.to(kind)
    by_normal = by_output if weight is None else by_output * weight
    normal = (inputs - mean) * scale
    along = (by_normal * normal).mean(-1, keepdim=True)
    return gradient.like(scale * (by_normal - by_normal.mean(-1, keepdim=True) - normal * along))


def _mean(node: Node, gradient: Known, parent: Parent) -> Known | None:
    shape, axes = shape_of(*parent), saved(node, "dim")
    # No axis at all means every axis.
    if isinstance(gradient, TokenGradients) or not axes or not shape:
        return None
    values, many = gradient.values, 1
    for axis in sorted(signed(axis) % len(shape) for axis in axes):
        values = values if saved(node, "keepdim") else values.unsqueeze(axis + 1)
        many *= shape[axis]
    return DenseGradients((values / many).expand(len(values), *shape))


def _select(node: Node, gradient: Known, parent: Parent) -> Known | None:
    """Go back from one token, of tokens (N, T, C), to all: the others' rows are zero."""
    shape = shape_of(*parent)
    if isinstance(gradient, TokenGradients) or len(shape) != 3:
        return None
    if signed(saved(node, "dim")) % 3 != 1:
        return None
    token = signed(saved(node, "index")) % shape[1]
    return TokenGradients(gradient.values[:, :, None], (token,), shape[1], shape)


_RULES: dict[str, Callable[[Node, Known, Parent], Known | None]] = {
    "AddmmBackward0": _linear,
    "MmBackward0": _linear,
    "ConvolutionBackward0": _convolution,
    "ReluBackward0": _relu,
    "GeluBackward0": _gelu,
    "MulBackward0": _multiplied,
    "DivBackward0": _divided,
    "NativeLayerNormBackward0": _layer_norm,
    "MeanBackward1": _mean,
    "SelectBackward0": _select,
}
