"""The classifier: prefix, tail and head, and its safetensors file.

The file is complete: it holds the trunk too, so a study's classifier loads where the pretrained
weights are not available. Knows nothing of training, data sets or maps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from seewhy.config import Resize
from seewhy.errors import BackboneError, RunError
from seewhy.models.backbones import create_architecture
from seewhy.models.cut import Cut, cut_trunk
from seewhy.storage.atomic_writing import writing
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.input_size import InputSize, read_input_size
from seewhy.storage.schemas.levels import NO_LEVELS, Levels, ValueLevel

# What records call the layer whose name is empty.
_TRUNK = "trunk output"


class Head(nn.Module):
    """Pooling, the added hidden layers, the new output layer.

    Parameters
    ----------
    features : int
        Channels C of the trunk's last map.
    units : sequence of int
        Width of each hidden layer, ReLU and dropout after each; empty: a linear head.
    dropout : float
    classes : int
    seed : int
        Of the initial weights; the global random state stays as it was.
    """

    def __init__(
        self, features: int, units: Sequence[int], dropout: float, classes: int, seed: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for width in units:
                layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)]
                features = width
            layers.append(nn.Linear(features, classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Classify maps (B, C, h, w); return logits (B, K), see `classify`."""
        return self.classify(pool(maps))

    def classify(self, pooled: Tensor) -> Tensor:
        """Classify pooled features (B, C); return logits (B, K), at least in float32.

        Multiplied in the type of the weights, whatever that of the features or of autocast is.
        """
        with torch.autocast(pooled.device.type, enabled=False):
            logits: Tensor = self.layers(pooled.to(next(self.layers.parameters()).dtype))
        return _at_least_float32(logits)


def pool(maps: Tensor) -> Tensor:
    """Average maps (B, C, h, w) over their places, at least in float32; return (B, C)."""
    return _at_least_float32(maps).mean(dim=(2, 3))


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


class TailAndHead(nn.Module):
    """Tail and head: what fine-tuning trains, fed with activations at the cut."""

    def __init__(self, tail: nn.Module, head: Head) -> None:
        super().__init__()
        self.tail = tail
        self.head = head

    def forward(self, activations: Tensor) -> Tensor:
        """Return logits (B, K) for activations at the cut; these may be overwritten."""
        logits: Tensor = self.head(self.tail(activations))
        return logits


@dataclass(frozen=True)
class ClassifierSpec:
    """What a classifier's file must say to be built again."""

    architecture: str  # timm's name
    open_share: float  # share of weighted layers in the tail
    # units and dropout: the head's.
    units: tuple[int, ...]
    dropout: float
    classes: tuple[str, ...]
    preprocess: Preprocess
    # Size that the study's images were decoded to, pixels; new pictures take the same two steps,
    # to this size and then to the input's.
    working_size: InputSize
    # What is black and white in pictures of more than 8 bits a value, as in the study.
    levels: Levels = NO_LEVELS
    # How the study's pictures were brought to the working size.
    resize: Resize = "crop"


class Classifier(nn.Module):
    """A fine-tuned classifier: preprocessed images in, logits out.

    Attributes
    ----------
    prefix : nn.Module
        The frozen part of the trunk; always in evaluation mode.
    tail_and_head : TailAndHead
    design : ClassifierSpec
    map_layer : str
        Name of the module whose output is the last spatial map, for `seewhy.explain`.

    Examples
    --------
    Of the study in ``runs/photos``, with two classes:

    >>> import torch
    >>> from seewhy import load_classifier
    >>> classifier = load_classifier("runs/photos")
    >>> classifier(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 2])
    """

    def __init__(self, cut: Cut, head: Head, design: ClassifierSpec) -> None:
        super().__init__()
        self.prefix: nn.Module = cut.prefix
        self.tail_and_head = TailAndHead(cut.tail, head)
        self.design = design
        self.map_layer = "tail_and_head." + map_layer(cut)
        self.prefix.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.design.classes

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) for preprocessed images (B, 3, height, width)."""
        logits: Tensor = self.tail_and_head(self.prefix(images))
        return logits

    def train(self, mode: bool = True) -> Classifier:
        """Switch the part after the cut; the prefix stays in evaluation mode."""
        super().train(mode)
        self.prefix.eval()
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors under the names they have on disk: ``trunk.…`` and ``head.…``."""
        trunk = {**self.prefix.state_dict(), **self.tail_and_head.tail.state_dict()}
        named = {f"trunk.{name}": tensor for name, tensor in trunk.items()}
        head = self.tail_and_head.head.state_dict()
        named.update({f"head.{name}": tensor for name, tensor in head.items()})
        return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def map_layer(cut: Cut) -> str:
    """Return the name, within `TailAndHead`, of the module that makes the last spatial map."""
    return tail_and_head_name(cut.last_map)


def tail_and_head_name(layer: str) -> str:
    """Return a trunk layer's name within `TailAndHead`; the empty name is the trunk's output."""
    return f"tail.{layer}" if layer else "tail"


@dataclass(frozen=True)
class MapPair:
    """How maps are made: a method, and the layers, by their names within `TailAndHead`."""

    method: str
    layers: tuple[str, ...]


def in_trunk(layer: str) -> str:
    """Return the trunk's name of a layer of `TailAndHead`; the empty one is the trunk's output."""
    return layer.removeprefix("tail").removeprefix(".")


def shown_layers(layers: Sequence[str]) -> str:
    """Return how layers of `TailAndHead` are called in records: by their names in the trunk."""
    return ", ".join(in_trunk(layer) or _TRUNK for layer in layers)


def named_layers(shown: str) -> tuple[str, ...]:
    """Return the layers of `TailAndHead` that a record calls so, see `shown_layers`."""
    return tuple(tail_and_head_name("" if one == _TRUNK else one) for one in shown.split(", "))


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write a classifier to a safetensors file, atomically.

    Raises RunError where the disk is full or the place cannot be written.
    """
    design = json.dumps(asdict(classifier.design), ensure_ascii=False)
    with writing(path) as part:
        part.write_bytes(save(classifier.tensors(), metadata={"seewhy": design}))


def read_classifier(path: Path) -> Classifier:
    """Read a classifier back, on the CPU, in evaluation mode.

    Raises RunError where the file is missing, damaged or not one of seewhy's.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            design = _design(json.loads((stored.metadata() or {})["seewhy"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        model = create_architecture(design.architecture, design.preprocess.size)
        model.requires_grad_(False)
        cut = cut_trunk(model, design.open_share, design.preprocess.size)
        # timm's own count of the trunk's channels: a head of another width fails to load below.
        channels: Any = model.num_features
        head = Head(channels, design.units, design.dropout, len(design.classes), seed=0)
        parts: dict[str, nn.Module] = {"prefix": cut.prefix, "tail": cut.tail}
        for part in parts.values():
            part.load_state_dict({n: tensors[f"trunk.{n}"] for n in part.state_dict()})
        head.load_state_dict({n: tensors[f"head.{n}"] for n in head.state_dict()})
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such classifier") from error
    except (
        OSError,
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        BackboneError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: cannot be read as a classifier of seewhy ({reason})") from error
    return Classifier(cut, head, design).eval()


def _design(stored: dict[str, Any]) -> ClassifierSpec:
    preprocess = stored["preprocess"]
    return ClassifierSpec(
        architecture=str(stored["architecture"]),
        open_share=float(stored["open_share"]),
        units=tuple(int(width) for width in stored["units"]),
        dropout=float(stored["dropout"]),
        classes=tuple(str(name) for name in stored["classes"]),
        preprocess=Preprocess(
            size=read_input_size(preprocess["size"]),
            mean=tuple(preprocess["mean"]),
            std=tuple(preprocess["std"]),
            interpolation=preprocess["interpolation"],
        ),
        working_size=read_input_size(stored["working_size"]),
        levels=Levels(
            tuple(
                ValueLevel(level["kind"], float(level["black"]), float(level["white"]))
                for level in stored["levels"]["known"]
            )
        ),
        # Files of an earlier state of this version do not say it.
        resize=stored.get("resize", "crop"),
    )
