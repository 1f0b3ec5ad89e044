"""Fitted heads: scikit-learn's regression, and class means worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from seewhy.errors import TrainingError
from seewhy.training import closed_form_head
from seewhy.training.closed_form_head import (
    PARAMETERS,
    FewImages,
    FittedHead,
    Kind,
    cautious_loss,
    fit_head,
    log_loss,
)

KINDS: tuple[Kind, ...] = ("logistic", "nearest-mean")


def _images(classes: int = 3, each: int = 8, features: int = 40, folds: int = 4) -> FewImages:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(classes), each)
    values = rng.normal(size=(len(labels), features)) * rng.uniform(0.5, 5, features) + 3
    values[:, :classes] += 2 * np.eye(classes)[labels]
    fold_of = np.arange(len(labels)) % folds if folds else None
    return FewImages(values, labels, classes, np.ones(len(labels)), fold_of)


def _logits(head: FittedHead, images: FewImages) -> NDArray[np.float64]:
    return np.asarray(images.features @ head.weight.T + head.bias)


def _shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def _scaled(images: FewImages) -> NDArray[np.float64]:
    """Scale features by the deviation within classes, for which a tenth is that of all."""
    inner = images.features.copy()
    for k in range(images.classes):
        mine = images.labels == k
        inner[mine] -= np.average(inner[mine], axis=0, weights=images.weights[mine])
    variance = np.average(inner**2, axis=0, weights=images.weights)
    mean = np.average(images.features, axis=0, weights=images.weights)
    return np.asarray((images.features - mean) / np.sqrt(0.9 * variance + 0.1 * variance.mean()))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("features", [4, 40])  # fewer and more than images
@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities_are_those_of_scikit_learn(
    classes: int, features: int, weighted: bool
) -> None:
    images = _images(classes, features=features, folds=0)
    if weighted:
        weights = np.random.default_rng(2).uniform(0.2, 1.8, len(images.labels))
        images = replace(images, weights=weights / weights.mean())
    head = fit_head("logistic", images)
    assert (head.parameter, head.temperature, head.loss) == (1, 1, None)
    model = LogisticRegression(C=1, tol=1e-9, max_iter=10_000)
    model.fit(_scaled(images), images.labels, sample_weight=images.weights)
    expected = model.predict_proba(_scaled(images))
    np.testing.assert_allclose(_shares(_logits(head, images)), expected, atol=1e-5)


def test_c_and_temperature_are_those_with_the_lowest_held_out_loss() -> None:
    images = _images()
    head = fit_head("logistic", images)
    assert images.fold_of is not None
    losses = {}
    for strength in PARAMETERS["logistic"]:
        scores = np.zeros((len(images.labels), 3))
        for k in range(4):
            out = images.fold_of == k
            rest = images.without(out)
            # The scale is the rest's own: what is held out is not used.
            joined = replace(rest, features=np.vstack([rest.features, images.features[out]]))
            known = len(rest.labels)
            inner = joined.features[:known] - np.stack(
                [rest.features[rest.labels == c].mean(axis=0) for c in rest.labels]
            )
            variance = (inner**2).mean(axis=0)
            deviation = np.sqrt(0.9 * variance + 0.1 * variance.mean())
            rows = (joined.features - rest.features.mean(axis=0)) / deviation
            model = LogisticRegression(C=strength, max_iter=10_000).fit(rows[:known], rest.labels)
            scores[out] = model.decision_function(rows[known:])
        for temperature in np.logspace(-4, 3, 281):
            loss = cautious_loss(scores / temperature, images.labels, images.weights)
            losses[strength, temperature] = loss
    best = min(losses, key=losses.__getitem__)
    assert head.parameter == best[0]
    assert head.temperature == pytest.approx(best[1], rel=0.1)
    assert head.loss == pytest.approx(losses[best], abs=1e-3)
    model = LogisticRegression(C=head.parameter, tol=1e-9, max_iter=10_000)
    scores = model.fit(_scaled(images), images.labels).decision_function(_scaled(images))
    expected = _shares(scores / head.temperature)
    np.testing.assert_allclose(_shares(_logits(head, images)), expected, atol=1e-5)


def test_the_nearest_mean_by_hand() -> None:
    """Means −4 and 6 around 1; the variance within is 1; one class has half of the other's."""
    features = np.array([[-4.0], [-2.0], [-3.0 - 1.5**0.5], [-3.0 + 1.5**0.5], [5.0], [7.0]])
    images = FewImages(features, np.array([0, 0, 0, 0, 1, 1]), 2, np.ones(6))
    head = fit_head("nearest-mean", images)
    # Deviations from −3: 1, 1, √1.5, √1.5; from 6: 1, 1. Their mean square is 7/6.
    mean, variance, temperature = (-12 + 12) / 6, 7 / 6, 0.1
    means = (np.array([-3.0, 6.0]) - mean) / variance**0.5
    point = (4.0 - mean) / variance**0.5
    expected = (2 * means * point - means**2) / temperature + np.log([4 / 6, 2 / 6])
    np.testing.assert_allclose(head.weight @ [4.0] + head.bias, expected)
    assert head.parameter == 1


@pytest.mark.parametrize("features", [4, 40])
def test_a_shrunken_covariance_is_that_of_scikit_learn(
    features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(closed_form_head.USUAL, "nearest-mean", 0.4)
    images = _images(features=features, folds=0)
    head = fit_head("nearest-mean", images)
    # T is 0.1 of the number of features; the normal distribution's is 2.
    ours = (_logits(head, images) - np.log(1 / 3)) * (0.1 * features) / 2
    inner = _scaled(images)
    for k in range(3):
        inner[images.labels == k] -= inner[images.labels == k].mean(axis=0)
    covariance = 0.6 * inner.T @ inner / len(inner) + 0.4 * np.eye(features)

    class Known:
        def fit(self, rows: object) -> Known:
            self.covariance_ = covariance
            return self

    model = LinearDiscriminantAnalysis("lsqr", covariance_estimator=Known())
    expected = model.fit(_scaled(images), images.labels).decision_function(_scaled(images))
    np.testing.assert_allclose(_shares(ours), _shares(expected), atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_weight_two_counts_as_two_images(kind: Kind) -> None:
    images = _images(folds=0)
    twice = np.append(np.arange(24), [3, 20])
    copies = FewImages(images.features[twice], images.labels[twice], 3, np.ones(26))
    weights = np.ones(24)
    weights[[3, 20]] = 2
    one, other = fit_head(kind, replace(images, weights=weights)), fit_head(kind, copies)
    np.testing.assert_allclose(_logits(one, images), _logits(other, images), atol=1e-5)


def test_the_cautious_loss_counts_one_image_of_any_label() -> None:
    logits, labels = np.log([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
    plain = -(np.log(0.9) + np.log(0.8))
    any_label = -(np.log(0.9) + np.log(0.1) + np.log(0.2) + np.log(0.8)) / 4
    assert cautious_loss(logits, labels, np.ones(2)) == pytest.approx((plain + any_label) / 3)
    assert log_loss(logits, labels, np.ones(2)) == pytest.approx(plain / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_certainty_ends_where_all_held_out_images_are_predicted_well(kind: Kind) -> None:
    images = _images()
    far = replace(images, features=images.features + 100 * np.eye(40)[images.labels])
    head = fit_head(kind, far)
    assert head.held_out is not None
    held_out = _shares(head.held_out)
    assert (held_out.argmax(axis=1) == far.labels).all()
    assert 0.9 < held_out.max(axis=1).mean() < 0.995


@pytest.mark.parametrize("kind", KINDS)
def test_features_that_never_change_have_no_weight(kind: Kind) -> None:
    images = _images()
    constant = np.hstack([images.features, np.full((24, 1), 7.0)])
    head = fit_head(kind, replace(images, features=constant))
    assert np.isfinite(head.weight).all()
    assert head.weight[:, -1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_one_image_per_class_is_enough(kind: Kind) -> None:
    images = _images(each=1, folds=0)
    assert (_logits(fit_head(kind, images), images).argmax(axis=1) == images.labels).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rest_with_one_image_per_class_has_the_same_unit(kind: Kind) -> None:
    """With two images per class each fold leaves one, which tells no deviation within classes."""
    images = _images(each=2, folds=2)
    small = replace(images, features=images.features / 1000)
    ours, theirs = fit_head(kind, images), fit_head(kind, small)
    assert ours.temperature == pytest.approx(theirs.temperature, rel=1e-2)
    np.testing.assert_allclose(_logits(ours, images), _logits(theirs, small), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_an_image_is_refused(kind: Kind) -> None:
    with pytest.raises(TrainingError, match="a class has no training image"):
        fit_head(kind, replace(_images(folds=0), classes=4))
