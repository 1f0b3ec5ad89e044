"""The losses of both stages: labels may be smoothed, classes weighted, logits adjusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seewhy.config import ClassWeights


def loss_of(
    name: str,
    logits: Tensor,
    labels: Tensor,
    reduction: str = "mean",
    smoothing: float = 0.0,
    weights: Tensor | None = None,
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
    weights : Tensor, (B,), optional
        Each image's loss is multiplied by its weight; the mean still divides by B.
    """
    if weights is not None:
        each = weights * _each_loss(name, logits, labels, smoothing)
        return each.mean() if reduction == "mean" else each.sum()
    if name == "cross-entropy":
        return F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=smoothing)
    divergence = _each_loss(name, logits, labels, smoothing)
    return divergence.mean() if reduction == "mean" else divergence.sum()


def class_weights(
    wanted: ClassWeights, classes: Sequence[str], labels: NDArray[np.int64]
) -> tuple[float, ...]:
    """Return the weight of each class, with mean 1 over the training images.

    Parameters
    ----------
    wanted : {"none", "balanced"} or mapping of str to float
        ``balanced``: n / (K · n_k), for K classes with n_k of n images. Classes that a mapping
        does not name have 1 before scaling.
    classes : sequence of str
    labels : ndarray of int64, (n,)
        Of the training images; a class without any has no weight, 0.

    Returns
    -------
    tuple of float
        One per class; empty for ``none``.
    """
    if wanted == "none":
        return ()
    images = np.bincount(labels, minlength=len(classes))
    if isinstance(wanted, str):
        raw = 1 / np.maximum(images, 1)
    else:
        raw = np.array([wanted.get(name, 1.0) for name in classes])
    return tuple((np.where(images > 0, raw, 0) * len(labels) / (raw * images).sum()).tolist())


def logit_offsets(tau: float, classes: int, labels: NDArray[np.int64]) -> tuple[float, ...]:
    r"""Return what is added to the logits in the training loss, :math:`\tau \log \pi_k`.

    Cross-entropy of logits z with these offsets is the paper's equation 10,

    .. math:: -\log \frac{\exp(z_y + \tau \log \pi_y)}{\sum_k \exp(z_k + \tau \log \pi_k)}

    With :math:`\tau = 1` the offsets learn how frequent the classes are, so the logits need not: of
    z alone, the largest minimises the balanced error.

    Parameters
    ----------
    tau : float
        At least 0.
    classes : int
        K.
    labels : ndarray of int64, (n,)
        Of the training images: :math:`\pi_k` is the share of class k. A class without any counts
        as if it had one.

    Returns
    -------
    tuple of float
        One per class; empty where tau is 0.

    References
    ----------
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.

    Examples
    --------
    >>> [round(one, 4) for one in logit_offsets(1.0, 2, np.array([0, 0, 0, 1]))]
    [-0.2877, -1.3863]
    """
    if tau == 0:
        return ()
    images = np.maximum(np.bincount(labels, minlength=classes), 1)
    return tuple((tau * np.log(images / len(labels))).tolist())


def label_shares(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return each label as a distribution over the classes, (B, K) float32."""
    one_hot = F.one_hot(labels, classes).float()
    return one_hot * (1 - smoothing) + smoothing / classes


def _each_loss(name: str, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the loss of each image, (B,)."""
    if name == "cross-entropy":
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    wanted = label_shares(labels, logits.shape[1], smoothing).to(logits.dtype)
    return F.kl_div(logits.log_softmax(dim=1), wanted, reduction="none").sum(dim=1)
