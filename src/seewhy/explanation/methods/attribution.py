"""Attributions by input, from Captum where it is installed: an extra behind the same `explain`.

Each is asked for the explained score and gives a value a pixel and colour; a map keeps what
supports the class, summed over the colours. Knows Captum's classes by name and imports none
before it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import ConfigError
from seewhy.explanation.endings import ask
from seewhy.explanation.engine import MethodContext
from seewhy.explanation.targets import ScoreSelection

PREFIX = "captum:"

# Captum's class for each name, and how to call it for images (N, C, H, W).
_KNOWN: dict[str, tuple[str, Callable[[MethodContext], dict[str, Any]]]] = {
    "saliency": ("Saliency", lambda case: {"abs": False}),
    "input_x_gradient": ("InputXGradient", lambda case: {}),
    "integrated_gradients": (
        "IntegratedGradients",
        lambda case: {"n_steps": 50, "internal_batch_size": max(case.batch_size, len(case.images))},
    ),
    "occlusion": ("Occlusion", lambda case: _window(case.images)),
}


def titles() -> tuple[tuple[str, str], ...]:
    """Return the names `explain` takes for Captum's methods, and how people write them."""
    return tuple((PREFIX + name, name.replace("_", " ").capitalize()) for name in _KNOWN)


def attribute(case: MethodContext, name: str) -> Tensor:
    """Return maps (N, K, H, W) of one of Captum's methods, by its name as in `titles`.

    Raises ConfigError where Captum is not installed.

    References
    ----------
    Kokhlikyan et al., "Captum: A unified and generic model interpretability library for
    PyTorch", arXiv 2009.07896; the methods' own papers are named in its documentation.
    """
    kind, arguments = _KNOWN[name.removeprefix(PREFIX)]
    maps = []
    for k in range(case.columns):
        method = getattr(_captum(name), kind)(_scorer(case, k))
        with torch.enable_grad():
            # Captum warns where it has to ask the images for gradients itself.
            images = case.images.detach().clone().requires_grad_()
            found = method.attribute(images, **arguments(case))
        maps.append(found.detach().float().relu().sum(dim=1))
    return torch.stack(maps, dim=1)


def _scorer(case: MethodContext, column: int) -> Callable[[Tensor], Tensor]:
    """Return a function from images to their score, (B,).

    Captum repeats the batch for its steps: variant b belongs to image b mod N.
    """
    classes = case.question.classes[:, column : column + 1]
    references = case.question.references
    if references is not None:
        references = references[:, column : column + 1]

    def score(images: Tensor) -> Tensor:
        owners = torch.arange(len(images), device=images.device) % len(classes)
        asked = ScoreSelection(
            classes[owners],
            None if references is None else references[owners],
            case.question.strength,
        )
        run = partial(case.model, images)
        logits = ask(case.model, run, case.target, len(images)).logits
        return asked.select(logits)[:, 0]

    return score


def _window(images: Tensor) -> dict[str, Any]:
    """Cover an eighth of the side at a time, in steps of half that."""
    channels = images.shape[1]
    side = max(min(images.shape[2:]) // 8, 1)
    step = max(side // 2, 1)
    return {"sliding_window_shapes": (channels, side, side), "strides": (channels, step, step)}


def _captum(name: str) -> Any:
    try:
        return import_module("captum.attr")
    except ImportError as error:
        raise ConfigError(
            f"method {name!r} comes from Captum, which is not installed; "
            "install it with: pip install captum"
        ) from error
