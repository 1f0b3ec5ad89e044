"""Maps and predictions of a whole data set in one pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.explanation.cam import explain

_FLOAT16_MAX = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True)
class ExplainedSet:
    """Maps for the predicted classes of N images, with the predictions.

    Attributes
    ----------
    maps : ndarray of float16, (N, h, w)
        Not normalised.
    explained : ndarray of int64, (N,)
    probabilities : ndarray of float32, (N, M)
    """

    maps: NDArray[np.float16]
    explained: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def explain_batches(
    model: nn.Module, batches: Iterable[Tensor], layer: str, method: str = "gradcam"
) -> ExplainedSet:
    """Explain the predicted class of every image.

    Only float16 maps at feature resolution and probabilities are held, whatever the number of
    images; predictions and maps come from the same forward pass.

    Parameters
    ----------
    model : nn.Module
    batches : iterable of Tensor
        The model's input, batch by batch; at least one.
    layer : str
        Name of the target module.
    method : str, default "gradcam"
    """
    maps: list[NDArray[np.float16]] = []
    explained: list[NDArray[np.int64]] = []
    probabilities: list[NDArray[np.float32]] = []
    for batch in batches:
        found = explain(model, batch, layer=layer, method=method)
        maps.append(found.maps[:, 0].clamp(max=_FLOAT16_MAX).half().cpu().numpy())
        explained.append(found.classes[:, 0].cpu().numpy())
        probabilities.append(found.probabilities.cpu().numpy())
    return ExplainedSet(
        np.concatenate(maps), np.concatenate(explained), np.concatenate(probabilities)
    )
