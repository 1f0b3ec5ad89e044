"""Which layer's map is explained: by name, or chosen; and which there are.

A convolutional network's last spatial map before pooling; a transformer's last norm before its
last attention, whose tokens still all speak to the class token. Knows no methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError, near_names
from seewhy.explanation.layout import Layout, read_layout
from seewhy.explanation.turns import evaluating, hooked

# Pooling makes a coarser copy of the map before it; that map is the better one to look at.
_POOLS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.FractionalMaxPool2d,
    nn.LPPool2d,
)

_ATTENTION_NAMES = {"attn", "attention", "self_attn", "self_attention"}

_Structure = tuple[object, ...]
# Finding a layer takes a forward pass of one image: it is done once a network and image size.
_chosen: WeakKeyDictionary[nn.Module, tuple[_Structure, str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a network, as its forward pass meets it.

    Attributes
    ----------
    name : str
        As in ``model.named_modules()``; what `explain` takes as ``layer``.
    kind : str
        Its class.
    shape : tuple of int
        Of its output for one image.
    is_map : bool
        Whether it can be explained.
    layout : Layout or None
        How its output becomes maps, where it can.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    is_map: bool
    layout: Layout | None


@dataclass(frozen=True, eq=False)
class _Visit:
    """A module's call: which, what it put out, how many calls had ended when it began."""

    name: str
    module: nn.Module
    output: Tensor
    layout: Layout | None
    began: int


def find_layer(model: nn.Module, name: object) -> nn.Module:
    """Return the submodule called `name`; the empty name is the model itself.

    Raises
    ------
    ConfigError
        Where there is none; names those that are near. For a module in place of its name.
    """
    if isinstance(name, nn.Module):
        own = next((key for key, module in model.named_modules() if module is name), None)
        hint = "which is no part of this model" if own is None else f"here {own!r}"
        raise ConfigError(
            f"layer: expected a layer's name, but got the module {type(name).__name__}; "
            f"give its name as in model.named_modules(), {hint}"
        )
    if not isinstance(name, str):
        raise ConfigError(f"layer: expected a layer's name, but got {name!r}")
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules:
        raise ConfigError(
            f"layer {name!r} is unknown{near_names(name, modules)}; "
            "list_layers(model, image) names them all"
        )
    return modules[name]


def output_layout(
    model: nn.Module, module: nn.Module, output: Tensor, images: Tensor
) -> Layout | None:
    """Tell how a module's output lies, with what the model says of its tokens.

    Parameters
    ----------
    model, module : nn.Module
    output : Tensor
    images : Tensor, (N, C, H, W)
        The model's input.
    """
    prefix, grid = _token_facts(model)
    last = isinstance(module, nn.LayerNorm)
    return read_layout(output.shape, images.shape, prefix, grid, last)


def attends(name: str, module: nn.Module) -> bool:
    """Tell an attention layer by its class's name, or by what its block calls it."""
    kind = type(module).__name__.lower()
    called = name.rpartition(".")[2]
    return "attention" in kind or kind.endswith("attn") or called in _ATTENTION_NAMES


def list_layers(model: nn.Module, image: Tensor) -> list[LayerInfo]:
    """List the layers that run for an image, in the order their outputs appear.

    Parameters
    ----------
    model : nn.Module
        Any classifier; its modes are as before afterwards.
    image : Tensor, (1, C, H, W)
        Preprocessed; its content does not matter, its size does.

    Returns
    -------
    list of LayerInfo
        Those that put out a tensor; a layer that runs several times comes with its last output.
    """
    with evaluating(model):
        visits = _visit(model, image[:1])
    last = {visit.name: visit for visit in visits}
    return [
        LayerInfo(
            visit.name,
            type(visit.module).__name__,
            tuple(visit.output.shape),
            visit.layout is not None,
            visit.layout,
        )
        for visit in last.values()
    ]


def choose_layer(model: nn.Module, image: Tensor) -> str:
    """Return the name of the layer that ``layer="auto"`` explains.

    Where an attention layer follows the last spatial map, it is the last norm before the last
    attention (pre-norm networks: ViT, DeiT, Swin), or, where that attention has no norm before
    it, the output of the block before (Swin v2). Elsewhere it is the last map before pooling.

    Parameters
    ----------
    model : nn.Module
        Its modes are as before afterwards.
    image : Tensor, (1, C, H, W)
        Sent through the model once, without a graph, unless a network of this structure was
        asked before.

    Raises
    ------
    ConfigError
        Where no module puts out a map with more than one place.
    """
    structure = (image.shape[1:], *((name, type(m)) for name, m in model.named_modules()))
    with evaluating(model):
        if model not in _chosen or _chosen[model][0] != structure:
            _chosen[model] = structure, _choose(model, image)
        return _chosen[model][1]


def _choose(model: nn.Module, image: Tensor) -> str:
    visits = _visit(model, image)
    attentions = [visit for visit in visits if attends(visit.name, visit.module)]
    last = attentions[-1] if attentions else None
    maps = [visit for visit in _unpooled(visits) if visit.name and visit.layout is not None]
    spatial = [visit for visit in maps if _is_spatial(visit, last)]
    if last is not None:
        late = spatial and visits.index(spatial[-1]) > visits.index(last)
        maps = spatial if late else _before_attention(maps, visits, last)
    if not maps:
        raise ConfigError(
            f"{type(model).__name__}: no layer puts out a spatial map (N, C, h, w) or a grid of "
            "tokens; name one with layer="
        )
    return maps[-1].name


def _is_spatial(visit: _Visit, attention: _Visit | None) -> bool:
    """Say whether a call put out (N, C, h, w), and not from within the last attention."""
    inside = attention is not None and visit.name.startswith(attention.name + ".")
    return visit.layout is not None and visit.layout.kind == "channels first" and not inside


def _before_attention(maps: list[_Visit], visits: list[_Visit], last: _Visit) -> list[_Visit]:
    """Return the maps ready when the last attention began, up to the one to explain."""
    ready = [visit for visit in maps if visits.index(visit) < last.began]
    block = last.name.rpartition(".")[0]
    norms = [visit for visit in ready if "norm" in type(visit.module).__name__.lower()]
    if norms and norms[-1].name.startswith(block + "."):
        return norms
    return ready


def _unpooled(visits: list[_Visit]) -> Iterator[_Visit]:
    """Leave out pools, and containers that end in one: they put out the very tensor it made."""
    pooled: list[Tensor] = []
    for visit in visits:
        if isinstance(visit.module, _POOLS) or any(visit.output is tensor for tensor in pooled):
            pooled.append(visit.output)
        else:
            yield visit


def _visit(model: nn.Module, image: Tensor) -> list[_Visit]:
    """Run the model once and note what every module puts out, in the order of their ends."""
    visits: list[_Visit] = []
    with _watching(model, image, visits), torch.no_grad():
        model(image)
    return visits


@contextmanager
def _watching(model: nn.Module, image: Tensor, visits: list[_Visit]) -> Iterator[None]:
    began: list[int] = []
    prefix, grid = _token_facts(model)

    def before(module: nn.Module, inputs: object) -> None:
        began.append(len(visits))

    def after(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            start = began.pop()
            tensor = output[0] if isinstance(output, tuple) and output else output
            if not isinstance(tensor, Tensor):
                return
            last = isinstance(module, nn.LayerNorm)
            layout = read_layout(tensor.shape, image.shape, prefix, grid, last)
            # Only a tensor itself can be handed on in place of a layer's output.
            visits.append(_Visit(name, module, tensor, layout if tensor is output else None, start))

        return hook

    named = list(model.named_modules())
    with hooked(
        after=[(module, after(name)) for name, module in named],
        before=[(module, before) for _, module in named],
    ):
        yield


def _token_facts(model: nn.Module) -> tuple[int | None, tuple[int, int] | None]:
    """Read what timm's transformers say of themselves: prefix tokens and patch grid."""
    prefix: int | None = None
    grid: tuple[int, int] | None = None
    for module in model.modules():
        told: Any = getattr(module, "num_prefix_tokens", None)
        if prefix is None and isinstance(told, int):
            prefix = told
            cells: Any = getattr(getattr(module, "patch_embed", None), "grid_size", None)
            grid = tuple(cells) if isinstance(cells, tuple | list) and len(cells) == 2 else None
    return prefix, grid
