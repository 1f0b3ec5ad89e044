"""The cut: where a trunk is divided into the frozen prefix and the tail that fine-tuning opens.

The trunk (timm's `forward_features`) is traced with torch.fx in evaluation mode; the cut is the
place nearest to the wanted share of weighted layers at which exactly one tensor is alive, so that
this tensor is all that need be kept. Knows nothing of weights, heads, data or training.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.models import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn

from seewhy.errors import BackboneError, first_line
from seewhy.models.names import architecture_of
from seewhy.storage.schemas.input_size import InputSize, shown_size, sides

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList)
_PASSING = (nn.Identity, nn.modules.dropout._DropoutNd, DropPath)
_PRODUCTS = (
    nn.functional.conv1d,
    nn.functional.conv2d,
    nn.functional.conv3d,
    nn.functional.linear,
)


@dataclass(frozen=True)
class Cut:
    """A trunk in two parts, ``tail(prefix(x)) == trunk(x)`` to the last bit in float32.

    Both parts share the model's own parameters, under the model's own names. They are in
    evaluation mode; their modules follow `train` and `eval` as usual. What timm writes as a
    function of `self.training` outside a module of its own (no convolutional family does by
    default) is fixed to evaluation.
    """

    prefix: fx.GraphModule  # images (B, 3, height, width) to the activation at the cut
    # That activation to the trunk's output (B, C, h, w). Its first operation may work in
    # place: hand it a copy of anything that is to be kept.
    tail: fx.GraphModule
    place: str  # the module whose output is the activation at the cut, for people
    # before and total: weighted layers before the cut, and in the trunk.
    before: int
    total: int
    shape: tuple[int, ...]  # (C, H, W) of one image's activation at the cut
    # Name, within `tail`, of the module whose output is the last spatial map; empty where
    # that is the tail's own output.
    last_map: str
    # Height and width of the maps that modules of the tail put out at this size, by their
    # names; the empty name is the tail itself.
    grids: dict[str, tuple[int, int]]
    # Modules of the tail that run once and whose output is all that the rest of the tail gets, in
    # the order they run: such a map is of the whole network, not of one branch.
    passages: tuple[str, ...]


def cut_trunk(model: nn.Module, open_share: float, size: InputSize) -> Cut:
    """Divide a timm model's trunk.

    Parameters
    ----------
    model : nn.Module
        With a `forward_features` that ends in a spatial map.
    open_share : float
        Share of the trunk's weighted layers (convolutions and linear layers, in the order in
        which they run) that the tail should hold, in 0 … 1. The tail holds at least one; so does
        the prefix, unless the share is 1.
    size : int, or height and width
        Of the input, pixels: of two places equally near, the one with the smaller activation at
        this size is taken, then the later one.

    Raises
    ------
    BackboneError
        Where the model cannot be traced, has no spatial map, cannot take this size, or has no
        place to cut.
    """
    graph = trace_trunk(model).graph
    shapes = trunk_shapes(model, graph, size)
    nodes = list(graph.nodes)
    counts = _running_counts(model, nodes)
    total, least = counts[-1], 0 if open_share == 1 else 1
    best: tuple[tuple[float, int, int], fx.Node] | None = None
    for index, alive in _places(nodes):
        shape = shapes.get(alive)
        if shape is None or len(shape) != 4 or shape[0] != 2 or not least <= counts[index] < total:
            continue
        off = abs(counts[index] - (1 - open_share) * total)
        # Rounding keeps ties of equally near places ties: 0.3 * 10 is not 3.
        rank = (round(off, 9), shape[1] * shape[2] * shape[3], -index)
        if best is None or rank < best[0]:
            best = (rank, alive)
    if best is None:
        raise BackboneError(
            f"{architecture_of(model)}: its trunk cannot be cut, as there is no place in it where "
            "exactly one tensor is alive; choose another backbone"
        )
    (_, _, negative), alive = best
    return _divide(model, nodes, -negative, alive, counts, shapes)


def trace_trunk(model: nn.Module) -> fx.GraphModule:
    """Trace a timm model's `forward_features` in evaluation mode.

    The result shares the model's parameters and their names; those of the classifier are not in it.
    Raises BackboneError where the model has no `forward_features` or torch.fx cannot follow it.
    """
    forward = getattr(type(model), "forward_features", None)
    if forward is None:
        raise _no_map(model)
    extra = list(inspect.signature(forward).parameters.values())[2:]
    # Options beside the images (masks, …) stay at their defaults.
    fixed = {p.name: p.default for p in extra if p.default is not p.empty}
    try:
        with evaluating(model):
            graph = _TrunkTracer().trace(model, concrete_args=fixed or None)
            return fx.GraphModule(model, graph, "Trunk")
    except Exception as error:  # a model can defeat tracing in any way its author thought of
        raise BackboneError(
            f"{architecture_of(model)}: torch.fx cannot follow its forward_features "
            f"({first_line(error)}); choose another backbone"
        ) from error


def trunk_shapes(
    model: nn.Module, graph: fx.Graph, size: InputSize
) -> dict[fx.Node, tuple[int, ...]]:
    """Return the shape of every tensor of a traced trunk, for two images of one size.

    Nothing is computed: the graph runs on the meta device.

    Raises BackboneError where the size is too small, or the trunk's output is no map (batch,
    channels, height, width).
    """
    recorder = _ShapeRecorder(_meta_copy(model, graph))
    images = torch.zeros(2, 3, *sides(size), device="meta")
    try:
        with torch.no_grad():
            recorder.run(images)
    except Exception as error:  # whatever a layer raises at a size it cannot take
        raise BackboneError(
            f"{architecture_of(model)}: cannot take {shown_size(size)} images "
            f"({first_line(error)}); choose another input.size"
        ) from error
    (output,) = (node for node in graph.nodes if node.op == "output")
    (result,) = output.args
    shape = recorder.shapes.get(result.name) if isinstance(result, fx.Node) else None
    channels = getattr(model, "num_features", None)
    if shape is None or len(shape) != 4 or channels not in (None, shape[1]):
        raise _no_map(model)
    return {n: recorder.shapes[n.name] for n in graph.nodes if n.name in recorder.shapes}


def weighted_layers(model: nn.Module) -> int:
    """Count the convolutions and linear layers in a model or module, its own self included."""
    return sum(_is_weighted(module) for module in model.modules())


class _TrunkTracer(fx.Tracer):
    """Follows `forward_features` down to layers, and to what timm declares untraceable."""

    traced_func_name = "forward_features"

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self._leaves = (*get_notrace_modules(), DropPath)  # type: ignore[no-untyped-call]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Take any layer of PyTorch, and any class derived from one, as a whole.

        A derived class may read `self.training` (a batch normalisation with its activation):
        traced into, it would stay in evaluation mode for ever.
        """
        bases = [base for base in type(m).__mro__ if base not in _CONTAINERS]
        return isinstance(m, self._leaves) or any(
            base.__module__.startswith("torch.nn.") for base in bases
        )


class _ShapeRecorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = tuple(value.shape)
        return value


def _meta_copy(model: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """Copy a traced trunk without its tensors' contents."""
    trunk = fx.GraphModule(model, graph, "Trunk")
    memo: dict[int, Any] = {}
    for parameter in trunk.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in trunk.buffers():
        memo[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(trunk, memo).eval()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a module and all in it into evaluation mode; every mode is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _is_weighted(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2 and not isinstance(module, nn.LayerNorm)


def _running_counts(model: nn.Module, nodes: list[fx.Node]) -> list[int]:
    """Return, for each node, the weighted layers run up to and with it."""
    counts: list[int] = []
    done = 0
    for node in nodes:
        if node.op == "call_module":
            done += weighted_layers(model.get_submodule(str(node.target)))
        elif node.op == "call_function":
            done += node.target in _PRODUCTS
        counts.append(done)
    return counts


def _places(nodes: list[fx.Node]) -> Iterator[tuple[int, fx.Node]]:
    """Yield (index, value) wherever, behind that node, exactly that one value is still needed."""
    position = {node: index for index, node in enumerate(nodes)}
    last_use = {node: max((position[user] for user in node.users), default=-1) for node in nodes}
    # A module with weights that runs twice must not be on both sides: it cannot be half frozen.
    runs: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        if node.op == "call_module":
            runs.setdefault(str(node.target), []).append(index)
    repeated = [
        (first[0], first[-1])
        for name, first in runs.items()
        if len(first) > 1 and _has_tensors(nodes[0].graph, name)
    ]
    alive: set[fx.Node] = set()
    for index, node in enumerate(nodes):
        alive.add(node)
        alive = {value for value in alive if last_use[value] > index}
        split = any(first <= index < last for first, last in repeated)
        if len(alive) == 1 and not split:
            yield index, next(iter(alive))


def _has_tensors(graph: fx.Graph, name: str) -> bool:
    owner = graph.owning_module
    return owner is not None and bool(owner.get_submodule(name).state_dict())


def _divide(
    model: nn.Module,
    nodes: list[fx.Node],
    index: int,
    alive: fx.Node,
    counts: list[int],
    shapes: dict[fx.Node, tuple[int, ...]],
) -> Cut:
    """Copy the nodes up to `index` into the prefix, the others into the tail."""
    head, rest = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes[: index + 1]:
        copied[node] = head.node_copy(node, copied.__getitem__)
    head.output(copied[alive])
    copied = {alive: rest.placeholder("activation")}
    for node in nodes[index + 1 :]:
        copied[node] = rest.node_copy(node, copied.__getitem__)
    return Cut(
        prefix=fx.GraphModule(model, head, "Prefix").eval(),
        tail=fx.GraphModule(model, rest, "Tail").eval(),
        place=_describe(alive),
        before=counts[index],
        total=counts[-1],
        shape=shapes[alive][1:],
        last_map=_last_map(model, nodes[index + 1 :]),
        grids=_grids(nodes[index + 1 :], shapes),
        passages=_passages(nodes, index),
    )


def _grids(
    nodes: list[fx.Node], shapes: dict[fx.Node, tuple[int, ...]]
) -> dict[str, tuple[int, int]]:
    """Return the height and width of each module's last map, the trunk's under the empty name."""
    named = {str(node.target): node for node in nodes if node.op == "call_module"}
    last = nodes[-1].args[0]
    if isinstance(last, fx.Node):
        named[""] = last
    found = {name: shapes.get(node, ()) for name, node in named.items()}
    return {name: (shape[2], shape[3]) for name, shape in found.items() if len(shape) == 4}


def _passages(nodes: list[fx.Node], index: int) -> tuple[str, ...]:
    """Name the modules after the cut whose output is the only value alive after them."""
    alive = dict.fromkeys(value for place, value in _places(nodes) if place > index)
    names = [str(node.target) for node in nodes if node.op == "call_module"]
    passed = (str(value.target) for value in alive if value.op == "call_module")
    return tuple(name for name in passed if names.count(name) == 1)


def _describe(node: fx.Node) -> str:
    """Name the module a value comes from; an operation outside a layer is named beside it."""
    if node.op == "call_module":
        return str(node.target)
    if node.op == "placeholder":
        return "the input"
    stack = list(node.meta.get("nn_module_stack", {}))
    operation = getattr(node.target, "__name__", str(node.target))
    return f"{stack[-1]} ({operation})" if stack else operation


def _last_map(model: nn.Module, nodes: list[fx.Node]) -> str:
    """Name the module before the pooling that ends the tail; empty where it ends otherwise."""
    last = nodes[-1].args[0]
    while isinstance(last, fx.Node) and _runs(model, last, _PASSING):
        last = last.args[0]
    if not isinstance(last, fx.Node) or last.op != "call_module":
        return ""
    kinds = type(model.get_submodule(str(last.target))).__mro__
    before = last.args[0]
    if (
        any(kind.__module__ == "torch.nn.modules.pooling" for kind in kinds)
        and isinstance(before, fx.Node)
        and before.op == "call_module"
        and before in nodes
        and sum(node.target == before.target for node in nodes) == 1
    ):
        return str(before.target)
    return ""


def _runs(model: nn.Module, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> bool:
    return node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), kinds)


def _no_map(model: nn.Module) -> BackboneError:
    return BackboneError(
        f"{architecture_of(model)}: has no spatial feature map in (batch, channels, height, width) "
        "form; choose a convolutional backbone, `seewhy models` lists some"
    )
