"""What a network takes: its preprocessing, and the input size that it is fitted to.

Knows timm's conventions for both; nothing of where weights come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.data.config import resolve_data_config
from timm.layers.patch_embed import PatchEmbed
from torch import nn

from seewhy.errors import BackboneError, first_line
from seewhy.models.weights import LocalWeights
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.input_size import InputSize, as_input_size, shown_size, sides


def read_preprocess(config: dict[str, Any], size: InputSize | None, weights: str) -> Preprocess:
    """Read what weights were trained with from timm's ``pretrained_cfg``, by timm's own defaults.

    `size` is the input's, pixels, instead of the weights' own. Raises BackboneError for anything
    but RGB input with a positive deviation.
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
    fits = all(0 < side <= 4096 for side in (height, width))
    if channels != 3 or not fits or min(std) <= 0:
        raise BackboneError(
            f"{weights}: expected RGB input and a positive std, but got input_size "
            f"{(channels, height, width)} and std {std}"
        )
    if interpolation not in ("bilinear", "bicubic"):
        raise BackboneError(
            f"{weights}: expected interpolation to be bilinear or bicubic, but got "
            f"{interpolation!r}"
        )
    own = as_input_size(height, width)
    return Preprocess(size=size or own, mean=mean, std=std, interpolation=interpolation)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def fit_size(model: nn.Module, size: InputSize, name: str) -> None:
    """Fit a timm network that is built for one input size to another one, where timm can.

    Position embeddings are interpolated, windows keep their share of the map; convolutional
    networks take any size as they are. What only a forward pass tells is left to it. Raises
    BackboneError for a size that the patches do not divide, or that timm refuses.
    """
    embed = getattr(model, "patch_embed", None)
    if isinstance(embed, PatchEmbed) and not embed.dynamic_img_pad:
        patch = max(embed.patch_size)
        # timm would leave the rest of the image out at the right and lower edge.
        for side in sides(size):
            if side % patch:
                nearest = " or ".join(
                    str(k * patch) for k in (side // patch, side // patch + 1) if k
                )
                raise BackboneError(
                    f"{name}: cannot take {shown_size(size)} images, as its patches have "
                    f"{patch}×{patch} pixels; choose a multiple of {patch} as input size, "
                    f"{nearest} for example"
                )
    change = getattr(model, "set_input_size", None)
    if callable(change):
        try:
            change(img_size=sides(size))
        except Exception as error:  # each network refuses a size in its own way
            raise BackboneError(
                f"{name}: timm cannot fit it to {shown_size(size)} images ({first_line(error)}); "
                "choose another input size"
            ) from error


def fit_trained_size(model: nn.Module, local: LocalWeights) -> None:
    """Fit a network to the size its weights have, where that is not the architecture's own.

    Called before the weights are loaded; raises BackboneError as `fit_size`.
    """
    size = local.config.get("input_size")
    own = model.state_dict()
    differ = any(name in own and own[name].shape != t.shape for name, t in local.tensors.items())
    if differ and isinstance(size, list | tuple) and len(size) == 3:
        height, width = size[1:]
        if isinstance(height, int) and isinstance(width, int):
            fit_size(model, as_input_size(height, width), local.architecture)


def largest_input(preprocesses: Mapping[str, Preprocess]) -> InputSize:
    """Return the largest of several networks' input sizes, by their names.

    Raises BackboneError where their proportions differ: they could not share one study's images.
    """
    large, most = max(preprocesses.items(), key=lambda one: one[1].sides)
    height, width = most.sides
    for name, one in preprocesses.items():
        if one.sides[0] * width != one.sides[1] * height:
            raise BackboneError(
                f"expected inputs of equal proportions, but {name} takes {shown_size(one.size)} "
                f"images and {large} {shown_size(most.size)}; set input.size for all of them"
            )
    return most.size
