"""Modules around a network that are not part of it: torch.compile's, and those that spread it.

Layers keep the names they have without such a wrapper, and run one by one in Python, since a layer
is recorded by a hook.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from seewhy.explanation.thread_turns import SharedSetting

_SPREADING = (DataParallel, DistributedDataParallel, AveragedModel)
_COMPILED = "_orig_mod"

_eager = SharedSetting(lambda: torch.compiler.set_stance("force_eager"))


def wrapped(module: nn.Module) -> str | None:
    """Return what a wrapper calls the module inside it; None for any other module."""
    if isinstance(module, _SPREADING):
        return "module"
    return _COMPILED if isinstance(module._modules.get(_COMPILED), nn.Module) else None


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside wrappers; any other module as it is."""
    while (inside := wrapped(model)) is not None:
        model = model.get_submodule(inside)
    return model


def layer_names(model: nn.Module) -> dict[str, nn.Module]:
    """Name a network's modules as they would be named without wrappers.

    In the order of ``model.named_modules()``; a wrapper's name stands for the module inside it. The
    empty name is the network itself.
    """
    names: dict[str, nn.Module] = {}
    met: dict[str, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        plain, (parent, _, last) = name, name.rpartition(".")
        if name:
            around, outside = met[parent]
            own = "" if wrapped(outside) == last else last
            plain = f"{around}.{own}" if around and own else around or own
        met[name] = plain, module
        names[plain] = module
    return names


def plain_name(name: str, names: dict[str, nn.Module]) -> str:
    """Return a layer's name without wrappers where it was given with them."""
    parts = [part for part in name.split(".") if part != _COMPILED]
    for drop in range(len(parts)):
        if any(part != "module" for part in parts[:drop]):
            break
        if ".".join(parts[drop:]) in names:
            return ".".join(parts[drop:])
    return name


def uncompiled() -> AbstractContextManager[None]:
    """Run what torch.compile compiled as plain Python meanwhile, in every thread.

    A compiled graph need not call the hooks of the modules in it.
    """
    # Nothing is compiled where PyTorch's compiler was never loaded; before 2.6 it has no stance.
    known = "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance")
    return _eager() if known else nullcontext()
