"""Predictions for some of a study's images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seewhy.models.classifier import Head, TailAndHead
from seewhy.runtime.device import Compute
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions

_BATCH = 64


@torch.no_grad()
def predict_pooled(
    head: Head, pooled: Tensor, data: Dataset, indices: NDArray[np.int64]
) -> Predictions:
    """Predict the images at `indices` from the pooled trunk features (N, C) of all images."""
    head.eval()
    chosen = torch.from_numpy(indices).to(pooled.device)
    probabilities = head.classify(pooled[chosen]).softmax(dim=1)
    return as_predictions(data, indices, probabilities.cpu().numpy())


@torch.no_grad()
def predict_at_cut(
    tail_and_head: TailAndHead,
    batches: Callable[[NDArray[np.int64]], Tensor],
    data: Dataset,
    indices: NDArray[np.int64],
    compute: Compute,
) -> Predictions:
    """Predict the images at `indices` from activations at the cut.

    `batches` returns the activations (B, C, H, W) of some indices; they may be overwritten.
    """
    tail_and_head.eval()
    answers = [np.zeros((0, len(data.classes)), dtype=np.float32)]
    for start in range(0, len(indices), _BATCH):
        with compute.autocast():
            logits = tail_and_head(batches(indices[start : start + _BATCH]))
        answers.append(logits.float().softmax(dim=1).cpu().numpy())
    return as_predictions(data, indices, np.concatenate(answers))


def as_predictions(
    data: Dataset, indices: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> Predictions:
    """Put ids, labels and metadata beside the probabilities (M, K) of the images at `indices`."""
    return Predictions(
        ids=tuple(data.ids[i] for i in indices),
        labels=data.labels[indices],
        probabilities=probabilities,
        metadata={name: tuple(cells[i] for i in indices) for name, cells in data.metadata.items()},
    )
