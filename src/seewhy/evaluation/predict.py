"""Predictions for the test images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seewhy.models.classifier import Head
from seewhy.records import Dataset, Predictions


@torch.no_grad()
def predict_pooled(head: Head, pooled: Tensor, data: Dataset) -> Predictions:
    """Predict the test images from pooled trunk features.

    Parameters
    ----------
    head : Head
    pooled : Tensor, (N, C) float32
        Of all images, in the data set's order.
    data : Dataset
    """
    head.eval()
    indices = torch.from_numpy(data.where("test")).to(pooled.device)
    probabilities = head.classify(pooled[indices]).softmax(dim=1)
    return as_predictions(data, probabilities.cpu().numpy())


def as_predictions(data: Dataset, probabilities: NDArray[np.float32]) -> Predictions:
    """Put ids and labels beside the test images' probabilities (T, K)."""
    indices = data.where("test")
    return Predictions(
        ids=tuple(data.ids[i] for i in indices),
        labels=data.labels[indices],
        probabilities=probabilities,
    )
