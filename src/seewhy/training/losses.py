"""The losses of both stages, against labels that may be smoothed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def loss_of(
    name: str, logits: Tensor, labels: Tensor, reduction: str = "mean", smoothing: float = 0.0
) -> Tensor:
    """Return the loss against labels.

    The Kullback-Leibler divergence from a label's distribution is cross-entropy less that
    distribution's entropy, a constant: zero for one-hot labels, and without influence on the
    gradient for smoothed ones. So the choice between the two cannot change a classifier.

    Parameters
    ----------
    name : {"cross-entropy", "kl-divergence"}
    logits : Tensor, (B, K)
    labels : Tensor, (B,) int64
    reduction : {"mean", "sum"}, default "mean"
    smoothing : float, default 0
        Share of each label that is spread evenly over all K classes.
    """
    if name == "cross-entropy":
        return F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=smoothing)
    wanted = label_shares(labels, logits.shape[1], smoothing).to(logits.dtype)
    divergence = F.kl_div(logits.log_softmax(dim=1), wanted, reduction="none").sum(dim=1)
    return divergence.mean() if reduction == "mean" else divergence.sum()


def label_shares(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return each label as a distribution over the classes, (B, K) float32."""
    one_hot = F.one_hot(labels, classes).float()
    return one_hot * (1 - smoothing) + smoothing / classes
