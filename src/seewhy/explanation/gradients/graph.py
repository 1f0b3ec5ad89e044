"""The graph that autograd kept, read node by node: what passes values on, and saved axes.

The only file that reads autograd's private attributes, and all of them through `attribute`.
Knows no modules: whatever wrote the operations, functional heads count.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

# Nodes and their parents are autograd's own; `Any`, since their saved values are attributes.
Node = Any

# What a rule may raise where a node is not what the rule expects: an attribute that this version
# of PyTorch lacks, or has with another meaning. Autograd continues from there.
UNSURE = (AttributeError, IndexError, RuntimeError, TypeError, ValueError)

# Their output shares the memory of their input.
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
    return node.name() in VIEWS | _COPIES


def skip(node: Node) -> Node:
    """Return the first node, from `node` towards the leaf, that does more than pass values on."""
    while node is not None and passes_on(node):
        node = node.next_functions[0][0]
    return node


def attribute(node: Node, name: str) -> Any:
    """Return a private attribute of a node; AttributeError where this PyTorch has none."""
    return getattr(node, name)


def saved(node: Node, name: str) -> Any:
    """Return what a node saved for its backward under a name.

    Raises ValueError where a hook packed the tensor, as checkpointing and offloading do: each
    reading would compute it again.
    """
    raw = f"_raw_saved_{name}"
    if hasattr(node, raw) and attribute(attribute(node, raw), "unpack_hook") is not None:
        raise ValueError(f"{name} is packed")
    return attribute(node, f"_saved_{name}")


def shape_of(node: Node, place: int = 0) -> torch.Size:
    """Return the shape of what a node put out."""
    return torch.Size(int(side) for side in attribute(node, "_input_metadata")[place].shape)


def dtype_of(node: Node, place: int = 0) -> torch.dtype:
    """Return the type of what a node put out."""
    found: torch.dtype = attribute(node, "_input_metadata")[place].dtype
    return found


def device_of(node: Node, place: int = 0) -> torch.device:
    """Return the device of what a node put out."""
    found: torch.device = attribute(node, "_input_metadata")[place].device
    return found


def count_hooks() -> int | None:
    """Count the hooks that were ever registered on tensors, nodes and modules in this process.

    A node does not tell which hooks it has; but every hook has a handle, and handles are numbered.
    Two counts are of use only by their difference: 1 where nothing was registered in between. None
    where this PyTorch does not number handles.
    """
    try:
        return int(attribute(RemovableHandle(OrderedDict()), "id"))
    except UNSURE:
        return None


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
    if parents[place] is None or (node.name() == "AddmmBackward0" and saved(node, "alpha") != 1):
        return None
    weight: Tensor = saved(node, "mat2")
    return weight.t()


def input_of_linear(node: Node) -> int | None:
    """Return which of a linear layer's parents is its input; None for any other node."""
    return {"AddmmBackward0": 1, "MmBackward0": 0}.get(node.name())
