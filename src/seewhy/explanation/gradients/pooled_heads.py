"""Recognises pooling and a linear layer behind a recorded map, from the graph autograd kept.

Then the gradient of every logit is known without a backward: W / Z, the same at every place.
What the graph does not say plainly is left to autograd. Knows no modules: functional heads count.
"""

from __future__ import annotations

from torch import Tensor

from seewhy.explanation.gradients.graph import (
    UNSURE,
    Node,
    attribute,
    input_of_linear,
    saved,
    saved_weight,
    signed,
    skip,
)
from seewhy.explanation.spatial_layout import SpatialLayout

_LEAF = "torch::autograd::AccumulateGrad"


def pooled_weight(logits: Tensor, leaf: Tensor, layout: SpatialLayout) -> Tensor | None:
    """Return W (M, C) where ``logits = W · mean(leaf over all places) + b`` by construction.

    float32. The leaf is a layer's output, of the given layout, at which the graph of the logits
    (N, M) starts. None where anything else, or more than that, is between.
    """
    try:
        return _pooled_weight(logits, leaf, layout)
    except UNSURE:
        return None


def _pooled_weight(logits: Tensor, leaf: Tensor, layout: SpatialLayout) -> Tensor | None:
    node = skip(logits.grad_fn)
    weight = None if node is None else saved_weight(node)
    if weight is None:
        return None
    mean = _mean_behind(node.next_functions[input_of_linear(node)][0], leaf, layout)
    if mean is None or mean.name() != "MeanBackward1" or layout.prefix:
        return None
    axes = {signed(axis) % leaf.ndim for axis in saved(mean, "dim")}
    begin = skip(mean.next_functions[0][0])
    channels = leaf.shape[layout.channel_axis]
    if (
        axes != set(layout.places)
        or tuple(saved(mean, "self_sym_sizes")) != tuple(leaf.shape)
        or begin.name() != _LEAF
        or attribute(begin, "variable") is not leaf
        or tuple(weight.shape) != (logits.shape[1], channels)
    ):
        return None
    return weight.detach().float()


def _mean_behind(node: Node, leaf: Tensor, layout: SpatialLayout) -> Node:
    """Return what a linear layer takes; PyTorch's pools of channels-last maps restride their mean.

    They do so by `as_strided_`, which passes values on in their order only where images come
    before channels in memory.
    """
    node = skip(node)
    if node is None or node.name() != "AsStridedBackward1":
        return node
    count, channels = leaf.shape[0], leaf.shape[layout.channel_axis]
    sizes = tuple(int(side) for side in saved(node, "size"))
    steps = tuple(int(step) for step in saved(node, "stride"))
    if (
        sizes != (count, channels, *(1 for _ in layout.places))
        or (count > 1 and steps[0] != channels)
        or (channels > 1 and steps[1] != 1)
        or leaf.stride(0) < leaf.stride(layout.channel_axis)
    ):
        return None
    return skip(node.next_functions[0][0])
