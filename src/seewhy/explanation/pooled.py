"""Recognises pooling and a linear layer behind a recorded map, from the graph autograd kept.

Then the gradient of every logit is known without a backward: W / Z, the same at every place.
What the graph does not say plainly is left to autograd. Knows no modules: functional heads count.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from seewhy.explanation.layout import Layout

# They move or copy values one to one, in their order.
_PASSING = {
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "CloneBackward0",
    "ToCopyBackward0",
}
_LINEAR = {"AddmmBackward0": 1, "MmBackward0": 0}
_WRAP = 1 << 63


def pooled_weight(logits: Tensor, leaf: Tensor, layout: Layout) -> Tensor | None:
    """Return W where ``logits = W · mean(leaf over all places) + b`` by construction.

    Parameters
    ----------
    logits : Tensor, (N, M)
        With its graph.
    leaf : Tensor
        The layer's output, at which the graph begins.
    layout : Layout
        How it lies.

    Returns
    -------
    Tensor, (M, C) float32, or None
        None where anything else, or more than that, lies between.
    """
    node = _skip(logits.grad_fn)
    if node is None or node.name() not in _LINEAR:
        return None
    inputs = [parent for parent, _ in node.next_functions]
    place = _LINEAR[node.name()]
    # Neither bias nor weight may hang on the map.
    if any(parent is not None for i, parent in enumerate(inputs) if i != place):
        return None
    if getattr(node, "_saved_alpha", 1) != 1:
        return None
    weight: Tensor = node._saved_mat2
    mean = _skip(inputs[place])
    if mean is None or mean.name() != "MeanBackward1" or layout.prefix:
        return None
    axes = {_signed(axis) % leaf.ndim for axis in mean._saved_dim}
    begin = _skip(mean.next_functions[0][0])
    channels = leaf.shape[layout.channel_axis]
    if (
        axes != set(layout.places)
        or tuple(mean._saved_self_sym_sizes) != tuple(leaf.shape)
        or getattr(begin, "variable", None) is not leaf
        or tuple(weight.shape) != (channels, logits.shape[1])
    ):
        return None
    return weight.detach().float().t()


def _skip(node: Any) -> Any:
    """Return the first node, from `node` towards the leaf, that does more than pass values on."""
    while node is not None and node.name() in _PASSING:
        node = node.next_functions[0][0]
    return node


def _signed(axis: int) -> int:
    """Read an axis that autograd hands out as an unsigned number."""
    return axis - 2 * _WRAP if axis >= _WRAP else axis
