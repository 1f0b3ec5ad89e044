"""One image sent through a network to see what its layers put out and what that depends on.

The pass keeps autograd's graph without any of the values in it: the graph tells which outputs come
from the image, and which lead to the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.spatial_layout import SpatialLayout, read_layout
from seewhy.explanation.targets import Target, find_scores
from seewhy.explanation.thread_turns import hooked
from seewhy.explanation.wrappers import layer_names, uncompiled, unwrapped

Node = Any

# What may be between the last layer and the output without making it another one.
_HARMLESS = {
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Permute", "Transpose", "T",
    "Clone", "ToCopy", "Alias", "Slice", "Select", "Softmax", "LogSoftmax", "Sigmoid", "Clamp",
    "PixelShuffle", "ConstantPadNd", "AsStrided", "UpsampleNearest2D", "UpsampleBilinear2D",
    "UpsampleBicubic2D", "UpsampleBilinear2DAa", "UpsampleBicubic2DAa",
}  # fmt: skip
# They hold weights: what they make of an output is no choice among its values.
_WEIGHING = {"Addmm", "Mm", "Mv", "Bmm", "Baddbmm", "Convolution", "Linear"}


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """A module's call."""

    name: str
    module: nn.Module
    output: Tensor  # what it put out, the first of several
    # Its layout; None where it is no map, or not the module's only output.
    layout: SpatialLayout | None
    # began and ended: how many calls had ended when it began, and when it ended.
    began: int
    ended: int

    @property
    def node(self) -> Node:
        """Autograd's node that made the output; None where no graph was kept."""
        return self.output.grad_fn


@dataclass(frozen=True)
class TracedPass:
    """What one image's forward pass showed."""

    visits: list[ModuleCall]  # in the order of their ends
    traced: bool = False  # whether autograd's graph leads from the image to the scores
    # What is explained; all outputs where that is not clear.
    scores: list[Tensor] = field(default_factory=list)
    # Those outputs of the model whose values are the scores, in part or in sum.
    outputs: list[Tensor] = field(default_factory=list)
    # Without a graph: when the calls ended that put out the same for another image.
    fixed: frozenset[int] = frozenset()


def watch(model: nn.Module, image: Tensor, target: Target | None = None) -> TracedPass:
    """Run a model once for an image (1, C, H, W) and note what every module puts out.

    The caller holds the model, see `evaluating`; it is as before afterwards.
    """
    model = unwrapped(model)
    with frozen(model), uncompiled(), torch.inference_mode(False):
        try:
            found = _traced(model, image, target)
        # Models that leave autograd (NumPy, integers, custom kernels) may refuse such an image.
        except (RuntimeError, TypeError):
            found = TracedPass([])
        return found if found.traced else _plain(model, image, target)


def _traced(model: nn.Module, image: Tensor, target: Target | None) -> TracedPass:
    visits: list[ModuleCall] = []
    leaf = image.detach().clone().requires_grad_()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(_drop, _keep):
        with _watching(model, image, visits):
            # A copy: models may change their input in place, which a leaf does not allow.
            output = model(leaf.clone())
        scores, outputs = _outcome(output, target, len(image))
    return TracedPass(visits, any(t.requires_grad for t in scores), scores, outputs)


def _drop(value: Tensor) -> None:
    """Keep nothing for a backward that never comes."""


def _keep(value: None) -> Tensor:
    raise RuntimeError("this graph has no values")


def _plain(model: nn.Module, image: Tensor, target: Target | None) -> TracedPass:
    """Run without a graph; what is the same for another image does not depend on it."""
    visits: list[ModuleCall] = []
    fixed: set[int] = set()
    with torch.no_grad():
        with _watching(model, image, visits):
            output = model(image)
        scores, outputs = _outcome(output, target, len(image))
        if not image.is_meta:
            again: list[ModuleCall] = []
            with torch.random.fork_rng(devices=[]), _watching(model, image, again):
                noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
                model(image + noise.to(image))
            if [v.name for v in again] == [v.name for v in visits]:
                pairs = zip(visits, again, strict=True)
                fixed = {a.ended for a, b in pairs if _same(a.output, b.output)}
    return TracedPass(visits, False, scores, outputs, frozenset(fixed))


def _same(first: Tensor, second: Tensor) -> bool:
    """Say whether two outputs are equal, and not merely zero everywhere."""
    if first.is_quantized:
        first, second = first.dequantize(), second.dequantize()
    return torch.equal(first, second) and bool(first.any())


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switch gradients of all parameters off; afterwards they are as before."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asked:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_()


@contextmanager
def _watching(model: nn.Module, image: Tensor, visits: list[ModuleCall]) -> Iterator[None]:
    began: list[int] = []
    facts = token_facts(model)

    def before(module: nn.Module, inputs: object) -> None:
        began.append(len(visits))

    def after(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            start = began.pop()
            tensor = output[0] if isinstance(output, tuple) and output else output
            if not isinstance(tensor, Tensor):
                return
            layout = None
            # Only a tensor itself can be passed on in place of a layer's output.
            if tensor is output and tensor.is_floating_point() and not tensor.is_quantized:
                last = isinstance(module, nn.LayerNorm)
                layout = read_layout(tensor.shape, image.shape, *facts, last)
            visits.append(ModuleCall(name, module, tensor, layout, start, len(visits)))

        return hook

    named = layer_names(model).items()
    watched = [(name, m) for name, m in named if not isinstance(m, torch.jit.ScriptModule)]
    with hooked(
        after=[(module, after(name)) for name, module in watched],
        before=[(module, before) for _, module in watched],
    ):
        yield


def token_facts(model: nn.Module) -> tuple[int | None, tuple[int, int] | None]:
    """Read what timm's transformers say of themselves: prefix tokens and patch grid."""
    prefix: int | None = None
    grid: tuple[int, int] | None = None
    for module in model.modules():
        declared: Any = getattr(module, "num_prefix_tokens", None)
        if prefix is None and isinstance(declared, int):
            prefix = declared
            cells: Any = getattr(getattr(module, "patch_embed", None), "grid_size", None)
            grid = tuple(cells) if isinstance(cells, tuple | list) and len(cells) == 2 else None
    return prefix, grid


def _outcome(
    output: object, target: Target | None, count: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the scores, and the model's outputs that they are taken from as values."""
    given = list(_tensors(output))
    try:
        scores = [find_scores(output, target, count)]
    except ConfigError:
        # Said by the pass that is explained; here any output will do.
        return given, given
    if scores[0].grad_fn is None:
        return scores, given
    ends = {t.grad_fn for t in given if t.grad_fn is not None}
    met, passed = behind(scores[0].grad_fn, ends)
    if any(_operation(node) in _WEIGHING for node in passed):
        return scores, []
    return scores, [t for t in given if t.grad_fn in met]


def _tensors(output: object) -> Iterator[Tensor]:
    """Yield the tensors in a model's output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)
    elif hasattr(output, "__dict__"):
        for value in vars(output).values():
            yield from _tensors(value)


def behind(node: Node, ends: set[Node]) -> tuple[set[Node], set[Node]]:
    """Follow the graph from a node towards the image, as far as certain nodes.

    Returns those of `ends` that were reached, beyond which nothing is followed, and all other
    nodes on the way.
    """
    met: set[Node] = set()
    passed: set[Node] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in passed or node in met:
            continue
        if node in ends:
            met.add(node)
            continue
        passed.add(node)
        waiting.extend(parent for parent, _ in node.next_functions)
    return met, passed


def _operation(node: Node) -> str:
    """Return what a node differentiates: ``Upsample`` for ``UpsampleBackward0``."""
    name: str = node.name()
    return name.partition("Backward")[0]


def made_by(output: Tensor) -> set[Node]:
    """Return the nodes whose values an output shows: its own, through what is harmless."""
    node = output.grad_fn
    found: set[Node] = set()
    while node is not None:
        found.add(node)
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if _operation(node) not in _HARMLESS or len(parents) != 1:
            break
        node = parents[0]
    return found
