"""What a network takes: its preprocessing, and the input size that it is fitted to.

Knows timm's conventions for both; nothing of where weights come from.
"""

from __future__ import annotations

from typing import Any

from timm.data.config import resolve_data_config
from timm.layers.patch_embed import PatchEmbed
from torch import nn

from seewhy.errors import BackboneError, first_line
from seewhy.models.weights import LocalWeights
from seewhy.storage.schemas.dataset import Preprocess


def read_preprocess(config: dict[str, Any], size: int | None, weights: str) -> Preprocess:
    """Read what weights were trained with from timm's ``pretrained_cfg``, by timm's own defaults.

    `size` is the side of the input, pixels, instead of the weights' own. Raises BackboneError for
    anything but square RGB input with a positive deviation.
    """
    try:
        found = resolve_data_config(pretrained_cfg=config)  # type: ignore[no-untyped-call]
        channels, height, width = (int(side) for side in found["input_size"])
        mean, std = _three(found["mean"]), _three(found["std"])
        interpolation = found["interpolation"]
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        raise BackboneError(
            f"{weights}: its preprocessing cannot be read ({first_line(error)}); expected "
            "input_size, mean, std and interpolation as timm writes them"
        ) from error
    if channels != 3 or height != width or not 0 < height <= 4096 or min(std) <= 0:
        raise BackboneError(
            f"{weights}: expected square RGB input and a positive std, but got input_size "
            f"{(channels, height, width)} and std {std}"
        )
    if interpolation not in ("bilinear", "bicubic"):
        raise BackboneError(
            f"{weights}: expected interpolation to be bilinear or bicubic, but got "
            f"{interpolation!r}"
        )
    return Preprocess(size=size or height, mean=mean, std=std, interpolation=interpolation)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def fit_size(model: nn.Module, size: int, name: str) -> None:
    """Fit a timm network that is built for one input size to another one, where timm can.

    Position embeddings are interpolated, windows keep their share of the map; convolutional
    networks take any size as they are. What only a forward pass tells is left to it. Raises
    BackboneError for a size that the patches do not divide, or that timm refuses.
    """
    embed = getattr(model, "patch_embed", None)
    if isinstance(embed, PatchEmbed) and not embed.dynamic_img_pad:
        side = max(embed.patch_size)
        if size % side:
            # timm would leave the rest of the image out at the right and lower edge.
            nearest = " or ".join(str(k * side) for k in (size // side, size // side + 1) if k)
            raise BackboneError(
                f"{name}: cannot take {size}×{size} images, as its patches have {side}×{side} "
                f"pixels; choose a multiple of {side} as input size, {nearest} for example"
            )
    change = getattr(model, "set_input_size", None)
    if callable(change):
        try:
            change(img_size=(size, size))
        except Exception as error:  # each network refuses a size in its own way
            raise BackboneError(
                f"{name}: timm cannot fit it to {size}×{size} images ({first_line(error)}); "
                "choose another input size"
            ) from error


def fit_trained_size(model: nn.Module, local: LocalWeights) -> None:
    """Fit a network to the size its weights have, where that is not the architecture's own.

    Called before the weights are loaded; raises BackboneError as `fit_size`.
    """
    size = local.config.get("input_size")
    own = model.state_dict()
    differ = any(name in own and own[name].shape != t.shape for name, t in local.tensors.items())
    if differ and isinstance(size, list | tuple) and len(size) == 3 and isinstance(size[1], int):
        fit_size(model, size[1], local.architecture)
