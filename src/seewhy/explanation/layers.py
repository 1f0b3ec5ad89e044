"""Which layer's map is explained: by name, or the last spatial one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError, near_names

# Pooling makes a coarser copy of the map before it; that map is the better one to look at.
_POOLS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.FractionalMaxPool2d,
    nn.LPPool2d,
)


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called `name`; the empty name is the model itself.

    Raises
    ------
    ConfigError
        Where there is none; names those that are near.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules:
        raise ConfigError(f"layer {name!r} is unknown{near_names(name, modules)}")
    return modules[name]


def last_map(model: nn.Module, image: Tensor) -> str:
    """Return the name of the module that makes the last spatial map before pooling.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    image : Tensor, (1, C, H, W)
        Sent through the model once, without a graph.

    Raises
    ------
    ConfigError
        Where no module puts out a map (1, C, h, w) with more than one place.
    """
    found: list[tuple[str, Tensor]] = []
    pooled: list[Tensor] = []
    handles = [
        module.register_forward_hook(_watcher(name, image.shape[2:], found, pooled))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ConfigError(
            f"{type(model).__name__}: no layer puts out a spatial map (N, C, h, w); "
            "name one with layer="
        )
    return found[-1][0]


def _is_map(output: Tensor, side: torch.Size) -> bool:
    """Tell a map of an image from the (heads, tokens, channels) of an attention block.

    A map has more than one place and the image's proportions, but for one cell of rounding.
    """
    if output.ndim != 4 or output.shape[2:].numel() < 2:
        return False
    height, width = output.shape[2:]
    return abs(height * side[1] - width * side[0]) <= max(side)


def _watcher(
    name: str, side: torch.Size, found: list[tuple[str, Tensor]], pooled: list[Tensor]
) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor) or not _is_map(output, side):
            return
        # A container that ends in a pool puts out the very tensor the pool made.
        if isinstance(module, _POOLS) or any(output is tensor for tensor in pooled):
            pooled.append(output)
        else:
            found.append((name, output))

    return hook
