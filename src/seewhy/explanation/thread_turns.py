"""Threads that share a model: one works with it at a time, and hooks see only their own pass.

A model's modes, hooks and weights belong to the process, not to a thread, and so do some of
PyTorch's settings. What a call of seewhy changes for a while must not change what another call
finds, nor what a plain forward pass of another thread gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Condition, Lock, get_ident, local
from typing import Any

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.hooks import RemovableHandle

from seewhy.errors import ConfigError
from seewhy.explanation.gradients.graph import count_hooks

Hook = Callable[..., Any]

# Which thread holds a module, and which modules a thread waits for; both by id.
_holders: dict[int, int] = {}
_wanted: dict[int, set[int]] = {}
_released = Condition()
_passes = local()

# How many of the numbers that PyTorch gave to hooks went to seewhy's own.
_numbers = Lock()
_own_numbers = 0


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """Hold a model and everything in it; wait while another thread holds a part of it.

    Inside, no other thread is inside with this model, nor with one that shares a submodule with it.
    The thread itself may enter again, with the same model or another one. Nothing is stored at the
    model, which can be copied, pickled and freed at any time. Not guaranteed: that other threads
    leave the model alone outside seewhy, or that two models which share tensors but no module take
    turns.

    Raises ConfigError where two threads would wait for each other for ever: each holds one model
    and asks for the other's.
    """
    mine = get_ident()
    modules = list(model.modules())  # referenced until the end, so that their ids stay theirs
    keys = {id(module) for module in modules}
    with _released:
        _wait(keys, mine)
        taken = [key for key in keys if key not in _holders]
        _holders.update(dict.fromkeys(taken, mine))
    try:
        yield
    finally:
        with _released:
            for key in taken:
                del _holders[key]
            _released.notify_all()


def _wait(keys: set[int], mine: int) -> None:
    """Wait until nobody else holds any of these modules."""
    _wanted[mine] = keys
    try:
        while others := _holding(keys) - {mine}:
            if mine in _awaited(others):
                raise ConfigError(
                    "model: another thread explains it and waits for a model that this thread "
                    "explains; do not explain one model inside the explanation of another"
                )
            _released.wait()
    finally:
        del _wanted[mine]


def _holding(keys: Iterable[int]) -> set[int]:
    return {_holders[key] for key in keys if key in _holders}


def _awaited(threads: set[int]) -> set[int]:
    """Return the threads that these wait for, and those that they wait for in turn."""
    found: set[int] = set()
    new = threads
    while new:
        new = set().union(*(_holding(_wanted.get(thread, ())) - {thread} for thread in new)) - found
        found |= new
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode; every module's mode is as before afterwards.

    Raises ConfigError where another thread switched the model to training mode meanwhile: its
    answers are not those of a trained classifier, and its statistics may have changed.
    """
    with exclusive(model):
        before = [(module, module.training) for module in model.modules()]
        model.eval()
        # Not always off: some modules refuse, to drop out in evaluation too.
        inside = [module.training for module, _ in before]
        try:
            yield
            if model.training and not inside[0]:
                raise ConfigError(
                    "model: it was switched to training mode while it was explained; explain it "
                    "when no other thread trains it, or explain a copy (copy.deepcopy)"
                )
        finally:
            for (module, mode), ours in zip(before, inside, strict=True):
                # What somebody else switched meanwhile is theirs to switch back.
                if module.training == ours:
                    module.training = mode


class SharedSetting:
    """A setting of the process: the first thread inside makes it, the last one takes it back.

    ``make()`` returns the context manager that makes the setting.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make, self._lock, self._made, self._users = make, Lock(), ExitStack(), 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Keep the setting while the context is open."""
        with self._lock:
            if not self._users:
                self._made.enter_context(self._make())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._made.close()


math_attention = SharedSetting(lambda: sdpa_kernel(SDPBackend.MATH))
"""Keeps attention to the kernel that can be differentiated twice."""


@contextmanager
def hooked(
    after: Iterable[tuple[nn.Module, Hook]], before: Iterable[tuple[nn.Module, Hook]] = ()
) -> Iterator[None]:
    """Put forward hooks and forward pre-hooks on modules for this thread's forward passes inside.

    Passes of other threads do not notice the hooks, nor does an explanation that one of the
    model's own hooks asks for in the middle of the pass.
    """
    outer, inner = getattr(_passes, "current", None), object()

    def acting(hook: Hook) -> Hook:
        return _only_if(lambda: getattr(_passes, "current", None) is inner, hook)

    handles = []
    try:
        for module, hook in before:
            handles.append(register(module.register_forward_pre_hook, acting(hook)))
        for module, hook in after:
            handles.append(register(module.register_forward_hook, acting(hook)))
        _passes.current = inner
        yield
    finally:
        _passes.current = outer
        for handle in handles:
            handle.remove()


def register(where: Callable[..., RemovableHandle], hook: Hook, **options: bool) -> RemovableHandle:
    """Register a hook of seewhy's own, which `foreign_hooks` leaves out."""
    global _own_numbers
    with _numbers:
        handle = where(hook, **options)
        _own_numbers += 1
    return handle


def foreign_hooks() -> int | None:
    """Count the hooks that were ever registered in this process, but for seewhy's own.

    Equal before and after a forward pass that put no hook on anything, whatever seewhy did
    meanwhile in this thread and others. None where PyTorch does not tell.
    """
    global _own_numbers
    with _numbers:
        found = count_hooks()
        if found is None:
            return None
        # To count takes a number itself.
        _own_numbers += 1
        return found - _own_numbers


def own_thread(hook: Hook) -> Hook:
    """Return a hook that acts only in the thread that calls this."""
    owner = get_ident()
    return _only_if(lambda: get_ident() == owner, hook)


def _only_if(acts: Callable[[], bool], hook: Hook) -> Hook:
    # Any arguments: PyTorch looks up how a hook is called after it has looked up the hook, and
    # the hook may have been removed in between.
    def guarded(*given: Any, **named: Any) -> Any:
        return hook(*given, **named) if acts() else None

    return guarded
