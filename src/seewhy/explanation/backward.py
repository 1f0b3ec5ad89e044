"""The way back from K scores at once, as far as that is worth it; autograd goes the rest.

Autograd goes back a score at a time: ten classes read a linear layer's weights ten times, and a
class token's logits send the zeros of all other tokens through a whole block. Here the graph that
autograd kept is read from the logits on. What there is a rule for is done for all scores together;
from where nothing more is known, autograd takes over, score by score. Whatever the network, the
gradients are autograd's. Knows no modules, layers or methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from seewhy.explanation.attended import back_through_attention
from seewhy.explanation.compact import Dense, Gradient, Made, Rows, together
from seewhy.explanation.derivatives import go_back
from seewhy.explanation.graph import Node, count_uses

# So many values of gradients by a leaf may lie in memory at once: 64 MiB of float32.
_BUDGET = 1 << 24


def gradients_of(
    logits: Tensor, leaf: Tensor, coefficients: Callable[[int], Tensor], columns: int
) -> Iterator[Tensor | None]:
    """Yield the gradient of each score by a leaf; the graph is gone after the last.

    Parameters
    ----------
    logits : Tensor, (N, M)
        With their graph.
    leaf : Tensor
        Where that begins.
    coefficients : callable
        From k to the derivative of score k by the logits, (N, M).
    columns : int
        How many scores K there are.

    Yields
    ------
    Tensor of the leaf's shape, or None
        None where the scores do not depend on the leaf.
    """
    plain = partial(torch.autocast, logits.device.type, enabled=False)
    chunk = max(1, _BUDGET // max(leaf.numel(), logits.numel()))
    for start in range(0, columns, chunk):
        asked = range(start, min(start + chunk, columns))
        # The caller's autocast is for the forward pass: the saved values' types are chosen.
        with plain():
            by_logits = torch.stack([coefficients(k) for k in asked])
            edges = _walk(logits.grad_fn, by_logits, leaf.numel())
        for k in asked:
            with plain():
                gradients = [edge.gradient.one(k - start) for edge in edges]
            (found,) = torch.autograd.grad(
                [GradientEdge(edge.node, edge.place) for edge in edges],
                [leaf],
                gradients,
                retain_graph=k + 1 < columns,
                allow_unused=True,
            )
            yield found


class _Edge(NamedTuple):
    """Where autograd takes over: an output of a node, and K gradients by it."""

    node: Node
    place: int
    gradient: Gradient


def _walk(root: Node, asked: Tensor, most: int) -> list[_Edge]:
    """Take gradients (K, N, M) by the logits back through the graph, as far as there are rules.

    What arrives at several edges belongs together: the leaf's gradient is the sum of what autograd
    makes of each. A node is taken when all that hangs on it was; one that some rule jumped over is
    left to autograd with what else arrived there.
    """
    uses = count_uses(root)
    arrived: dict[Node, dict[int, Gradient]] = {root: {0: Dense(asked)}}
    ready = [root]
    while ready:
        node = ready.pop()
        gradient = arrived[node].get(0)
        if len(arrived[node]) > 1 or gradient is None or isinstance(gradient, Made):
            continue
        steps = None
        if isinstance(gradient, Rows):
            steps = back_through_attention(node, gradient)
        if steps is None:
            steps = go_back(node, gradient, most)
        if steps is None:
            continue
        del arrived[node]
        for parent, place, found in steps:
            before = arrived.setdefault(parent, {})
            before[place] = together(before[place], found) if place in before else found
            uses[parent] -= 1
            if uses[parent] == 0:
                ready.append(parent)
    return [
        _Edge(node, place, gradient)
        for node, gradients in arrived.items()
        for place, gradient in gradients.items()
    ]
