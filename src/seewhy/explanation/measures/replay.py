"""Unchanged layers run once: their outputs are kept and returned again.

While the upper part of a network changes, its lower part gives the same answer to the same
images. Works on any ``nn.Module`` by name; knows nothing of maps or of why the rest changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.explanation.measures.randomisation import ModuleOrder
from seewhy.explanation.thread_turns import hooked, own_thread, register


class Replay:
    """Outputs of a model's submodules for one batch of images, which runs through it once here.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, gradients off, while this is made.
    images : Tensor, (N, C, H, W)
    course : ModuleOrder
        Of the same model.
    moments : iterable of int
        Where the changed part will start, one for each use to come.
    watched : iterable of str
        Modules that somebody will look into: they, what contains them and what they contain are
        never skipped.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        course: ModuleOrder,
        moments: Iterable[int],
        watched: Iterable[str],
    ) -> None:
        self._model = model
        self._images = images
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        self._same = False
        watched = tuple(watched)
        self._names = {
            moment: tuple(_whole(model, "", course, moment, watched)) for moment in moments
        }
        self._kept: dict[str, Tensor] = {}
        wanted = {name for names in self._names.values() for name in names}
        with hooked([(self._modules[name], self._keeping(name)) for name in wanted]):
            model(images)

    @contextmanager
    def before(self, moment: int) -> Iterator[None]:
        """Within, modules that were left before `moment` answer from memory.

        Only in a pass over the very same images, and only where nobody could tell: not where an
        input carries a graph, nor where a module inside is hooked.
        """
        model = self._model
        names = [name for name in self._names[moment] if name in self._kept]
        changed: list[tuple[nn.Module, Any]] = []
        handles = [
            register(model.register_forward_pre_hook, own_thread(self._starting), with_kwargs=True),
            register(model.register_forward_hook, own_thread(self._ending), always_call=True),
        ]
        try:
            for name in names:
                module = self._modules[name]
                changed.append((module, module.__dict__.get("forward")))
                module.forward = self._answering(module, self._kept[name])
            yield
        finally:
            for module, own in changed:
                del module.__dict__["forward"]
                if own is not None:
                    module.forward = own
            for handle in handles:
                handle.remove()
            self._same = False

    def _keeping(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                # A copy: the next layer may work in place.
                self._kept[name] = output.detach().clone()

        return hook

    def _starting(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        first = inputs[0] if len(inputs) == 1 and not named else None
        self._same = (
            isinstance(first, Tensor)
            and first.dtype == self._images.dtype
            and torch.equal(first, self._images)
        )

    def _ending(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._same = False

    def _answering(self, module: nn.Module, kept: Tensor) -> Callable[..., Any]:
        run, owner = module.forward, get_ident()

        def forward(*inputs: Any, **named: Any) -> Any:
            if get_ident() != owner:
                return run(*inputs, **named)
            given = (*inputs, *named.values())
            traced = any(isinstance(value, Tensor) and value.requires_grad for value in given)
            if not self._same or traced or _hooked_inside(module):
                return run(*inputs, **named)
            return kept.clone()

        return forward


def _whole(
    module: nn.Module, name: str, course: ModuleOrder, moment: int, watched: tuple[str, ...]
) -> Iterator[str]:
    """Yield the largest modules with weights that are over before `moment`."""
    if not any(True for _ in module.parameters()) or isinstance(module, torch.jit.ScriptModule):
        return
    if name in watched:
        return
    holds = any(other.startswith(f"{name}.") for other in watched)
    if name and not holds and course.left.get(name, moment) < moment:
        yield name
        return
    for child, inner in module.named_children():
        yield from _whole(inner, f"{name}.{child}" if name else child, course, moment, watched)


def _hooked_inside(module: nn.Module) -> bool:
    """Tell whether somebody watches a module inside this one; its own hooks run all the same."""
    return any(
        inner._forward_hooks or inner._forward_pre_hooks or inner._backward_hooks
        for inner in module.modules()
        if inner is not module
    )
