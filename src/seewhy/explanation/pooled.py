"""Recognises pooling and a linear layer behind a recorded map, from the graph autograd kept.

Then the gradient of every logit is known without a backward: W / Z, the same at every place.
What the graph does not say plainly is left to autograd. Knows no modules: functional heads count.
"""

from __future__ import annotations

from torch import Tensor

from seewhy.explanation.graph import input_of_linear, saved_weight, signed, skip
from seewhy.explanation.layout import Layout


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
    node = skip(logits.grad_fn)
    weight = None if node is None else saved_weight(node)
    if weight is None:
        return None
    mean = skip(node.next_functions[input_of_linear(node)][0])
    if mean is None or mean.name() != "MeanBackward1" or layout.prefix:
        return None
    axes = {signed(axis) % leaf.ndim for axis in mean._saved_dim}
    begin = skip(mean.next_functions[0][0])
    channels = leaf.shape[layout.channel_axis]
    if (
        axes != set(layout.places)
        or tuple(mean._saved_self_sym_sizes) != tuple(leaf.shape)
        or getattr(begin, "variable", None) is not leaf
        or tuple(weight.shape) != (logits.shape[1], channels)
    ):
        return None
    return weight.detach().float()
