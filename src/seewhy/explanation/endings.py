"""The scores of a network; where it ends in softmax or sigmoid, the logits before them.

Probabilities must not be taken for logits: another softmax of p = 0.02 and 0.98 gives 0.28 and
0.72, and the gradient of a probability near one is nearly zero. Knows outputs and functions, no
layers and no methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seewhy.errors import ConfigError
from seewhy.explanation.targets import ModelOutput, Target, answer_of, find_scores

_Kind = Literal["softmax", "sigmoid"]

_PROBABILITIES: dict[object, str] = {
    function: name
    for name, functions in {
        "softmax": (F.softmax, torch.softmax, torch.special.softmax, Tensor.softmax),
        "softmin": (F.softmin,),
        "sigmoid": (F.sigmoid, torch.sigmoid, torch.special.expit, Tensor.sigmoid),
        "sigmoid_": (torch.sigmoid_, Tensor.sigmoid_),
        "hardsigmoid": (F.hardsigmoid,),
    }.items()
    for function in functions
}
_LOGARITHMS: dict[object, str] = {
    F.log_softmax: "log_softmax",
    torch.log_softmax: "log_softmax",
    torch.special.log_softmax: "log_softmax",
    Tensor.log_softmax: "log_softmax",
    F.logsigmoid: "logsigmoid",
}
# They move values, or copy them, one to one: the same may be done to what is before them.
_MOVES: set[object] = {
    torch.flatten, Tensor.flatten, Tensor.view, torch.reshape, Tensor.reshape, torch.squeeze,
    Tensor.squeeze, torch.unsqueeze, Tensor.unsqueeze, torch.permute, Tensor.permute,
    torch.transpose, Tensor.transpose, torch.t, Tensor.t, torch.select, Tensor.select,
    torch.narrow, Tensor.narrow, Tensor.__getitem__, torch.index_select, Tensor.index_select,
    torch.clone, Tensor.clone, Tensor.contiguous, Tensor.float, Tensor.double, Tensor.half,
    Tensor.bfloat16, Tensor.to, Tensor.type, F.dropout,
}  # fmt: skip
# They bound probabilities, or take their logarithm; neither has a counterpart before them.
_BOUNDS: set[object] = {
    torch.clamp, Tensor.clamp, Tensor.clamp_, torch.clip, Tensor.clip, Tensor.clip_,
    torch.clamp_min, Tensor.clamp_min, Tensor.clamp_min_, torch.clamp_max, Tensor.clamp_max,
    Tensor.clamp_max_, torch.nan_to_num, Tensor.nan_to_num, torch.log, Tensor.log,
}  # fmt: skip
_JOINS: set[object] = {torch.cat, torch.concat, torch.stack, torch.hstack}
_COMPLEMENTS: set[object] = {torch.rsub, Tensor.__rsub__}

_NODES = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid", "Hardsigmoid")
# A network's last function is within so many nodes of its output.
_NEAR = 12

_ending: WeakSet[nn.Module] = WeakSet()


def ask(
    model: nn.Module, run: Callable[[], object], target: Target | None, count: int
) -> ModelOutput:
    """Run a model and read its scores; of one that ends in softmax or sigmoid, the logits.

    Parameters
    ----------
    model : nn.Module
        Remembered where it ends so; another one runs twice where its scores might be
        probabilities.
    run : callable
        Calls the model and returns its output; may be called twice.
    target : callable, optional
        See `find_scores`. Its scores are explained as they are, probabilities or not.
    count : int
        Number of images N.

    Raises
    ------
    ConfigError
        Where no logits, or more than one, are found; where the scores are probabilities, and what
        made them is not known.
    """
    if model not in _ending:
        scores = find_scores(run(), target, count)
        if not _may_be_probabilities(scores):
            return answer_of(scores, target)
    with _PreactivationRecorder() as befores:
        scores = find_scores(run(), target, count)
        before = befores.of(scores)
    if before is None:
        if not _sum_to_one(_rows(scores)):
            return answer_of(scores, target)
        if target is not None:
            return answer_of(scores, target, "given")
        raise ConfigError(
            f"{type(model).__name__}: puts out probabilities (in 0 … 1, and one in sum for each "
            "image), but they come from no softmax or sigmoid that could be left out; let it "
            "return its logits, or explain log-probabilities with "
            "target=lambda output: output.clamp_min(1e-12).log()"
        )
    kind = before.kind()
    if target is not None:
        given = _within(_rows(scores), 0.0, 1.0)
        return answer_of(scores, target, "given" if given else None)
    if kind is None:
        raise ConfigError(
            f"{type(model).__name__}: ends in {before.name}, but what it puts out is not the "
            "softmax or sigmoid of one score per class (another dimension, or a layer after it); "
            "let it return its logits, or say with target= how to make scores of its output"
        )
    _ending.add(model)
    return answer_of(before.logits, None, kind)


def _rows(scores: Tensor) -> Tensor:
    values = scores.detach().float()
    return values[:, None] if values.ndim == 1 else values


def _within(values: Tensor, least: float, most: float) -> bool:
    return bool(((values >= least) & (values <= most)).all())


def _sum_to_one(values: Tensor) -> bool:
    """Say whether each image's scores (N, M) are shares of one."""
    if values.shape[1] < 2 or not _within(values, 0.0, 1.0):
        return False
    return bool(((values.sum(dim=1) - 1).abs() < 1e-3).all())


def _may_be_probabilities(scores: Tensor) -> bool:
    """Say whether scores (N, M) or (N,), or their exponentials, might be probabilities."""
    values = _rows(scores)
    inside, below = _within(values, 0.0, 1.0), _within(values, -torch.inf, 0.0)
    if not inside and not below:
        return False
    if _sum_to_one(values) or (below and _sum_to_one(values.exp())):
        return True
    node = scores.grad_fn
    if node is None:
        return inside
    for _ in range(_NEAR):
        if node is None:
            return False
        if node.name().startswith(_NODES):
            return True
        node = next((parent for parent, _ in node.next_functions if parent is not None), None)
    return False


class _Preactivation(NamedTuple):
    """What is before probabilities.

    `logits` were moved as the probabilities were; `plain` are these, before they were bounded.
    """

    name: str
    logits: Tensor
    plain: Tensor

    def kind(self) -> _Kind | None:
        """Tell of what function over the classes the probabilities are the values."""
        logits, plain = _rows(self.logits), _rows(self.plain)
        loose = self.plain.dtype in (torch.float16, torch.bfloat16)
        rtol, atol = (2e-2, 1e-2) if loose else (1e-3, 1e-5)
        if logits.shape[1] > 1 and torch.allclose(logits.softmax(dim=1), plain, rtol, atol):
            return "softmax"
        return "sigmoid" if torch.allclose(logits.sigmoid(), plain, rtol, atol) else None


class _PreactivationRecorder(TorchFunctionMode):
    """While active, remembers what the values of softmax and sigmoid were made of."""

    def __init__(self) -> None:
        super().__init__()
        # Tensors have no equality to look them up by; they are held, so that no id comes back.
        self._found: dict[int, tuple[Tensor, _Preactivation]] = {}

    def of(self, value: object) -> _Preactivation | None:
        found = self._found.get(id(value))
        return None if found is None else found[1]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _PROBABILITIES.get(func) or _LOGARITHMS.get(func)
        if name is None:
            result = func(*args, **kwargs)
            before = self._moved(func, args, kwargs)
        else:
            logits = args[0] if args else kwargs["input"]
            logits = logits.clone() if name.endswith("_") else logits
            result = func(*args, **kwargs)
            plain = result.detach().exp() if func in _LOGARITHMS else result.detach()
            before = _Preactivation(name.rstrip("_"), logits, plain) if _few(result) else None
        if before is not None and isinstance(result, Tensor):
            self._found[id(result)] = result, before
        return result

    def _moved(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> _Preactivation | None:
        """Return what is before the result of a function of remembered tensors."""
        first = args[0] if args else kwargs.get("input")
        if func in _JOINS and isinstance(first, tuple | list):
            parts = [self.of(part) for part in first]
            known = [part for part in parts if part is not None]
            if not known or len(known) < len(parts):
                return None
            logits = func([part.logits for part in known], *args[1:], **kwargs)
            plain = func([part.plain for part in known], *args[1:], **kwargs)
            return _Preactivation(known[0].name, logits, plain)
        before = self.of(first)
        if before is None or func in _BOUNDS:
            return before
        if func in _COMPLEMENTS and args[1:] in ((1,), (1.0,)) and not kwargs:
            return _Preactivation(before.name, -before.logits, 1 - before.plain)
        if func not in _MOVES:
            return None
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        return before._replace(
            logits=func(before.logits, *args[1:], **rest),
            plain=func(before.plain, *args[1:], **rest),
        )


def _few(value: Tensor) -> bool:
    """Say whether a tensor has one value an image and class: attention's maps are not kept."""
    return value.ndim <= 2 or value.numel() == value.shape[0] * value.shape[1]
