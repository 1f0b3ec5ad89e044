"""What cannot be explained, each in one sentence: models, images, scores that are no numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from seewhy.errors import ConfigError, first_line
from seewhy.explanation.module_calls import behind


def check_model(model: object) -> nn.Module:
    """Refuse what is no network that runs layer by layer in Python."""
    kind = type(model).__name__
    if kind == "ExportedProgram":
        raise ConfigError(
            "model: an exported program runs as one graph, in which no layer can be recorded; "
            "explain the nn.Module it was exported from"
        )
    if not isinstance(model, nn.Module):
        held = isinstance(getattr(model, "module", None), nn.Module)
        hint = "take its .module" if held else "seewhy.open_classifier loads one by its name"
        raise ConfigError(f"model: expected an nn.Module, but got {kind}; {hint}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConfigError(
            f"model: {kind} was made by torch.jit and runs outside Python, where no layer can be "
            "recorded; explain the nn.Module it was made from"
        )
    # torch.export takes `eval` from the modules that it makes.
    exported = "eval" in vars(model) and isinstance(model, torch.fx.GraphModule)
    if "_guards_fn" in model._modules or exported:
        raise ConfigError(
            f"model: {kind} comes from torch.export and runs as one graph, in which no layer can "
            "be recorded; explain the nn.Module it was exported from"
        )
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            raise ConfigError(
                f"model: its weight {name!r} has no shape yet, since it belongs to a lazy "
                "module; send a batch through the model once, then explain it"
            )
    return model


def check_images(model: nn.Module, images: object) -> Tensor:
    """Refuse what is no batch of preprocessed images on the model's device."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.numel() == 0:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        hint = "; seewhy.read_images makes one of files, images of Pillow's and arrays"
        if isinstance(images, Tensor):
            hint = "; images[None] makes one of it" if images.ndim == 3 else ""
        raise ConfigError(
            f"images: expected a batch (N, C, H, W) of one or more, but got {got}{hint}"
        )
    if not images.is_floating_point():
        raise ConfigError(
            f"images: expected preprocessed float images, but got {images.dtype}; normalise them "
            "as the model was trained with"
        )
    first = next(model.parameters(), None)
    if first is not None and first.device != images.device:
        raise ConfigError(
            f"images: are on {images.device}, but the model on {first.device}; move one to the "
            "other"
        )
    if first is not None and first.is_inference():
        raise ConfigError(
            "model: its parameters were made under torch.inference_mode and can carry no "
            "gradient; build it outside"
        )
    return images


@contextmanager
def matching_types(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Name the types where a model fails on images of another type than its weights.

    It may also cast them itself; so only a failure tells.
    """
    try:
        yield
    except RuntimeError as error:
        types = {p.dtype for p in model.parameters() if p.is_floating_point()}
        if not types or images.dtype in types or not re.search(r"\bd?types?\b", str(error)):
            raise
        own = " and ".join(sorted(str(one) for one in types))
        raise ConfigError(
            f"images: are {images.dtype}, but the model's weights are {own}, and it does not cast "
            f"them ({first_line(error)}); images.to({own.split()[0]}) does"
        ) from error


def check_scores(model: nn.Module, images: Tensor, scores: Tensor) -> None:
    """Refuse scores (N, M) that are no numbers, and say where that comes from."""
    wrong = scores.isnan() | (scores == torch.inf)
    if not wrong.any():
        return
    kind = "not a number (NaN)" if scores.isnan().any() else "infinite"
    row = int(wrong.any(dim=1).nonzero()[0])
    bad = [n for n, p in model.named_parameters() if p.is_floating_point() and not _finite(p)]
    bad += [n for n, b in model.named_buffers() if b.is_floating_point() and b.isnan().any()]
    if not _finite(images[row]):
        reason = "the image itself holds values that are not finite"
    elif bad:
        reason = f"the model's {bad[0]!r} holds values that are not finite"
    else:
        reason = f"they arise in its forward pass, computed in {scores.dtype}"
    raise ConfigError(f"model: its scores for image {row} are {kind}: {reason}")


def check_dependence(images: Tensor, name: str, maps: Tensor) -> None:
    """Refuse a layer that puts out the same maps (N, C, h, w) for two different images."""
    for row in range(1, len(images)):
        if not torch.equal(images[row], images[0]):
            # Zeros may come from a layer that is silent for both.
            if torch.equal(maps[row], maps[0]) and bool(maps[0].any()):
                raise ConfigError(
                    f"layer {name!r}: puts out the same for different images, so it does not "
                    "depend on them; choose a layer on the way from the images to the scores"
                )
            return


def _finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())


def check_gradients(model: nn.Module, scores: Tensor | None) -> None:
    """Refuse to go back through layers that compute in integers.

    The way back is the graph of the scores (N, M); None: all of the model.
    """
    for name, module in model.named_modules():
        if name and "quantized" in type(module).__module__:
            break
    else:
        return
    if scores is not None and scores.grad_fn is not None:
        nodes = behind(scores.grad_fn, set())[1]
        # PyTorch's node for functions that have no gradient.
        if not any(node.name().endswith("WarnNotImplemented") for node in nodes):
            return
    raise ConfigError(
        f"model: its {name!r} computes in integers ({type(module).__name__}), which have no "
        "gradient; explain the float network it was made from, or choose eigencam or ablationcam"
    )
