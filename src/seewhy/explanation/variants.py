"""Scores of variants: other images, or another output of a layer, with the same question.

What is before the layer is not run for every variant of its output, where possible.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.endings import ask
from seewhy.explanation.engine import MethodContext, RecordedLayer, record
from seewhy.explanation.layers import find_layer
from seewhy.explanation.thread_turns import hooked

# An unchanged output must give its image's logits again, within this part of their range.
_AGREEMENT = 0.02


def scores_of(case: MethodContext, index: int, images: Tensor) -> Tensor:
    """Score variants (B, C, H, W) of image `index` of the case, (B, K) float32."""
    answer, _ = record(case.model, images, (), case.target)
    return case.question.repeated(index, len(images)).select(answer.logits.float())


def scores_behind(case: MethodContext, index: int, layer: RecordedLayer, outputs: Tensor) -> Tensor:
    """Score variants of a layer's output for image `index` of the case, (B, K) float32.

    The image itself runs up to the layer, once for all variants; they take over from there, with
    an unchanged one that shows whether this may be done. Where it may not (the network joins the
    layer's output with earlier ones), the image runs up to the layer for each.

    The outputs are as the layer puts them out, (B, …), or (T, B, …) where it puts tokens first.
    Raises ConfigError where images of a batch change each other's logits.
    """
    axis = layer.layout.batch_axis
    outputs = torch.cat([layer.output.detach().narrow(axis, index, 1), outputs], dim=axis)
    count = outputs.shape[axis]
    image = case.images[index : index + 1]
    for images in (image, image.expand(count, -1, -1, -1)):
        try:
            logits = logits_behind(case, images, layer, outputs)
        except (RuntimeError, ConfigError):
            if len(images) > 1:
                raise
            continue
        if agree(logits[:1], case.logits[index : index + 1]):
            return case.question.repeated(index, count - 1).select(logits[1:].float())
    raise ConfigError(
        f"layer {layer.name!r}: behind it the network lets images of a batch change each other's "
        "logits, so that channels cannot be left out one by one; choose a method that needs "
        "gradients alone, gradcam for example"
    )


def logits_behind(
    case: MethodContext, images: Tensor, layer: RecordedLayer, outputs: Tensor
) -> Tensor:
    """Return the logits (B, M) where a layer puts out `outputs` (B, …), whatever the images are.

    The images, B of them or one for all, run up to the layer; one suffices where nothing else of it
    is used after the layer. Raises RuntimeError or ConfigError where the network does not take a
    batch that grows at this layer.
    """
    module = find_layer(case.model, layer.name)

    def run() -> object:
        with hooked([(module, _replacer(layer, outputs))]):
            return case.model(images)

    return ask(case.model, run, case.target, outputs.shape[layer.layout.batch_axis]).logits


def _replacer(
    layer: RecordedLayer, outputs: Tensor
) -> Callable[[nn.Module, object, object], object]:
    calls = 0

    def hook(module: nn.Module, inputs: object, output: object) -> object:
        nonlocal calls
        calls += 1
        return outputs.clone() if calls == layer.run else output

    return hook


def agree(logits: Tensor, known: Tensor) -> bool:
    """Say whether logits (B, M), found another way, are those already known."""
    if logits.shape != known.shape:
        return False
    spread = (known.amax(dim=1) - known.amin(dim=1)).amax().detach()
    return bool((logits - known).detach().abs().amax() <= _AGREEMENT * spread + 1e-6)
