"""A classifier by the word a person types: ``timm:NAME``, ``local-dir:PATH`` or a run directory.

Returns the network with its preprocessing, the names of its classes, and the layer and the method
that make its maps by default. Knows where classifiers come from, not what is asked of them: no
pictures.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import timm
import torch
from torch import nn

from seewhy.config import DataConfig, Resize, name_backbone
from seewhy.data.decoding.fit import Fit
from seewhy.errors import BackboneError, ConfigError, RunError, SeewhyError, first_line, near_names
from seewhy.explanation.layer_choice import choose_layer
from seewhy.explanation.layers import LayerInfo, list_layers
from seewhy.inference.decision_rule import (
    NO_RULE,
    DecisionRule,
    read_decision_rule,
    read_mirrored_rule,
)
from seewhy.models.backbones import load_network, sketch_network
from seewhy.models.classifier import Classifier, named_layers, read_classifier
from seewhy.models.imagenet import NoImageNetClassError, class_names, group_classes
from seewhy.models.names import LOCAL, SHORT_NAMES
from seewhy.runtime.arguments import path_text, run_root
from seewhy.runtime.device import choose_compute
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.run_version import refuse_other_version
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.input_size import InputSize, as_input_size, sides
from seewhy.storage.schemas.levels import NO_LEVELS, Levels
from seewhy.wording import listing, some

TIMM = "timm:"
_KINDS = f"{TIMM}NAME, {LOCAL}PATH or a finished study's run directory"
_MOST_LISTED = 5
LARGEST_INPUT = 4096


@dataclass(frozen=True)
class NamedClassifier:
    """A classifier with all it takes to ask it about picture files.

    Attributes
    ----------
    name, weights : str
        For people: the network, and where its weights come from.
    module : nn.Module
        Turns preprocessed images (N, 3, height, width) into logits (N, M); in evaluation mode.
    classes : tuple of str
        Names of the M classes, two for a single logit, which decides for the second rather than
        the first; empty where the weights have no classifier.
    labels : tuple of str
        What the weights themselves call them, WordNet ids for ImageNet's.
    preprocess : Preprocess
    working_size : int, or height and width
        Size that pictures are decoded to, pixels.
    layer : str
        The layer that ``auto`` explains.
    method : str
        How maps are made by default: as in the classifier's study, else by Grad-CAM.
    method_layers : tuple of str
        The layers that this method explains by default.
    max_megapixels : float
        Larger pictures are not decoded.
    levels : Levels
        What is black and white in pictures of more than 8 bits a value; empty where the weights
        come from no study, or from one without such pictures.
    rule : DecisionRule
        How a study calibrates its probabilities, and when it abstains; empty without a study.
    resize : {"crop", "pad", "squash"}
        How pictures are brought to the working size.
    mirrored_rule : DecisionRule
        As `rule`, for predictions that are averaged over each picture and its mirror image.

    Examples
    --------
    >>> from seewhy import open_classifier
    >>> named = open_classifier("runs/photos")
    >>> named.classes, named.find_class("Dog")
    (('cat', 'dog'), 1)
    """

    name: str
    weights: str
    module: nn.Module
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    preprocess: Preprocess
    working_size: InputSize
    layer: str
    max_megapixels: float
    levels: Levels = NO_LEVELS
    rule: DecisionRule = NO_RULE
    resize: Resize = "crop"
    method: str = "gradcam"
    method_layers: tuple[str, ...] = ()
    mirrored_rule: DecisionRule = NO_RULE

    def default_layers(self, method: str) -> tuple[str, ...]:
        """Return the layers that a method explains where none are named."""
        return (method == self.method and self.method_layers) or (self.layer,)

    @property
    def fit(self) -> Fit:
        """What brings a decoded picture to the working size, and says where in it that is."""
        return Fit(self.working_size, self.resize)

    def find_class(self, word: str | int) -> int:
        """Return the output that a word names.

        Parameters
        ----------
        word : str or int
            The class's name, another word WordNet has for it, its WordNet id or its number.

        Raises
        ------
        ConfigError
            Where there is none, or several.
        """
        word = unicodedata.normalize("NFC", str(word))
        found = _called(word, self.classes) or _called(word, self.labels)
        if len(found) == 1:
            return found[0]
        if found:
            names = listing([repr(self.classes[k]) for k in found], "or")
            raise ConfigError(f"class {word!r}: {self.name} has {names}; name one exactly")
        plain = word.strip()
        if plain.isascii() and plain.isdigit():
            numbers = [name for name in self.classes if name.strip().isdecimal()]
            # Where classes are called by numbers, a number is a name and never a place.
            if numbers and self.labels == self.classes:
                raise ConfigError(
                    f"class {word!r}: {self.name} has no class of that name; its classes are "
                    f"{some([repr(name) for name in self.classes])}"
                )
            if int(plain) < len(self.classes):
                return int(plain)
            raise ConfigError(
                f"class {word!r}: {self.name} numbers its classes 0 … {len(self.classes) - 1}"
            )
        return self._by_kind(word)

    def _by_kind(self, word: str) -> int:
        """Look a word up in WordNet, where the outputs are named by its ids."""
        try:
            members = group_classes([word], self.labels, {}).members[0].tolist()
        except NoImageNetClassError as error:
            raise ConfigError(
                f"class {word!r}: {self.name} has no such class{near_names(word, self.classes)}"
            ) from error
        if len(members) == 1:
            return int(members[0])
        names = ", ".join(self.classes[k] for k in members[:_MOST_LISTED])
        more = ", …" if len(members) > _MOST_LISTED else ""
        raise ConfigError(
            f"class {word!r}: stands for {len(members)} classes of {self.name} ({names}{more}); "
            "name one of them"
        )


def _called(word: str, names: Sequence[str]) -> list[int]:
    """Return the places of the names that a word means: exactly, else in another spelling."""
    exact = [k for k, name in enumerate(names) if name == word]
    if exact:
        return exact
    plain = word.strip().casefold()
    found = [k for k, name in enumerate(names) if name.strip().casefold() == plain]
    if found or not plain.isdecimal():
        return found
    # 3 for the class 003.
    return [k for k, name in enumerate(names) if name.isdecimal() and int(name) == int(plain)]


def open_classifier(
    word: str,
    *,
    weights: str | None = None,
    size: InputSize | None = None,
    resize: Resize | None = None,
    backbone: str | None = None,
    stage: Stage | None = None,
    device: str = "auto",
) -> NamedClassifier:
    """Load the classifier that a word names.

    Parameters
    ----------
    word : str
        ``timm:NAME``, ``local-dir:PATH`` (a folder in timm's layout) or a run directory.
    weights : str, optional
        For ``timm:NAME``: ``pretrained`` (the default), ``none`` or ``local-dir:PATH``.
    size : int, or height and width, optional
        Of the network's input, pixels; default what its weights were trained with. Not for a run
        directory.
    resize : {"crop", "pad", "squash"}, optional
        How pictures of other proportions become the input; default ``crop``. Not for a run
        directory, which has its own.
    backbone, stage : str, optional
        For a run directory: which of its classifiers; default its first backbone, fine-tuned.
    device : str, default "auto"

    Raises
    ------
    SeewhyError
        Where there is no such classifier, or an option does not go with it.

    Examples
    --------
    >>> from seewhy import open_classifier
    >>> named = open_classifier("timm:resnet10t", weights="none", size=64)
    >>> len(named.classes), named.layer
    (1000, 'layer4')
    """
    if isinstance(word, nn.Module):
        raise ConfigError(
            "classifier: expected a word, but got a network; seewhy.explain takes it as it is"
        )
    word = path_text(word, "classifier")
    size = _checked_size(size)
    if resize not in (None, *get_args(Resize)):
        raise ConfigError(f"resize: expected {listing(get_args(Resize), 'or')}, but got {resize!r}")
    where = choose_compute(device, "float32").device
    if not word.startswith((TIMM, LOCAL)):
        given = {"weights": weights, "size": size, "resize": resize}
        _refuse(word, "a timm network or a folder of weights", **given)
        return _of_run(Path(word), backbone, stage or "finetuning", where)
    _refuse(word, "a run directory", backbone=backbone, stage=stage)
    if word.startswith(LOCAL):
        _refuse(word, f"{TIMM}NAME", weights=weights)
    config = name_backbone(word.removeprefix(TIMM), weights)
    network = load_network(config, size, seed=0)
    module = network.model.to(where)
    image = _image(network.preprocess.size, where)
    labels = network.labels
    if labels is None:
        labels = tuple(map(str, range(max(2, _outputs(network.name, module, image)))))
    elif len(labels) == 1:
        labels = (f"not {labels[0]}", labels[0])
    return NamedClassifier(
        name=network.name,
        weights=network.weights,
        module=module,
        classes=class_names(labels),
        labels=labels,
        preprocess=network.preprocess,
        working_size=network.preprocess.size,
        layer=_chosen(network.name, module, image),
        max_megapixels=DataConfig().max_megapixels,
        resize=resize or "crop",
    )


def _checked_size(size: object) -> InputSize | None:
    if size is None:
        return None
    given = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    fits = [isinstance(side, int) and 0 < side <= LARGEST_INPUT for side in given]
    if len(given) != 2 or not all(fits):
        raise ConfigError(
            f"size: expected 1 … {LARGEST_INPUT} pixels, or height and width, but got {size!r}"
        )
    return as_input_size(*given)


def load_classifier(
    root: Path | str,
    backbone: str | None = None,
    stage: Stage = "finetuning",
    device: str = "auto",
) -> Classifier:
    """Load a finished study's classifier, in evaluation mode.

    Parameters
    ----------
    root : Path or str
        The run directory.
    backbone : str, optional
        Its folder's name under ``backbones/``; default the study's first.
    stage : {"adaptation", "finetuning"}, default "finetuning"
    device : str, default "auto"

    Raises
    ------
    RunError
        Where there is no such study or backbone, or the file is damaged.

    Examples
    --------
    >>> from seewhy import load_classifier
    >>> load_classifier("runs/photos", stage="adaptation").classes
    ('cat', 'dog')
    """
    run = RunDirectory.open(run_root(root))
    if stage not in STAGES:
        raise ConfigError(f"stage: expected {' or '.join(STAGES)}, but got {stage!r}")
    slugs = list(run.summary.read().backbones)
    slug = backbone or slugs[0]
    if slug not in slugs:
        raise RunError(
            f"{root}: holds no backbone {slug!r}{near_names(slug, slugs)}; it has "
            f"{', '.join(slugs)}"
        )
    classifier = read_classifier(run.training.model_path(slug, stage))
    return classifier.to(choose_compute(device, "float32").device)


@dataclass(frozen=True)
class NetworkLayers:
    """The layers of a network."""

    name: str  # the network, for people
    size: InputSize  # of the input, pixels
    layers: tuple[LayerInfo, ...]  # in the order their outputs appear
    chosen: tuple[str, ...]  # those explained by default; empty where none puts out a map


def describe_layers(
    word: str,
    *,
    size: InputSize | None = None,
    backbone: str | None = None,
    stage: Stage | None = None,
) -> NetworkLayers:
    """List the layers of the network that a word names; ``timm:NAME`` needs no weights for it.

    Parameters
    ----------
    word, size, backbone, stage
        As for `open_classifier`.

    Raises
    ------
    SeewhyError
        Where there is no such network, or it cannot take images of this size.
    """
    if word.startswith(TIMM):
        _refuse(word, "a run directory", backbone=backbone, stage=stage)
        name = word.removeprefix(TIMM)
        module, found = sketch_network(name, _checked_size(size))
        image = _image(found, torch.device("meta"))
        chosen = _choice(module, image)
        return NetworkLayers(name, found, _layers(name, module, image), chosen)
    named = open_classifier(word, size=size, backbone=backbone, stage=stage, device="cpu")
    image = _image(named.preprocess.size, torch.device("cpu"))
    layers = _layers(named.name, named.module, image)
    chosen = named.default_layers(named.method)
    return NetworkLayers(named.name, named.preprocess.size, layers, chosen)


def _of_run(
    root: Path, backbone: str | None, stage: Stage, device: torch.device
) -> NamedClassifier:
    refuse_other_version(root)
    if not root.is_dir() or not RunDirectory(root).is_finished:
        raise RunError(_no_run(root))
    classifier = load_classifier(root, backbone, stage, str(device))
    design = classifier.design
    summary = RunDirectory(root).summary.read()
    slug = backbone or next(iter(summary.backbones))
    explained = summary.backbones[slug].explanation
    return NamedClassifier(
        name=f"{root} ({slug}, {stage})",
        weights=str(RunDirectory(root).training.model_path(slug, stage)),
        module=classifier,
        classes=design.classes,
        labels=design.classes,
        preprocess=design.preprocess,
        working_size=design.working_size,
        layer=classifier.map_layer,
        max_megapixels=RunDirectory(root).config.read().data.max_megapixels,
        levels=design.levels,
        resize=design.resize,
        rule=read_decision_rule(RunDirectory(root), slug, stage),
        method=explained.method,
        method_layers=tuple(f"tail_and_head.{one}" for one in named_layers(explained.layer)),
        mirrored_rule=read_mirrored_rule(RunDirectory(root), slug, stage),
    )


def _no_run(root: Path) -> str:
    """Say what is wrong with a word that is taken for a run directory."""
    word = str(root)
    if word in SHORT_NAMES or timm.is_model(word.partition(".")[0]):
        return f"{word}: there is no such run directory; a network of timm's is named {TIMM}{word}"
    if (root / "model.safetensors").is_file():
        return f"{word}: is no run directory; a folder of weights is named {LOCAL}{word}"
    if root.is_dir():
        return (
            f"{word}: holds no finished study (no summary.json); run the study to its end first, "
            f"or name {_KINDS}"
        )
    return f"{word}: there is no such run directory; expected {_KINDS}"


def _refuse(word: str, wanted: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name}: goes with {wanted}, but the classifier is {word}")


def _image(size: InputSize, device: torch.device) -> torch.Tensor:
    return torch.zeros(1, 3, *sides(size), device=device)


def _outputs(name: str, module: nn.Module, image: torch.Tensor) -> int:
    """Count a classifier's outputs."""
    with _taking(name, image), torch.inference_mode():
        output = module(image)
        return int(output.shape[1]) if output.ndim > 1 else 1


def _chosen(name: str, module: nn.Module, image: torch.Tensor) -> str:
    with _taking(name, image):
        return choose_layer(module, image)


def _layers(name: str, module: nn.Module, image: torch.Tensor) -> tuple[LayerInfo, ...]:
    with _taking(name, image):
        return tuple(list_layers(module, image))


def _choice(module: nn.Module, image: torch.Tensor) -> tuple[str, ...]:
    try:
        return (choose_layer(module, image),)
    except ConfigError:
        return ()


@contextmanager
def _taking(name: str, image: torch.Tensor) -> Iterator[None]:
    """Turn a network's own refusal of an image into one sentence."""
    try:
        yield
    except SeewhyError:
        raise
    # Networks refuse a size with assertions, shape errors, whatever their layers raise.
    except Exception as error:
        height, width = image.shape[2:]
        raise BackboneError(
            f"{name}: cannot take images of {height}×{width} ({first_line(error)}); "
            "leave --size out or name another one"
        ) from error
