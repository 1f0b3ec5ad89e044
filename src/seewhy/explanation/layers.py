"""Which layers a network has, by their names.

Names are those of ``model.named_modules()``, without what torch.compile and the like put around
modules. Knows no methods; `layer_choice.py` chooses among the layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError, near_names
from seewhy.explanation.module_calls import token_facts, watch
from seewhy.explanation.refusals import check_images, check_model
from seewhy.explanation.spatial_layout import SpatialLayout, read_layout
from seewhy.explanation.thread_turns import evaluating, hooked
from seewhy.explanation.wrappers import layer_names, plain_name, unwrapped

# A layer's name and the number of its run.
_RUN = re.compile(r"(.*)@([1-9]\d*)")

# Whether a layer puts tokens before images, found where a batch has as many images as tokens.
_turned: WeakKeyDictionary[nn.Module, dict[str, bool]] = WeakKeyDictionary()


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
    layout : SpatialLayout or None
        How its output becomes maps, where it can.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    is_map: bool
    layout: SpatialLayout | None


def find_layer(model: nn.Module, name: object) -> nn.Module:
    """Return the submodule called `name`; the empty name is the model itself.

    ``"NAME@2"`` is the second run of NAME in a forward pass. Raises ConfigError where there is
    none; names those that are near.
    """
    if not isinstance(name, str):
        raise ConfigError(f"layer: expected a layer's name, but got {name!r}")
    modules = layer_names(model)
    known, _ = _parted(name, modules)
    if known not in modules:
        raise ConfigError(
            f"layer {name!r} is unknown{near_names(name, modules)}; "
            "list_layers(model, image) names them all"
        )
    return modules[known]


def run_of(model: nn.Module, name: str) -> int | None:
    """Return which run of a layer a name means, from 1; None where it names none."""
    return _parted(name, layer_names(model))[1]


def _parted(name: str, modules: Mapping[str, nn.Module]) -> tuple[str, int | None]:
    """Part ``"NAME@2"``, unless a module is called just that."""
    found = _RUN.fullmatch(name)
    if name in modules or found is None:
        return name, None
    return found[1], int(found[2])


def name_layer(model: nn.Module, layer: object) -> str:
    """Return the name of a layer that is given by its name, or as the module itself.

    Raises ConfigError where the model has no such layer.
    """
    modules = layer_names(model)
    if isinstance(layer, nn.Module):
        inside = unwrapped(layer)
        for name, module in modules.items():
            if module is inside:
                return name
        raise ConfigError(
            f"layer: expected a layer's name or a module of the model, but got a "
            f"{type(layer).__name__} that is no part of this model; "
            "list_layers(model, image) names them all"
        )
    if isinstance(layer, str):
        layer = plain_name(layer, modules)
    find_layer(model, layer)
    return str(layer)


def output_layout(
    model: nn.Module, name: str, output: Tensor, images: Tensor
) -> SpatialLayout | None:
    """Find the layout of a named layer's output, with what the model says of its tokens."""
    last = isinstance(find_layer(model, name), nn.LayerNorm)
    turned = False
    if output.ndim == 3 and len(images) > 1 and output.shape[0] == output.shape[1] == len(images):
        turned = _tokens_first(model, name, images[:1])
    return read_layout(output.shape, images.shape, *token_facts(model), last, turned)


def _tokens_first(model: nn.Module, name: str, image: Tensor) -> bool:
    """Ask a single image which axis of a layer's output runs over tokens."""
    known = _turned.setdefault(model, {})
    if name not in known:
        shapes: list[torch.Size] = []

        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes.append(output.shape)

        with hooked([(find_layer(model, name), hook)]), torch.no_grad():
            model(image)
        known[name] = len(shapes[-1]) == 3 and shapes[-1][0] != 1 == shapes[-1][1]
    return known[name]


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

    Examples
    --------
    >>> import torch
    >>> from seewhy import list_layers
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten())
    >>> for layer in list_layers(model, torch.zeros(1, 3, 5, 5)):
    ...     print(repr(layer.name), layer.shape, layer.is_map)
    '0' (1, 8, 3, 3) True
    '1' (1, 72) False
    '' (1, 72) False
    """
    model, image = unwrapped(check_model(model)), check_images(model, image)
    with evaluating(model):
        visits = watch(model, image[:1]).visits
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
