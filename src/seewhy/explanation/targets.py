"""What is asked of a classifier: from its output to scores, from `classes` to indices.

Knows outputs and indices; neither layers nor methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from seewhy.errors import ConfigError

Target = Callable[[Any], Tensor]
Choice = Callable[[Tensor], Tensor]
"""Chooses classes, (N, K) or (N,) int64, by the logits (N, M)."""
Classes = Tensor | int | Sequence[int] | Sequence[Sequence[int]] | str | Choice | None
Activation = Literal["softmax", "sigmoid"]

_NAMES = ("logits", "out", "scores")


@dataclass(frozen=True)
class ScoreSelection:
    """The scores to explain, K for each of N images.

    Score k of image n is ``y[a] − strength · mean(y[b] for b in references)`` with y the logits
    and a the class; without references it is the class's logit.
    """

    classes: Tensor  # (N, K) int64
    references: Tensor | None = None  # (N, K, R) int64: what each class is held against
    strength: float = 1.0

    def select(self, logits: Tensor) -> Tensor:
        """Return the scores (N, K) for logits (N, M), or for any (N, M, …): (N, K, …)."""
        if self.references is None and self.every(logits.shape[1]):
            return logits
        chosen = _take(logits, self.classes)
        if self.references is None:
            return chosen
        others = [_take(logits, self.references[:, :, r]) for r in range(self.references.shape[2])]
        return chosen - self.strength * torch.stack(others).mean(dim=0)

    def every(self, known: int) -> bool:
        """Say whether it asks for all classes in their order, as ``classes="all"`` does."""
        return self.classes.stride(0) == 0 and self.classes.shape[1] == known

    def coefficients(self, column: int, logits: Tensor) -> Tensor:
        """Return the derivative of score `column` by the logits, (N, M), in their type."""
        found = torch.zeros_like(logits, requires_grad=False)
        ones = torch.ones_like(found)
        if self.references is not None:
            references = self.references[:, column]
            found.scatter_add_(1, references, -self.strength / references.shape[1] * ones)
        return found.scatter_add_(1, self.classes[:, column : column + 1], ones)

    def repeated(self, image: int, times: int) -> ScoreSelection:
        """Return the question about one image, for `times` variants of it."""
        classes = self.classes[image].expand(times, -1)
        references = self.references
        if references is not None:
            references = references[image].expand(times, -1, -1)
        return ScoreSelection(classes, references, self.strength)


def _take(values: Tensor, indices: Tensor) -> Tensor:
    """Take along axis 1 of values (N, M, …) by indices (N, K)."""
    return values[torch.arange(len(values), device=values.device)[:, None], indices]


Ending = Literal["softmax", "sigmoid", "given"]


class ModelOutput(NamedTuple):
    """A model's answer: logits (N, M) with their graph."""

    logits: Tensor  # (N, M)
    single: bool  # whether one logit made two of them
    # What the network itself makes probabilities with, where it ends in it; ``given``: the
    # scores are probabilities.
    ending: Ending | None = None


def find_scores(output: object, target: Target | None, count: int) -> Tensor:
    """Find in a model's output the scores that can be explained, as they are: (N, M) or (N,).

    The output is a tensor, or a tuple, mapping or object that holds one clear tensor of logits for
    N = `count` images; a target takes it and returns the scores itself. Raises ConfigError where no
    logits, or more than one, are found.
    """
    if target is None:
        return _find_logits(output, count)
    scores = target(output)
    fits = isinstance(scores, Tensor) and scores.ndim in (1, 2) and len(scores) == count
    if not fits:
        raise ConfigError(
            f"target: expected it to return scores ({count}, M) or ({count},), "
            f"but got {_describe(scores)}"
        )
    return scores


def answer_of(scores: Tensor, target: Target | None, ending: Ending | None = None) -> ModelOutput:
    """Make an answer of scores (N, M) or (N,).

    A single logit z an image means "class 1 rather than class 0": it becomes (−z, z). A target's
    single score stays alone.
    """
    scores = scores[:, None] if scores.ndim == 1 else scores
    if target is None and scores.shape[1] == 1:
        return ModelOutput(torch.cat([-scores, scores], dim=1), True, ending)
    return ModelOutput(scores, False, ending)


def _find_logits(output: object, count: int) -> Tensor:
    if isinstance(output, Tensor):
        if _are_logits(output, count):
            return output
        raise ConfigError(
            f"expected a classifier with logits (N, M), but it puts out {tuple(output.shape)}; "
            "say with target= how to make scores of it"
        )
    # Named fields come first: transformers' outputs are mappings, torchvision's Inception a tuple.
    named = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for name in _NAMES:
        value = named.get(name, getattr(output, name, None))
        if isinstance(value, Tensor) and _are_logits(value, count):
            return value
    values: Iterator[object] | tuple[object, ...] = ()
    if isinstance(output, Mapping):
        values = iter(output.values())
    elif isinstance(output, tuple | list):
        values = iter(output)
    fitting = [v for v in values if isinstance(v, Tensor) and _are_logits(v, count)]
    if len(fitting) == 1:
        return fitting[0]
    raise ConfigError(
        f"expected a classifier with logits (N, M), but it puts out {_describe(output)} with "
        f"{len(fitting)} tensors of that kind; choose with target=, for example "
        "target=lambda output: output[0]"
    )


def _are_logits(value: Tensor, count: int) -> bool:
    return value.ndim in (1, 2) and len(value) == count and value.is_floating_point()


def _describe(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def read_probabilities(answer: ModelOutput, activation: Activation) -> Tensor:
    """Return the probabilities (N, M) float32, detached.

    `activation` is for networks that do not end in either. One logit made two, (−z, z), takes the
    sigmoid: its two sum to one. So does a single score.
    """
    logits = answer.logits.detach().float()
    if answer.ending == "given":
        return logits
    alone = answer.single or logits.shape[1] == 1
    kind = answer.ending or activation
    return logits.sigmoid() if alone or kind == "sigmoid" else logits.softmax(dim=1)


def read_classes(classes: Classes, logits: Tensor) -> Tensor:
    """Return the explained classes, (N, K) int64.

    Parameters
    ----------
    classes : None, str, int, Tensor, sequence or callable
        None: the likeliest of each image; ``"top3"`` (any K); ``"all"``; one index for all
        images; N indices; N lists of equal length; or a function that makes such indices of the
        logits.
    logits : Tensor, (N, M)

    Raises
    ------
    ConfigError
        For anything else, and for indices outside 0 … M − 1.
    """
    count, known = logits.shape
    if classes is None:
        return logits.argmax(dim=1, keepdim=True)
    if isinstance(classes, str):
        return _by_word(classes, logits)
    if callable(classes):
        classes = classes(logits)
    return _indices(classes, "classes", count, known, logits.device)


def _by_word(word: str, logits: Tensor) -> Tensor:
    count, known = logits.shape
    if word == "all":
        return torch.arange(known, device=logits.device).expand(count, known)
    found = re.fullmatch(r"top([1-9]\d*)", word)
    if found is None:
        raise ConfigError(
            f"expected classes to be None, 'all' or indices, or 'top3' (any number), "
            f"but got {word!r}"
        )
    most = int(found[1])
    if most > known:
        raise ConfigError(f"classes: {word!r} asks for more than the {known} classes there are")
    return logits.topk(most, dim=1).indices


def _indices(value: object, what: str, count: int, known: int, device: torch.device) -> Tensor:
    """Return class indices (N, K) from one index for all, N indices or N lists of them."""
    wanted = f"one index, one for each of {count} images, or as many lists of equal length"
    try:
        chosen = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"expected {what} to be {wanted}, but got {value!r}") from error
    if chosen.is_floating_point() or chosen.dtype == torch.bool or chosen.is_complex():
        raise ConfigError(f"expected {what} to be {wanted}, but got {value!r}")
    if chosen.ndim == 0:
        chosen = chosen.expand(count)
    if chosen.ndim not in (1, 2) or len(chosen) != count or chosen.numel() == 0:
        raise ConfigError(f"expected {what} to be {wanted}, but got {value!r}")
    if not 0 <= int(chosen.min()) <= int(chosen.max()) < known:
        raise ConfigError(f"expected {what} in 0 … {known - 1}, but got {value!r}")
    return chosen.long() if chosen.ndim == 2 else chosen.long()[:, None]


def contrast(classes: Tensor, against: Classes, logits: Tensor, strength: float) -> ScoreSelection:
    """Ask why the classes (N, K) rather than others: score y[a] − strength · y[b].

    `against` is one index for all images, N indices, or N lists; several are averaged. Raises
    ConfigError where a class is held against itself, or an index is unknown.
    """
    count, known = logits.shape
    others = _indices(against, "against", count, known, logits.device)
    if (classes[:, :, None] == others[:, None, :]).any():
        raise ConfigError(
            "against: a class cannot be held against itself; name other classes than the "
            f"explained ones, but got {against!r}"
        )
    return ScoreSelection(classes, others[:, None, :].expand(-1, classes.shape[1], -1), strength)


def nearest_contrast(classes: Tensor, logits: Tensor, many: int, strength: float) -> ScoreSelection:
    """Hold each class (N, K) against the `many` classes whose logits are nearest to its own.

    A network of M classes has at most M − 1 others. Raises ConfigError where it has a single class.
    """
    known = logits.shape[1]
    if known < 2:
        raise ConfigError("finercam: expected at least two classes to compare, but there is one")
    own = logits.gather(1, classes)
    distances = (logits[:, None, :] - own[:, :, None]).abs()
    distances = distances.scatter(2, classes[:, :, None], torch.inf)
    nearest = distances.topk(min(many, known - 1), dim=2, largest=False).indices
    return ScoreSelection(classes, nearest, strength)


def residual_softmax(output: Tensor) -> Tensor:
    """Return ReST scores (N, M), ``y + log softmax(y)``, to be passed as ``target``.

    They hold magnitude (the logit) and rank (the probability) at once.

    References
    ----------
    Cai, "CAMs as Shapley Value-based Explainers", The Visual Computer 2025, section 4.
    """
    return output + output.log_softmax(dim=1)
