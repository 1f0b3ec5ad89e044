"""A network's weights shuffled, from its output down, and put back exactly.

Shuffled within each tensor, weights keep their size and lose what they learnt. Knows nothing of
maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.measures.reference_maps import named_generator
from seewhy.explanation.thread_turns import exclusive, hooked


@dataclass(frozen=True)
class ModuleOrder:
    """When each submodule ran in one forward pass, and which tensors it owns."""

    left: dict[str, int]  # when it ended, by name, of each submodule that ran exactly once
    layers: tuple[ParameterModule, ...]  # what owns parameters, in the order in which it ran


@dataclass(frozen=True)
class ParameterModule:
    """One module that owns parameters."""

    name: str  # as in ``model.named_modules()``; empty for the model itself
    entered: int  # when it, or the module that uses its parameters, was entered first
    parameters: tuple[str, ...]  # names of its own parameters
    weighted: bool  # whether one of them has two axes or more


@dataclass(frozen=True)
class CascadeLevel:
    """A cascade's state: everything from one layer up is shuffled."""

    name: str  # the lowest layer shuffled
    entered: int  # when the first shuffled layer runs; what was left before is as it was
    parameters: tuple[str, ...]
    weighted: int  # layers with weights that are shuffled


def follow(model: nn.Module, images: Tensor) -> ModuleOrder:
    """Run a model in evaluation mode, without gradients, and note the order of its submodules."""
    seen: list[tuple[str, bool]] = []
    named = list(model.named_modules())
    with hooked(
        after=[(module, _noting(seen, name, True)) for name, module in named],
        before=[(module, _noting(seen, name, False)) for name, module in named],
    ):
        model(images)
    first: dict[str, int] = {}
    left: dict[str, int] = {}
    calls: dict[str, int] = {}
    for moment, (name, leaving) in enumerate(seen):
        if leaving:
            left[name] = moment
        else:
            first.setdefault(name, moment)
            calls[name] = calls.get(name, 0) + 1
    once = {name for name, count in calls.items() if count == 1}
    return ModuleOrder(
        {name: left[name] for name in once if name in left},
        _layers(model, first),
    )


def _noting(seen: list[tuple[str, bool]], name: str, leaving: bool) -> Callable[..., None]:
    def hook(*given: object) -> None:
        seen.append((name, leaving))

    return hook


def _layers(model: nn.Module, first: dict[str, int]) -> tuple[ParameterModule, ...]:
    """Return what owns parameters, in the order in which it ran; shared tensors count once."""
    owners: dict[int, tuple[int, str, str]] = {}
    names = {id(module): name for name, module in model.named_modules()}
    for full, parameter in model.named_parameters(remove_duplicate=False):
        # A module in two places has the name that the hooks noted.
        owner = names[id(model.get_submodule(full.rpartition(".")[0]))]
        # A module whose tensors its parent uses without calling it runs when the parent does.
        caller = owner
        while caller not in first and caller:
            caller = caller.rpartition(".")[0]
        here = (first.get(caller, 0), owner, full)
        owners[id(parameter)] = min(owners.get(id(parameter), here), here)
    weights = {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
    grouped: dict[tuple[int, str], list[str]] = {}
    for moment, owner, full in owners.values():
        grouped.setdefault((moment, owner), []).append(full)
    return tuple(
        ParameterModule(owner, moment, tuple(names), not weights.isdisjoint(names))
        for (moment, owner), names in sorted(grouped.items())
    )


def cascade(course: ModuleOrder, count: int) -> tuple[CascadeLevel, ...]:
    """Divide a network into levels of a cascade, from its output layer down to everything.

    Of `count` levels, at least 2, the first is the output layer alone, the last is everything, and
    what is between has equal numbers of layers with weights; networks with fewer layers have fewer
    levels. Raises ConfigError where the model has no layer with weights.
    """
    weighted = [index for index, layer in enumerate(course.layers) if layer.weighted]
    if not weighted:
        raise ConfigError("expected a model with weights to randomise, but it has none")
    total = len(weighted)
    shares = [step / (count - 1) for step in range(count)]
    depths = sorted({max(1, math.ceil(share * total)) for share in shares})
    levels = []
    for depth in depths:
        # The lowest level takes what has no weights of two axes below the first layer, too.
        lowest = weighted[total - depth] if depth < total else 0
        taken = course.layers[lowest:]
        levels.append(
            CascadeLevel(
                name=course.layers[weighted[total - depth]].name,
                entered=min(layer.entered for layer in taken),
                parameters=tuple(name for layer in taken for name in layer.parameters),
                weighted=depth,
            )
        )
    return tuple(levels)


@contextmanager
def shuffled(model: nn.Module, parameters: tuple[str, ...], seed: int) -> Iterator[None]:
    """Shuffle the named parameters, each within itself; put them back exactly afterwards.

    A tensor's order depends on the seed and its name alone. A tensor of equal values stays as it
    is. The global random state is neither used nor changed; a graph that the caller holds stays
    good, since the very same values come back. Other threads' calls wait meanwhile; their plain
    forward passes use the shuffled weights.
    """
    with exclusive(model):
        known = dict(model.named_parameters(remove_duplicate=False))
        before = {name: known[name].detach().clone() for name in parameters}
        try:
            for name, values in before.items():
                order = torch.randperm(values.numel(), generator=named_generator(seed, name))
                # Through .data, as autograd would count a change in place that is undone again.
                known[name].data.copy_(values.flatten()[order.to(values.device)].view_as(values))
            yield
        finally:
            for name, values in before.items():
                known[name].data.copy_(values)
