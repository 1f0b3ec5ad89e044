r"""Heads for few images, fitted at once where a network head is trained in epochs.

Both kinds are linear in the pooled features x, so a fitted head is a linear output layer like any
other, with logits

.. math:: z_k(x) = s_k(x) / T + \log \pi_k

``logistic``: s are the scores of multinomial logistic regression (scikit-learn's, with a penalty on
the squared coefficients), without π. ``nearest-mean``: with the mean :math:`\mu_k` of a class
and the covariance S within classes,

.. math:: s_k(x) = 2 \mu_k^T A x - \mu_k^T A \mu_k, \qquad A = (\alpha I + (1 - \alpha) S)^{-1}

which is minus the squared distance from :math:`\mu_k`, up to what is equal for all classes; so z
are the logarithms of the posterior of normal distributions, and π are the shares of the classes.
α = 1 is the ordinary distance.

The strength of the penalty, or α, and the temperature T are those with the lowest log loss of
images that were held out. Features are scaled by their mean and their deviation within classes;
the layer that comes back takes them as they are.

This module knows features, labels, weights and folds; nothing of files, stages or networks.

References
----------
Snell, Swersky, Zemel. "Prototypical Networks for Few-shot Learning", NeurIPS 2017 (nearest mean).
Tian et al. "Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?", ECCV
2020 (logistic regression).
Friedman. "Regularized Discriminant Analysis", JASA 84, 1989 (the covariance).
Guo et al. "On Calibration of Modern Neural Networks", ICML 2017 (the temperature).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from seewhy.errors import TrainingError

Floats = NDArray[np.float64]
Kind = Literal["logistic", "nearest-mean"]
# Of the logistic regression scikit-learn's C, the inverse of the penalty's strength; of the nearest
# mean α. Of equal ones the first is chosen.
PARAMETERS: dict[Kind, tuple[float, ...]] = {
    "logistic": (1e-3, 1e-2, 1e-1, 1.0, 10.0),
    "nearest-mean": (1.0, 0.9, 0.5),
}
# Without images to hold out.
USUAL: dict[Kind, float] = {"logistic": 1.0, "nearest-mean": 1.0}
# Share of the mean variance in the variance of each feature: few images measure it badly.
POOLED = 0.1
# Temperatures are searched between these factors of the usual one.
_FACTORS = (1e-4, 1e3)


@dataclass(frozen=True)
class FittedHead:
    """A linear head, and how well its kind predicts images that it was not fitted to.

    Attributes
    ----------
    kind : {"logistic", "nearest-mean"}
    weight : ndarray of float64, (K, C)
    bias : ndarray of float64, (K,)
    parameter : float
        C of the logistic regression, or α of the nearest mean.
    temperature : float
    folds : int
        0 where there were none: parameter and temperature are the usual ones.
    loss : float, optional
        What chose them, see `cautious_loss`; None without folds.
    held_out : ndarray of float64, (n, K), optional
        The logits of all images, each while it was held out.
    """

    kind: Kind
    weight: Floats
    bias: Floats
    parameter: float
    temperature: float
    folds: int = 0
    loss: float | None = None
    held_out: Floats | None = None


@dataclass(frozen=True)
class FewImages:
    """What a head is fitted to.

    Attributes
    ----------
    features : ndarray of float64, (n, C)
    labels : ndarray of int64, (n,)
        0 … K − 1; every class has an image.
    classes : int
        K.
    weights : ndarray of float64, (n,)
        How much each image counts, above 0, with mean 1.
    fold_of : ndarray of int64, (n,), optional
        The fold in which each image is held out; every class is in every rest. None: no folds.
    """

    features: Floats
    labels: NDArray[np.int64]
    classes: int
    weights: Floats
    fold_of: NDArray[np.int64] | None = None

    def without(self, held_out: NDArray[np.bool_]) -> FewImages:
        """Return the images that are not held out."""
        rest = ~held_out
        return FewImages(self.features[rest], self.labels[rest], self.classes, self.weights[rest])


@dataclass(frozen=True)
class _Scores:
    """What gives the scores s of raw features, (K, C) and (K,); and log π, (K,)."""

    weight: Floats
    bias: Floats
    prior: Floats

    def of(self, features: Floats) -> Floats:
        return features @ self.weight.T + self.bias


def fit_head(kind: Kind, images: FewImages) -> FittedHead:
    """Fit a head of one kind; folds choose its parameter and its temperature.

    Raises
    ------
    TrainingError
        Where a class has no image.

    Examples
    --------
    >>> features = np.array([[0.0], [2.0], [10.0], [12.0]])
    >>> images = FewImages(features, np.array([0, 0, 1, 1]), 2, np.ones(4))
    >>> head = fit_head("nearest-mean", images)
    >>> (features @ head.weight.T + head.bias).argmax(axis=1)
    array([0, 0, 1, 1])
    """
    if len(np.unique(images.labels)) < images.classes:
        raise TrainingError("a class has no training image with a weight above 0")
    parameter, temperature = USUAL[kind], _usual_temperature(kind, images)
    folds, loss, held_out = 0, None, None
    if images.fold_of is not None:
        folds = len(np.unique(images.fold_of))
        tried = _cross_validate(kind, images)
        loss, temperature, parameter, held_out = min(tried, key=lambda one: one[0])
    (scores,) = _fits(kind, images, (parameter,), tolerance=1e-8)
    bias = scores.bias / temperature + scores.prior
    weight = scores.weight / temperature
    return FittedHead(kind, weight, bias, parameter, temperature, folds, loss, held_out)


def log_loss(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> float:
    """Return the weighted mean of −log p of each label, from logits (n, K)."""
    shares = _log_shares(logits)[np.arange(len(labels)), labels]
    return float(-(weights * shares).sum() / weights.sum())


def cautious_loss(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> float:
    """Return the log loss as if one further image, like these, could have any label.

    The rule of succession: where all of few images are predicted well, probabilities do not go to
    0 and 1.
    """
    anything = float(-np.average(_log_shares(logits).mean(axis=1), weights=weights))
    count = len(labels)
    return (count * log_loss(logits, labels, weights) + anything) / (count + 1)


def _cross_validate(kind: Kind, images: FewImages) -> Iterator[tuple[float, float, float, Floats]]:
    """Yield loss, temperature, parameter and held-out logits (n, K) per parameter."""
    assert images.fold_of is not None
    parameters = PARAMETERS[kind]
    scores = np.zeros((len(parameters), len(images.labels), images.classes))
    priors = np.zeros_like(scores[0])
    for k in np.unique(images.fold_of):
        out = images.fold_of == k
        fits = _fits(kind, images.without(out), parameters, tolerance=1e-4)
        for row, fit in zip(scores, fits, strict=True):
            row[out], priors[out] = fit.of(images.features[out]), fit.prior
    usual = _usual_temperature(kind, images)
    for parameter, one in zip(parameters, scores, strict=True):
        loss, temperature = _best_temperature(one, priors, images, usual)
        yield loss, temperature, parameter, one / temperature + priors


def _best_temperature(
    scores: Floats, priors: Floats, images: FewImages, usual: float
) -> tuple[float, float]:
    """Return the lowest loss and its temperature; there is one minimum along the scale."""

    def loss(logarithm: float) -> float:
        logits = scores / np.exp(logarithm) + priors
        return cautious_loss(logits, images.labels, images.weights)

    bounds = tuple(np.log(usual * factor) for factor in _FACTORS)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(found.fun), float(np.exp(found.x))


def _usual_temperature(kind: Kind, images: FewImages) -> float:
    """Return 1, or about what was measured of squared distances in so many directions."""
    return 1.0 if kind == "logistic" else 0.1 * images.features.shape[1]


def _fits(
    kind: Kind, images: FewImages, parameters: Sequence[float], tolerance: float
) -> list[_Scores]:
    """Fit the scores for each parameter."""
    mean, deviation = _scale(images)
    rows = (images.features - mean) / deviation
    if kind == "logistic":
        found, prior = _logistic(rows, images, parameters, tolerance), np.zeros(images.classes)
    else:
        sums = np.bincount(images.labels, images.weights, minlength=images.classes)
        found, prior = _nearest_mean(rows, images, parameters), np.log(sums / sums.sum())
    scores = []
    for weight, bias in found:
        raw = weight / deviation
        scores.append(_Scores(raw, bias - raw @ mean, prior))
    return scores


def _logistic(
    rows: Floats, images: FewImages, strengths: Sequence[float], tolerance: float
) -> list[tuple[Floats, Floats]]:
    """Fit one regression of `rows` (n, C) per C, ascending; return weights (K, C) and biases.

    The penalty does not change when features are rotated, and the best coefficients lie in the
    space that the images span: with fewer images than features they are fitted in that space.
    """
    axes = np.linalg.qr(rows.T)[0].T if len(rows) < rows.shape[1] else None
    inputs = rows if axes is None else rows @ axes.T
    model = LogisticRegression(tol=tolerance, max_iter=5000, warm_start=True)
    found = []
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, images.labels, sample_weight=images.weights)
        weight = model.coef_ if axes is None else model.coef_ @ axes
        bias = model.intercept_.copy()
        if images.classes == 2:  # one row, of the second class against the first
            weight, bias = np.vstack([-weight, weight]) / 2, np.append(-bias, bias) / 2
        found.append((weight.copy(), bias))
    return found


def _nearest_mean(
    rows: Floats, images: FewImages, shrinkages: Sequence[float]
) -> list[tuple[Floats, Floats]]:
    """Return 2 A μ_k and −μ_k A μ_k as weights (K, C) and biases of `rows` (n, C) per α."""
    means = _class_means(rows, images)
    inner = (rows - means[images.labels]) * np.sqrt(images.weights / len(rows))[:, None]
    found = []
    for shrinkage in shrinkages:
        turned = means if shrinkage == 1 else _solve(inner, means, shrinkage)
        found.append((2 * turned, -(turned * means).sum(axis=1)))
    return found


def _solve(inner: Floats, means: Floats, shrinkage: float) -> Floats:
    """Return means (K, C) times the inverse of α I + (1 − α) XᵀX, for rows X (n, C).

    By Woodbury's identity, whose matrix has a side of n, where that is the smaller one.
    """
    rest, (rows, columns) = 1 - shrinkage, inner.shape
    if rows >= columns:
        matrix = shrinkage * np.eye(columns) + rest * inner.T @ inner
        return np.asarray(np.linalg.solve(matrix, means.T).T)
    matrix = shrinkage / rest * np.eye(rows) + inner @ inner.T
    return np.asarray((means - (inner.T @ np.linalg.solve(matrix, inner @ means.T)).T) / shrinkage)


def _scale(images: FewImages) -> tuple[Floats, Floats]:
    """Return the mean of each feature and its deviation within classes, (C,).

    Where no class has two different images, the deviation is that of all images.
    """
    mean = np.average(images.features, axis=0, weights=images.weights)
    inner = images.features - _class_means(images.features, images)[images.labels]
    variance = np.average(inner**2, axis=0, weights=images.weights)
    if not variance.mean() > 0:
        variance = np.average((images.features - mean) ** 2, axis=0, weights=images.weights)
    variance = (1 - POOLED) * variance + POOLED * variance.mean()
    return mean, np.sqrt(variance) if variance.mean() > 0 else np.ones_like(mean)


def _class_means(rows: Floats, images: FewImages) -> Floats:
    """Return the weighted mean of each class's rows, (K, C)."""
    member = np.eye(images.classes)[images.labels] * images.weights[:, None]
    means: Floats = (member.T @ rows) / member.sum(axis=0)[:, None]
    return means


def _log_shares(logits: Floats) -> Floats:
    """Return the logarithms of the softmax of logits (n, K)."""
    moved = logits - logits.max(axis=1, keepdims=True)
    shares: Floats = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return shares
