"""The graph that autograd kept, read node by node: what passes values on, and saved axes.

Knows no modules: whatever wrote the operations, functional heads count.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

# Nodes and their parents are autograd's own; `Any`, since their saved values are attributes.
Node = Any

# They show the very same memory.
VIEWS = {
    "ViewBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "UnsqueezeBackward0",
}
_COPIES = {"UnsafeViewBackward0", "CloneBackward0", "ToCopyBackward0"}
_WRAP = 1 << 63


def passes_on(node: Node) -> bool:
    """Say whether a node hands values on one to one, in their order (shape and type may change)."""
    name = node.name()
    return name in VIEWS or name in _COPIES or (name == "AsStridedBackward1" and _keeps(node))


def _keeps(node: Node) -> bool:
    """Say whether `as_strided` shows a mean again as it lies, as pools of channels-last maps do."""
    parent, _ = node.next_functions[0]
    size, stride = node._saved_size, node._saved_stride
    if parent is None or parent.name() != "MeanBackward1":
        return False
    # A mean over places is new memory, (N, C, 1, 1): whatever its format, in order.
    kept = [(int(n), int(s)) for n, s in zip(size, stride, strict=True) if n != 1]
    steps = 1
    expected: list[tuple[int, int]] = []
    for many, _ in reversed(kept):
        expected.insert(0, (many, steps))
        steps *= many
    shape = shape_of(parent)
    return tuple(size) == tuple(shape) and kept == expected and set(shape[2:]) <= {1}


def skip(node: Node) -> Node:
    """Return the first node, from `node` towards the leaf, that does more than pass values on."""
    while node is not None and passes_on(node):
        node = node.next_functions[0][0]
    return node


def shape_of(node: Node, place: int = 0) -> torch.Size:
    """Return the shape of what a node put out."""
    shape: torch.Size = node._input_metadata[place].shape
    return torch.Size(int(side) for side in shape)


def dtype_of(node: Node, place: int = 0) -> torch.dtype:
    """Return the type of what a node put out."""
    found: torch.dtype = node._input_metadata[place].dtype
    return found


def signed(axis: int) -> int:
    """Read an axis, or an index, that autograd hands out as an unsigned number."""
    return axis - 2 * _WRAP if axis >= _WRAP else axis


def count_uses(root: Node) -> Counter[Node]:
    """Count how often each node's output is used on the way to the root; keeps nodes alive."""
    uses: Counter[Node] = Counter({root: 0})
    waiting = [root]
    while waiting:
        for parent, _ in waiting.pop().next_functions:
            if parent is not None:
                if parent not in uses:
                    waiting.append(parent)
                uses[parent] += 1
    return uses


def saved_weight(node: Node) -> Tensor | None:
    """Return a linear layer's weight (O, I) where its input alone has a gradient, else None."""
    place = input_of_linear(node)
    parents = [parent for parent, _ in node.next_functions]
    if place is None or any(p is not None for i, p in enumerate(parents) if i != place):
        return None
    if parents[place] is None or getattr(node, "_saved_alpha", 1) != 1:
        return None
    weight: Tensor = node._saved_mat2
    return weight.t()


def input_of_linear(node: Node) -> int | None:
    """Return which of a linear layer's parents is its input; None for any other node."""
    return {"AddmmBackward0": 1, "MmBackward0": 0}.get(node.name())
