"""Rules for one node of a graph: from K gradients by its output to those by its inputs.

Each is the derivative of the operation the node is named after, read from what autograd saved; a
rule that does not apply says None. Knows nodes, neither networks nor what the gradients are for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from seewhy.explanation.compact import Dense, Gradient, Rows
from seewhy.explanation.graph import (
    Node,
    dtype_of,
    passes_on,
    saved_weight,
    shape_of,
    signed,
)

# The node before, which of its outputs, and the gradient by that.
Step = tuple[Node, int, Gradient]


def go_back(node: Node, gradient: Dense | Rows, most: int) -> list[Step] | None:
    """Return the gradients by a node's inputs, or None where there is no rule.

    Parameters
    ----------
    node : node
        With a single output.
    gradient : Dense or Rows
        By that.
    most : int
        Where a dense gradient would have more values a score than these, there is no rule.
    """
    parents = [(parent, place) for parent, place in node.next_functions if parent is not None]
    if any(shape_of(*parent).numel() > most for parent in parents) and isinstance(gradient, Dense):
        return None
    if node.name() == "AddBackward0":
        return _sum(node, gradient, parents)
    rule = _passing if passes_on(node) else _RULES.get(node.name())
    if rule is None or len(parents) != 1:
        return None
    (parent,) = parents
    found = rule(node, gradient, parent)
    return None if found is None else [(*parent, found)]


Parent = tuple[Node, int]


def _sum(node: Node, gradient: Dense | Rows, parents: list[Parent]) -> list[Step] | None:
    """Give each summand the sum's gradient, but where one was repeated or multiplied."""
    same = all(
        shape_of(*parent) == shape_of(node) and dtype_of(*parent) == dtype_of(node)
        for parent in parents
    )
    if node._saved_alpha != 1 or not same:
        return None
    return [(*parent, gradient) for parent in parents]


def _passing(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    shape, kind = shape_of(*parent), dtype_of(*parent)
    values = gradient.values.to(kind)
    if isinstance(gradient, Dense):
        return Dense(values.reshape(len(values), *shape))
    return gradient.seen_as(shape, values)


def _linear(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    weight = saved_weight(node)
    if weight is None:
        return None
    values = gradient.values
    found = (values.flatten(0, -2) @ weight).view(*values.shape[:-1], weight.shape[1])
    if isinstance(gradient, Dense):
        return Dense(found)
    return gradient.seen_as(shape_of(*parent), found)


def _convolution(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    """Go back through a kernel as large as its map: a linear layer on all its values."""
    weight: Tensor = node._saved_weight
    shape = shape_of(*parent)
    whole = (
        isinstance(gradient, Dense)
        and not node._saved_transposed
        and weight.shape[1:] == shape[1:]
        and set(shape_of(node)[2:]) == {1}
        and not any(node._saved_padding)
    )
    if not whole:
        return None
    rows = gradient.values.flatten(0, 1).flatten(1)  # (K·N, O)
    if weight.is_contiguous():
        return Dense((rows @ weight.flatten(1)).view(-1, *shape))
    # As a weight with channels last lies it is a matrix too: places, then channels.
    last = rows @ weight.movedim(1, -1).flatten(1)
    return Dense(last.view(-1, shape[0], *shape[2:], shape[1]).movedim(-1, 2))


def _relu(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    result = gradient.of(node._saved_result)
    return gradient.like(torch.where(result > 0, gradient.values, 0))


def _gelu(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    inputs = gradient.of(node._saved_self).expand_as(gradient.values)
    found = torch.ops.aten.gelu_backward(
        gradient.values, inputs, approximate=node._saved_approximate
    )
    return gradient.like(found)


def _scaled(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    """Go back through a factor or divisor without a gradient, one number or one a channel."""
    first = node.next_functions[0][0] is not None
    factor: Tensor | None = node._saved_other if first else node._saved_self
    shape = shape_of(*parent)
    if factor is None or factor.ndim > 1 or shape != shape_of(node):
        return None
    if factor.ndim == 1 and isinstance(gradient, Rows) and len(factor) != gradient.values.shape[3]:
        return None
    divided = node.name() == "DivBackward0"
    found = gradient.values / factor if divided else gradient.values * factor
    return gradient.like(found.to(dtype_of(*parent)))


def _layer_norm(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    r"""Go back through :math:`x̂ w + b` with :math:`x̂ = (x − μ) r` over the last axis.

    .. math:: \partial x = r (u − \overline{u} − x̂\, \overline{u x̂}), \quad u = w\, \partial y
    """
    if len(node._saved_normalized_shape) != 1:
        return None
    inputs, mean, scale = (
        gradient.of(values)
        for values in (node._saved_input, node._saved_result1, node._saved_result2)
    )
    weight: Tensor | None = node._saved_weight
    by_normal = gradient.values if weight is None else gradient.values * weight
    normal = (inputs - mean) * scale
    along = (by_normal * normal).mean(-1, keepdim=True)
    found = scale * (by_normal - by_normal.mean(-1, keepdim=True) - normal * along)
    return gradient.like(found.to(dtype_of(*parent)))


def _mean(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    if isinstance(gradient, Rows):
        return None
    shape = shape_of(*parent)
    axes = sorted(signed(axis) % len(shape) for axis in node._saved_dim)
    values, many = gradient.values, 1
    for axis in axes:
        values = values if node._saved_keepdim else values.unsqueeze(axis + 1)
        many *= shape[axis]
    return Dense((values / many).expand(len(values), *shape))


def _select(node: Node, gradient: Dense | Rows, parent: Parent) -> Gradient | None:
    """Go back from one token, of tokens (N, T, C), to all: the others' rows are zero."""
    shape = shape_of(*parent)
    if isinstance(gradient, Rows) or len(shape) != 3 or signed(node._saved_dim) % 3 != 1:
        return None
    token = signed(node._saved_index) % shape[1]
    return Rows(gradient.values[:, :, None], (token,), shape[1], shape)


_RULES: dict[str, Callable[[Node, Dense | Rows, Parent], Gradient | None]] = {
    "AddmmBackward0": _linear,
    "MmBackward0": _linear,
    "ConvolutionBackward0": _convolution,
    "ReluBackward0": _relu,
    "GeluBackward0": _gelu,
    "MulBackward0": _scaled,
    "DivBackward0": _scaled,
    "NativeLayerNormBackward0": _layer_norm,
    "MeanBackward1": _mean,
    "SelectBackward0": _select,
}
