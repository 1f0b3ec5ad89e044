"""A backbone: its name turned into a network, its weights and the preprocessing they want.

Knows nothing of the cut's place, heads, data or training.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from seewhy.config import BackboneConfig
from seewhy.errors import BackboneError, first_line, near_names
from seewhy.models.cut import trace_trunk, trunk_shapes, weighted_layers
from seewhy.models.imagenet import imagenet_wnids
from seewhy.models.inputs import fit_size, fit_trained_size, read_preprocess
from seewhy.models.names import LOCAL, architecture_of, full_name, timm_config
from seewhy.models.weights import LITE0, install, load_hub, read_lite0, read_local
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.input_size import InputSize

_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, ready to be cut.

    Attributes
    ----------
    name : str
        timm's architecture, with the weights' tag where they have one.
    weights : str
        Where they come from, for people.
    model : nn.Module
        The timm model, with its classifier where the weights have one; float32, in evaluation
        mode, nothing in it requires gradients.
    preprocess : Preprocess
        What the weights were trained with; the size may be the study's own.
    parameters : int
        Of the published architecture, its classifier for ImageNet's 1000 classes included.
    weighted_layers : int
        Convolutions and linear layers of the published architecture, classifier included.
    wnids : tuple of str or None
        WordNet ids of the classifier's outputs, in their order.
    no_classifier : str or None
        Why there are no such ids.
    weights_key : str
        SHA-256 of the trunk's tensors, names and architecture: guards what is kept.
    """

    name: str
    weights: str
    model: nn.Module
    preprocess: Preprocess
    parameters: int
    weighted_layers: int
    wnids: tuple[str, ...] | None
    no_classifier: str | None
    weights_key: str


@dataclass(frozen=True)
class LoadedNetwork:
    """A timm network with its weights, whether it can be cut or not."""

    # name, weights, model and preprocess: as in `Backbone`.
    name: str
    weights: str
    model: nn.Module
    preprocess: Preprocess
    # What the classifier's outputs are called, by WordNet ids or otherwise: as the weights'
    # folder says, else by the ImageNet set that has as many classes; two where a single
    # output decides between two named classes. None where nothing says it, empty where there
    # is no classifier.
    labels: tuple[str, ...] | None
    # wnids and no_classifier: as in `Backbone`.
    wnids: tuple[str, ...] | None
    no_classifier: str | None


def load_network(config: BackboneConfig, size: InputSize | None, seed: int) -> LoadedNetwork:
    """Load a network as it is, a vision transformer too; nothing is asked of its trunk.

    Size and seed are as for `load_backbone`. Raises BackboneError for an unknown name or weights
    that do not fit, DownloadError where the weights should come from the hub and do not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        loaded = _load(config, size)
    model = loaded.model.float().eval().requires_grad_(False)
    fit_size(model, loaded.preprocess.size, loaded.name)
    return loaded


def load_backbone(config: BackboneConfig, size: InputSize | None, seed: int) -> Backbone:
    """Load a backbone with the weights that its configuration names.

    Parameters
    ----------
    config : BackboneConfig
    size : int, or height and width, optional
        Of the input, pixels; default: what the weights were trained with.
    seed : int
        Of the random weights where the configuration asks for them (``weights = "none"``). The
        global random state stays as it was.

    Raises
    ------
    BackboneError
        For an unknown name, weights that do not fit, a network without a spatial map, or one that
        cannot take images of this size.
    DownloadError
        Where the weights should come from the hub and do not.
    """
    loaded = load_network(config, size, seed)
    model = loaded.model
    trunk = trace_trunk(model)
    trunk_shapes(model, trunk.graph, loaded.preprocess.size)
    architecture = architecture_of(model)
    parameters, layers = measure_architecture(architecture)
    return Backbone(
        name=loaded.name,
        weights=loaded.weights,
        model=model,
        preprocess=loaded.preprocess,
        parameters=parameters,
        weighted_layers=layers,
        wnids=loaded.wnids,
        no_classifier=loaded.no_classifier,
        weights_key=_key(architecture, trunk.state_dict()),
    )


def sketch_network(name: str, size: InputSize | None) -> tuple[nn.Module, InputSize]:
    """Create a timm network without values, to ask it for its layers' shapes, and its input's size.

    On PyTorch's ``meta`` device, in evaluation mode, with its published classifier. The size is
    `size`, pixels, or what the weights are trained with. Raises BackboneError for a name that timm
    does not know or cannot build.
    """
    name = full_name(name)
    with torch.device("meta"):
        model = _create(name).eval()
        found = read_preprocess(timm_config(model), size, name).size
        fit_size(model, found, name)
    return model, found


def create_architecture(name: str, size: InputSize | None = None) -> nn.Module:
    """Create a timm model without a classifier, its weights random, in evaluation mode.

    The tag of the name, which names weights, is ignored. `size` is the input's, pixels, default
    the architecture's own. The global random state stays as it was. Raises BackboneError
    where timm does not know the architecture or cannot build it for this size.
    """
    architecture = full_name(name.partition(".")[0]).partition(".")[0]
    with torch.random.fork_rng(devices=[]):
        model = _create(architecture, num_classes=0).eval()
        if size is not None:
            fit_size(model, size, architecture)
    return model


def measure_architecture(name: str) -> tuple[int, int]:
    """Return parameters and weighted layers of a published architecture, classifier included.

    Raises BackboneError where timm does not know the architecture or cannot build it.
    """
    with torch.device("meta"):
        model = _create(name.partition(".")[0])
    return sum(p.numel() for p in model.parameters()), weighted_layers(model)


def _load(config: BackboneConfig, size: InputSize | None) -> LoadedNetwork:
    """Load a network for images of a size; it is not yet fitted to that."""
    folder = _folder(config)
    if folder is not None:
        return _from_folder(folder, config, size)
    name = full_name(config.name)
    if config.weights == "none":
        model, name, source = _create(name), name.partition(".")[0], "none (random)"
        preprocess = read_preprocess(timm_config(model), size, source)
        reason = "the weights are random, so there is no ImageNet classifier"
        return LoadedNetwork(name, source, model, preprocess, None, None, reason)
    if name in (LITE0, f"{LITE0}.in1k"):
        model, known = _create(LITE0), imagenet_wnids()
        tensors, source = read_lite0(model)
        model.load_state_dict(tensors)
        preprocess = read_preprocess(timm_config(model), size, source)
        return LoadedNetwork(f"{LITE0}.in1k", source, model, preprocess, known, known, None)
    model = load_hub(name)
    pretrained = timm_config(model)
    full = _tagged(architecture_of(model), pretrained.get("tag"))
    labels = _labels(getattr(model, "num_classes", 0), pretrained.get("label_names"))
    wnids, missing = _ids(getattr(model, "num_classes", 0), None)
    preprocess = read_preprocess(pretrained, size, f"hub: {full}")
    return LoadedNetwork(full, f"hub: {full}", model, preprocess, labels, wnids, missing)


def _folder(config: BackboneConfig) -> str | None:
    """Return the folder a configuration names, in its name or its weights."""
    named = config.name.removeprefix(LOCAL) if config.name.startswith(LOCAL) else None
    weights = config.weights.removeprefix(LOCAL) if config.weights.startswith(LOCAL) else None
    if named is not None and config.weights not in ("pretrained", config.name):
        raise BackboneError(
            f"{config.name}: names a folder of weights, but weights says {config.weights!r}; "
            "name the architecture and its weights, or the folder alone"
        )
    folder = named if named is not None else weights
    if folder is not None and not folder.strip():
        raise BackboneError(f"{LOCAL}: expected {LOCAL}PATH with the path of a folder")
    return folder


def _from_folder(folder: str, config: BackboneConfig, size: InputSize | None) -> LoadedNetwork:
    path = Path(folder).expanduser()
    local = read_local(path)
    if not timm.is_model(local.architecture):
        raise BackboneError(
            f"{path / 'config.json'}: timm has no architecture "
            f"{local.architecture!r}{near_names(local.architecture, timm.list_models())}"
        )
    if not config.name.startswith(LOCAL):
        wanted = full_name(config.name).partition(".")[0]
        if wanted != local.architecture:
            raise BackboneError(
                f"{path}: holds weights of {local.architecture}, but the backbone is {wanted}; "
                f"name {LOCAL}{folder} alone"
            )
    model = _create(local.architecture, num_classes=local.classes)
    fit_trained_size(model, local)
    trunk = list(trace_trunk(model.eval()).state_dict())
    complete = install(model, trunk, local.tensors, str(path))
    if complete:
        labels = _labels(local.classes, local.labels)
        wnids, reason = _ids(local.classes, local.labels)
    else:
        _drop_rest(model, trunk)
        labels, wnids, reason = (), None, "the weights have no classifier"
    name = _tagged(local.architecture, local.config.get("tag"))
    source = f"{LOCAL}{folder}"
    preprocess = read_preprocess(local.config, size, source)
    return LoadedNetwork(name, source, model, preprocess, labels, wnids, reason)


def _labels(classes: int, pretrained: Any) -> tuple[str, ...] | None:
    """Return the names of a classifier's outputs: as configured, else ImageNet's ids.

    A single output, which decides for the second of two classes, may have the names of both.
    """
    fitting = (1, 2) if classes == 1 else (classes,)
    if isinstance(pretrained, list | tuple) and len(pretrained) in fitting:
        return tuple(map(str, pretrained))
    subset = infer_imagenet_subset({"num_classes": classes})
    if subset is None:
        return None
    known: Any = ImageNetInfo(subset)
    return tuple(known.label_names())


def _ids(classes: int, labels: tuple[str, ...] | None) -> tuple[tuple[str, ...] | None, str | None]:
    """Return the WordNet ids of a classifier's outputs, or why there are none."""
    if classes == 0:
        return None, "the weights have no classifier"
    if labels is None and classes == 1000:
        return imagenet_wnids(), None
    if labels is None or len(labels) != classes:
        return None, f"nothing says what the classifier's {classes} outputs stand for"
    if not all(_WNID.fullmatch(label) for label in labels):
        return None, "the classifier's outputs are not named by WordNet ids"
    return labels, None


def _create(name: str, **options: Any) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:  # an architecture may refuse an option in any way
        raise BackboneError(f"{name}: timm cannot build it ({first_line(error)})") from error
    return model


def _drop_rest(model: nn.Module, trunk: list[str]) -> None:
    """Take out what the weights did not fill, so that nobody asks random layers for an answer."""
    rooms = {name.partition(".")[0] for name in trunk}
    for name, child in model.named_children():
        if name not in rooms and any(True for _ in child.parameters()):
            setattr(model, name, nn.Identity())


def _tagged(architecture: str, tag: object) -> str:
    known = isinstance(tag, str) and re.fullmatch(r"[A-Za-z0-9_-]+", tag)
    return f"{architecture}.{tag}" if known else architecture


def _key(architecture: str, tensors: dict[str, Tensor]) -> str:
    """Hash a trunk's tensors, in the order of their names."""
    digest = hashlib.sha256(architecture.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
