r"""Methods that try variants: masked images, or a layer's output without one channel.

They need no gradients, but a forward pass for every channel. The formulas are pure functions;
`scorecam_scores` and `ablation_scores` ask the engine's `MethodContext` for the scores of the
variants.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.explanation.engine import MethodContext, RecordedLayer
from seewhy.explanation.methods.gradient import weighted_maps
from seewhy.explanation.variants import scores_behind, scores_of


def scorecam(activations: Tensor, scores: Tensor) -> Tensor:
    r"""Score-CAM: a channel is weighted by the score that the image keeps under its mask.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big), \qquad
              \alpha^c = \mathrm{softmax}_k\big(y^c(X \odot H^k) - y^c(X_b)\big), \qquad
              H^k = s(\mathrm{Up}(A^k))

    with Up the bilinear resizing to the image's size, s the scaling of each channel to 0 … 1
    (a channel that is the same everywhere masks all), X the image, and :math:`X_b` a baseline
    image, whose score is the same for all channels and drops out of the softmax. From activations
    (N, C, h, w) and scores :math:`y^c(X \odot H^k)`, (N, C, K), to maps (N, K, h, w).

    References
    ----------
    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
    Networks", CVPR Workshops 2020, equations 4 to 7, algorithm 1.
    """
    return weighted_maps(scores.softmax(dim=1).transpose(1, 2), activations)


def ablationcam(activations: Tensor, scores: Tensor, ablated: Tensor) -> Tensor:
    r"""Ablation-CAM: a channel is weighted by the drop of the score without it.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k w_k^c A^k\Big), \qquad
              w_k^c = \frac{y^c - y_k^c}{|y^c|}

    with :math:`y_k^c` the score where channel k is zero everywhere. The paper divides by
    :math:`y^c`, which it takes to be positive; where a score is negative the absolute value keeps
    a drop a drop. Where it is zero the drops are not divided. From activations (N, C, h, w),
    scores (N, K) and ablated scores (N, C, K) to maps (N, K, h, w).

    References
    ----------
    Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via
    Gradient-free Localization", WACV 2020, equations 3 and 4.
    """
    scale = torch.where(scores == 0, 1, scores.abs())[:, None]
    drops = (scores[:, None] - ablated) / scale
    return weighted_maps(drops.transpose(1, 2), activations)


def scorecam_scores(case: MethodContext, layer: RecordedLayer) -> Tensor:
    """Score every image under every channel's mask, (N, C, K)."""
    found = []
    for index, image in enumerate(case.images):
        parts = torch.split(layer.maps[index], case.batch_size)
        masks = (_unit_masks(part, image.shape[1:])[:, None].to(image.dtype) for part in parts)
        found.append(torch.cat([scores_of(case, index, image * some) for some in masks]))
    return torch.stack(found)


def _unit_masks(channels: Tensor, size: torch.Size) -> Tensor:
    """Resize channels (B, h, w) to an image's size and scale each to 0 … 1: (B, H, W)."""
    height, width = size
    masks = F.interpolate(channels[None], size=(height, width), mode="bilinear")[0]
    least, most = masks.amin(dim=(1, 2), keepdim=True), masks.amax(dim=(1, 2), keepdim=True)
    return torch.where(most > least, (masks - least) / (most - least), 0)


def ablation_scores(case: MethodContext, layer: RecordedLayer) -> Tensor:
    """Score every image without each channel of a layer in turn, (N, C, K).

    Only what follows the layer runs for every channel; where that is pooling and a linear
    layer nothing runs: channel k then adds its weight times its mean, no more.
    """
    weights = case.pooled_weights
    if weights is not None:
        parts = weights.transpose(1, 2) * layer.maps.mean(dim=(2, 3))[:, :, None]
        return case.question.select(case.logits.detach().float())[:, None] - parts
    found = []
    for index in range(len(case.images)):
        variants = _ablated(layer, index, case.batch_size)
        found.append(torch.cat([scores_behind(case, index, layer, some) for some in variants]))
    return torch.stack(found)


def _ablated(layer: RecordedLayer, index: int, batch_size: int) -> Iterator[Tensor]:
    """Yield an image's output at a layer with one channel after the other zero, in batches."""
    batch = layer.layout.batch_axis
    output = layer.output.detach().select(batch, index)
    axis = layer.layout.channel_axis
    channels = layer.maps.shape[1]
    for start in range(0, channels, batch_size):
        many = min(batch_size, channels - start)
        variants = output.expand(many, *output.shape).clone()
        rows = torch.arange(many, device=output.device)
        variants.movedim(axis, 1)[rows, start + rows] = 0
        yield variants.movedim(0, batch)
