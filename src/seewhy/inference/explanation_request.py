"""What is asked of every picture: a person's words turned into a classifier's own terms.

Knows classifiers, methods and layers by name; no pictures and no files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError, near_names
from seewhy.explanation.endings import ask
from seewhy.explanation.explain import Explanation, explain
from seewhy.explanation.methods.registry import METHODS, Method, find_method
from seewhy.inference.classifiers import NamedClassifier

# Each class of a picture is a file: more than these nobody looks at.
MOST_CLASSES = 20
_RANKED = re.compile(r"top([1-9]\d*)")


@dataclass(frozen=True)
class ExplanationRequest:
    """What is asked of every picture, in words."""

    # ``predicted``, ``top3`` (any number) or ``all`` alone; or classes as
    # `NamedClassifier.find_class` knows them.
    classes: tuple[str, ...] = ("predicted",)
    methods: tuple[str, ...] = ()  # empty: the classifier's own
    layers: tuple[str, ...] = ()  # empty: the classifier's own, or what suits the method
    against: tuple[str, ...] = ()  # classes that the explained ones are held against
    opacity: float = 0.5  # of the overlays, 0 … 1
    batch_size: int = 16  # how many pictures are held at once
    # white and black: which values are white and black in pictures of more than 8 bits a
    # value; default: as in the classifier's study, else found from all pictures.
    white: float | None = None
    black: float | None = None


@dataclass(frozen=True)
class ResolvedRequest:
    """What is asked, in a classifier's terms."""

    methods: tuple[tuple[Method, str | tuple[str, ...]], ...]  # each with its layers
    # How many of a picture's likeliest classes are explained; 0 where they are `chosen`.
    ranked: int
    chosen: tuple[int, ...]  # the classes explained in every picture
    against: tuple[int, ...]

    @property
    def many(self) -> bool:
        """Whether a picture has several maps."""
        return self.ranked + len(self.chosen) > 1 or len(self.methods) > 1

    def ask(self, module: nn.Module, images: Tensor) -> list[tuple[Method, Explanation]]:
        """Explain a batch (N, 3, size, size) by every method."""
        rows = len(images)
        return [
            (
                method,
                explain(
                    module,
                    images,
                    f"top{self.ranked}" if self.ranked else [list(self.chosen)] * rows,
                    layers,
                    method.name,
                    against=[list(self.against)] * rows if self.against else None,
                ),
            )
            for method, layers in self.methods
        ]

    def opposed(self, module: nn.Module, images: Tensor) -> list[int | None]:
        """Return, image by image, the first class that is explained and held against itself."""
        if not self.against or not self.ranked:
            return [None] * len(images)
        with torch.inference_mode():
            logits = ask(module, partial(module, images), None, len(images)).logits
        likeliest = logits.topk(self.ranked, dim=1).indices.tolist()
        return [next((k for k in self.against if k in row), None) for row in likeliest]


def read_question(classifier: NamedClassifier, asking: ExplanationRequest) -> ResolvedRequest:
    """Find what `asking` names.

    Raises ConfigError for an unknown class, method or layer, or a question that this classifier
    cannot be asked.
    """
    if not 0.0 <= asking.opacity <= 1.0:
        raise ConfigError(f"opacity: expected a number in 0 … 1, but got {asking.opacity:g}")
    if asking.batch_size < 1:
        raise ConfigError(f"batch size: expected 1 or more, but got {asking.batch_size}")
    known = dict(classifier.module.named_modules())
    for name in asking.layers:
        if name not in known:
            raise ConfigError(
                f"layer {name!r}: {classifier.name} has no such layer"
                f"{near_names(name, known)}; `seewhy layers` lists them"
            )
    methods = [find_method(name) for name in dict.fromkeys(asking.methods or (classifier.method,))]
    ranked, chosen = _read_classes(classifier, asking, methods)
    against = _find_classes(classifier, asking.against)
    both = set(chosen) & set(against)
    if both:
        raise ConfigError(
            f"against: {classifier.classes[min(both)]} is explained itself; hold it against "
            "other classes"
        )
    layered = tuple((method, _layers_for(method, classifier, asking)) for method in methods)
    return ResolvedRequest(layered, ranked, chosen, against)


def _read_classes(
    classifier: NamedClassifier, asking: ExplanationRequest, methods: list[Method]
) -> tuple[int, tuple[int, ...]]:
    """Return how many of the likeliest classes are asked for, or which classes."""
    words, known = asking.classes, len(classifier.classes)
    if not known:
        _need_no_class(classifier, asking, methods)
        return 0, (0,)
    if words == ("predicted",):
        return 1, ()
    ranked, chosen = 0, tuple(range(known))
    if len(words) == 1 and (found := _RANKED.fullmatch(words[0])):
        ranked, chosen = int(found[1]), ()
        if ranked > known:
            raise ConfigError(f"classes: {words[0]} asks for more than the {known} there are")
    elif words != ("all",):
        chosen = _find_classes(classifier, words)
    if ranked + len(chosen) > MOST_CLASSES:
        raise ConfigError(
            f"classes: {ranked + len(chosen)} for every picture are more than the {MOST_CLASSES} "
            "that are drawn; name some, or ask for top5"
        )
    return ranked, chosen


def _find_classes(classifier: NamedClassifier, words: tuple[str, ...]) -> tuple[int, ...]:
    """Find classes by words, each one class or several between commas."""
    found: dict[int, None] = {}
    for word in words:
        whole = "," not in word or word in classifier.classes
        for part in (word,) if whole else word.split(","):
            part = part.strip()
            if part in ("predicted", "all") or _RANKED.fullmatch(part):
                raise ConfigError(f"classes: {part} stands alone; name it or classes, not both")
            found[classifier.find_class(part)] = None
    return tuple(found)


def _need_no_class(
    classifier: NamedClassifier, asking: ExplanationRequest, methods: list[Method]
) -> None:
    """Refuse what has no answer without a classifier."""
    free = [method.name for method in METHODS.values() if method.needs == "activations"]
    asks = [method.name for method in methods if method.name not in free]
    if asks or asking.against or asking.classes != ("predicted",):
        raise ConfigError(
            f"{classifier.name}: the weights have no classifier, so there is no class to explain; "
            f"take --method {' or '.join(free)}, which asks for none, or train a classifier on "
            "them with `seewhy run` and explain that"
        )


def _layers_for(
    method: Method, classifier: NamedClassifier, asking: ExplanationRequest
) -> str | tuple[str, ...]:
    if method.needs == "input":
        return "auto"
    if asking.layers:
        return asking.layers
    return "auto" if method.needs == "attention" else classifier.default_layers(method.name)
