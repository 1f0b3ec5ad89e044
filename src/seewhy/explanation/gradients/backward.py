"""The backward pass from K scores at once, as far as that is worth it; autograd does the rest.

Autograd goes back one score at a time: ten classes read a linear layer's weights ten times, and a
class token's logits send the zeros of all other tokens through a whole block. Here the graph that
autograd kept is read from the logits on. Nodes that a rule is sure of are done for all scores
together; from the first other node autograd takes over, score by score. Whatever the network, the
gradients are autograd's. Knows no modules, layers or methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from seewhy.errors import ConfigError
from seewhy.explanation.gradients.attention_rules import back_through_attention
from seewhy.explanation.gradients.compact import (
    DenseGradients,
    Gradient,
    LazyGradients,
    TokenGradients,
    together,
)
from seewhy.explanation.gradients.derivatives import Step, go_back
from seewhy.explanation.gradients.graph import UNSURE, Node, count_uses

# So many values of gradients by a leaf may be in memory at once: 64 MiB of float32.
_BUDGET = 1 << 24


def gradients_of(
    logits: Tensor, leaf: Tensor, coefficients: Callable[[int], Tensor], columns: int
) -> Iterator[Tensor | None]:
    """Yield the gradient of each of K = `columns` scores by a leaf, or None where there is none.

    The graph from the leaf to the logits (N, M) is gone after the last; ``coefficients(k)`` is the
    derivative of score k by the logits.
    """
    chunk = max(1, _BUDGET // max(leaf.numel(), logits.numel()))
    for start in range(0, columns, chunk):
        asked = range(start, min(start + chunk, columns))
        # The caller's autocast is for the forward pass: the types of saved values are chosen.
        with torch.autocast(logits.device.type, enabled=False):
            by_logits = torch.stack([coefficients(k) for k in asked])
            edges = _walk(logits.grad_fn, logits.output_nr, by_logits, leaf.numel())
        for k in asked:
            with torch.autocast(logits.device.type, enabled=False):
                gradients = [edge.gradient.one(k - start) for edge in edges]
            (found,) = differentiate(
                [GradientEdge(edge.node, edge.place) for edge in edges],
                [leaf],
                gradients,
                retain_graph=k + 1 < columns,
            )
            yield found


def differentiate(
    outputs: Sequence[Tensor] | Sequence[GradientEdge],
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor],
    *,
    retain_graph: bool,
    create_graph: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return autograd's gradients, outside the caller's autocast as PyTorch recommends.

    Raises ConfigError for what a network does that no gradient by a layer goes through.
    """
    try:
        with torch.autocast(inputs[0].device.type, enabled=False):
            return torch.autograd.grad(
                outputs,
                inputs,
                gradients,
                retain_graph=retain_graph,
                create_graph=create_graph,
                allow_unused=True,
            )
    except RuntimeError as error:
        for sign, sentence in _REFUSED.items():
            if sign in str(error):
                raise ConfigError(f"model: {sentence}") from error
        raise


# What PyTorch says, and what that means here.
_REFUSED = {
    "use_reentrant": "it calls torch.utils.checkpoint with use_reentrant=True, which gives no "
    "gradient by a layer; pass use_reentrant=False there, or switch checkpointing off",
    "modified by an inplace operation": "it overwrites in place a value that its own gradient "
    "needs, so nothing can be differentiated through it; make that operation not in place",
}


class _AutogradEdge(NamedTuple):
    """Where autograd takes over: an output of a node, and K gradients by it."""

    node: Node
    place: int
    gradient: Gradient


def _walk(root: Node, place: int, asked: Tensor, most: int) -> list[_AutogradEdge]:
    """Take gradients (K, N, M) by the logits back through the graph, as far as there are rules.

    All edges belong together: the leaf's gradient is the sum of what autograd makes of each. A
    node is taken once every use of its output was; a node that some rule jumped over is left to
    autograd with what else arrived there. The logits are output `place` of the node `root`; for
    `most` see `go_back`.
    """
    uses = count_uses(root)
    arrived: dict[Node, dict[int, Gradient]] = {root: {place: DenseGradients(asked)}}
    ready = [root]
    while ready:
        node = ready.pop()
        steps = _steps(node, arrived[node], most)
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
        _AutogradEdge(node, place, gradient)
        for node, gradients in arrived.items()
        for place, gradient in gradients.items()
    ]


def _steps(node: Node, arrived: dict[int, Gradient], most: int) -> list[Step] | None:
    """Return the gradients by a node's inputs, or None where autograd has to continue."""
    gradient = arrived.get(0)
    if len(arrived) > 1 or gradient is None or isinstance(gradient, LazyGradients):
        return None
    try:
        found = (
            back_through_attention(node, gradient) if isinstance(gradient, TokenGradients) else None
        )
        return go_back(node, gradient, most) if found is None else found
    except UNSURE:
        return None
