"""The losses of both stages: labels may be smoothed, classes weighted, logits adjusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seewhy.config import ClassWeights
from seewhy.errors import TrainingError


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
    wanted: ClassWeights,
    classes: Sequence[str],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
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
    weights : ndarray of float64, (n,), optional
        Of the training images. They multiply the weights of the classes, so n_k and the mean are
        of weighted images, see `class_sizes`.

    Returns
    -------
    tuple of float
        One per class; empty for ``none``.
    """
    if wanted == "none":
        return ()
    sizes = class_sizes(len(classes), labels, weights)
    if isinstance(wanted, str):
        raw = 1 / np.where(sizes > 0, sizes, 1)
    else:
        raw = np.array([wanted.get(name, 1.0) for name in classes])
    return tuple((np.where(sizes > 0, raw, 0) * len(labels) / (raw * sizes).sum()).tolist())


def logit_offsets(
    tau: float,
    classes: int,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, ...]:
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
    weights : ndarray of float64, (n,), optional
        Of the training images: :math:`\pi_k` is the share of the weights then.

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
    sizes = class_sizes(classes, labels, weights)
    return tuple((tau * np.log(np.where(sizes > 0, sizes, 1) / len(labels))).tolist())


def class_sizes(
    classes: int, labels: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return how many training images each class has, or counts as many as by their weights.

    Parameters
    ----------
    classes : int
        K.
    labels : ndarray of int64, (n,)
        Of the training images.
    weights : ndarray of float64, (n,), optional
        Of the training images, at least 0; they are scaled to the mean 1.

    Returns
    -------
    ndarray, (K,)
        The sum is n.

    Raises
    ------
    TrainingError
        Where no training image has a weight above 0.

    Examples
    --------
    >>> class_sizes(2, np.array([0, 0, 1]), np.array([1.0, 1.0, 4.0])).tolist()
    [1.0, 2.0]
    """
    if weights is None:
        return np.bincount(labels, minlength=classes)
    if not weights.sum() > 0:
        raise TrainingError("no training image has a weight above 0")
    return np.bincount(labels, weights / weights.mean(), minlength=classes)


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
