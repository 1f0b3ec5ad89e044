"""The losses against PyTorch's and by hand: they differ by a constant, and teach the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from seewhy.errors import TrainingError
from seewhy.training.losses import class_weights, label_shares, logit_offsets, loss_of


def _value_and_gradient(
    name: str, logits: Tensor, labels: Tensor, reduction: str, smoothing: float
) -> tuple[float, Tensor]:
    logits = logits.clone().requires_grad_(True)
    loss = loss_of(name, logits, labels, reduction, smoothing)
    return loss.item(), torch.autograd.grad(loss, logits)[0]


def test_both_losses_by_hand() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
    labels = torch.tensor([0, 1])
    # log(e^2 + e^-1 + e^.5) - 2 and log(2 + e^3) - 0, halved.
    by_hand = (np.log(np.exp([2, -1, 0.5]).sum()) - 2 + np.log(2 + np.exp(3))) / 2
    for name in ("cross-entropy", "kl-divergence"):
        assert loss_of(name, logits, labels).item() == pytest.approx(by_hand, rel=1e-6)
        assert loss_of(name, logits, labels, "sum").item() == pytest.approx(2 * by_hand, rel=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_cross_entropy_with_smoothing_is_that_of_pytorch(reduction: str, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 4, generator=generator) * 3
    labels = torch.randint(4, (9,), generator=generator)
    expected = F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=smoothing)
    ours = loss_of("cross-entropy", logits, labels, reduction, smoothing)
    torch.testing.assert_close(ours, expected)
    # And the divergence is PyTorch's from the smoothed labels.
    shares = torch.full((9, 4), smoothing / 4)
    shares[torch.arange(9), labels] += 1 - smoothing
    divergence = F.kl_div(
        logits.log_softmax(dim=1), shares, reduction="batchmean" if reduction == "mean" else "sum"
    )
    ours = loss_of("kl-divergence", logits, labels, reduction, smoothing)
    torch.testing.assert_close(ours, divergence)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    images=st.integers(1, 8),
    classes=st.integers(2, 12),
    scale=st.sampled_from([0.1, 1.0, 20.0]),
    smoothing=st.one_of(st.just(0.0), st.floats(0.01, 0.99)),
    reduction=st.sampled_from(["mean", "sum"]),
)
def test_the_two_losses_differ_by_the_labels_entropy_and_share_their_gradient(
    seed: int, images: int, classes: int, scale: float, smoothing: float, reduction: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator, dtype=torch.float64) * scale
    labels = torch.randint(classes, (images,), generator=generator)
    entropy_value, entropy_gradient = _value_and_gradient(
        "cross-entropy", logits, labels, reduction, smoothing
    )
    kl_value, kl_gradient = _value_and_gradient(
        "kl-divergence", logits, labels, reduction, smoothing
    )
    # The label shares are float32.
    torch.testing.assert_close(kl_gradient, entropy_gradient, rtol=1e-5, atol=1e-6)
    shares = [1 - smoothing + smoothing / classes, *[smoothing / classes] * (classes - 1)]
    constant = -sum(share * math.log(share) for share in shares if share > 0)
    constant *= images if reduction == "sum" else 1
    difference = entropy_value - kl_value
    assert difference == pytest.approx(constant, abs=1e-4 * (1 + abs(entropy_value)))
    if smoothing == 0:
        assert constant == 0
    # Either gradient is softmax(z) - y, which the head's own gradients start from.
    by_hand = logits.softmax(dim=1)
    by_hand -= label_shares(labels, classes, smoothing)
    by_hand /= images if reduction == "mean" else 1
    torch.testing.assert_close(entropy_gradient, by_hand, rtol=1e-5, atol=1e-6)


def test_label_shares_by_hand() -> None:
    shares = label_shares(torch.tensor([2, 0]), 4, 0.2)
    expected = torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])
    torch.testing.assert_close(shares, expected)
    assert torch.equal(label_shares(torch.tensor([1]), 3), torch.tensor([[0.0, 1.0, 0.0]]))


@pytest.mark.parametrize("name", ["cross-entropy", "kl-divergence"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_multiply_each_images_loss(name: str, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 3, generator=generator), torch.tensor([0, 2, 1, 1, 0])
    weights = torch.tensor([2.0, 0.5, 1.0, 3.0, 0.0])
    alone = [
        loss_of(name, logits[k : k + 1], labels[k : k + 1], "sum", smoothing) for k in range(5)
    ]
    expected = sum(float(one * weight) for one, weight in zip(alone, weights, strict=True))
    found = [loss_of(name, logits, labels, how, smoothing, weights) for how in ("sum", "mean")]
    assert [float(one) for one in found] == pytest.approx([expected, expected / 5], rel=1e-5)


def test_class_weights_by_hand_and_scikit_learn() -> None:
    labels, classes = np.array([0] * 6 + [1] * 3 + [2]), ("a", "b", "c")
    assert class_weights("none", classes, labels) == ()
    balanced = class_weights("balanced", classes, labels)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced == pytest.approx(theirs.tolist(), rel=1e-12)
    # Weights 1, 1 and 5 of six, three and one image: 14 in all.
    own = class_weights({"c": 5.0}, classes, labels)
    assert own == pytest.approx([10 / 14, 10 / 14, 50 / 14])
    for weights in (balanced, own):
        assert np.array(weights)[labels].mean() == pytest.approx(1)
    # A class that a fold leaves out has none; the others share what there is.
    assert class_weights("balanced", classes, labels[:9]) == pytest.approx([0.75, 1.5, 0])
    assert class_weights({"c": 5.0}, classes, labels[:9]) == pytest.approx([1, 1, 0])


def test_balanced_class_weights_make_the_classes_count_the_same_with_their_images_weights() -> None:
    """A hundred images of weight 1 and a hundred of 0.1: of 200, not 182 and 18."""
    labels, classes = np.repeat([0, 1], 100), ("a", "b")
    weights = np.repeat([1.0, 0.1], 100)
    balanced = np.array(class_weights("balanced", classes, labels, weights))[labels]
    totals = np.bincount(labels, balanced * weights / (balanced * weights).mean())
    assert totals == pytest.approx([100, 100])
    # Weights that balance already leave nothing to do.
    equal = np.array([1.0, 1.0, 1.0, 3.0])
    labels = np.array([0, 0, 0, 1])
    assert class_weights("balanced", classes, labels, equal) == pytest.approx([1, 1])
    assert logit_offsets(1.0, 2, labels, equal) == pytest.approx([math.log(0.5)] * 2)
    # Equal weights, of whatever size, are none; so is a class of weight 0 one without images.
    for one in (0.01, 1.0, 250.0):
        given = np.full(4, one)
        expected = class_weights("balanced", classes, labels)
        assert class_weights("balanced", classes, labels, given) == pytest.approx(expected)
        assert logit_offsets(2.0, 2, labels, given) == pytest.approx(logit_offsets(2.0, 2, labels))
    lacking = np.array([1.0, 2.0, 3.0, 0.0])
    assert class_weights("balanced", classes, labels, lacking)[1] == 0
    assert logit_offsets(1.0, 2, labels, lacking) == pytest.approx([0, math.log(0.25)])
    # Costs of one's own are costs of a weighted image; the mean of the products is 1.
    own = np.array(class_weights({"b": 5.0}, classes, labels, equal))
    assert own[1] == pytest.approx(5 * own[0])
    assert (own[labels] * equal / equal.mean()).mean() == pytest.approx(1)
    with pytest.raises(TrainingError, match=r"^no training image has a weight above 0$"):
        class_weights("balanced", classes, labels, np.zeros(4))


def test_logit_adjustment_by_hand() -> None:
    """Three images of a and one of b: equation 10 of Menon et al. for logits 1 and 2, label b."""
    labels = np.array([0, 0, 0, 1])
    assert logit_offsets(0.0, 2, labels) == ()
    for tau, expected in (
        # −log(e² · 0.25 / (e² · 0.25 + e · 0.75)) = log(1 + 3 / e)
        (1.0, math.log(1 + 3 / math.e)),
        # −log(e² · 0.0625 / (e² · 0.0625 + e · 0.5625)) = log(1 + 9 / e)
        (2.0, math.log(1 + 9 / math.e)),
    ):
        offsets = torch.tensor(logit_offsets(tau, 2, labels), dtype=torch.float64)
        logits = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        loss = loss_of("cross-entropy", logits + offsets, torch.tensor([1]))
        assert loss.item() == pytest.approx(expected, abs=1e-12)
    # A class without training images has a finite offset.
    assert logit_offsets(1.0, 3, labels) == pytest.approx(np.log([0.75, 0.25, 0.25]))


def test_adjusted_logits_learn_what_balanced_classes_would_teach() -> None:
    """Of counts per class and feature, the logits become those of equally frequent classes."""
    counts = np.array([[60, 5], [30, 5], [10, 10]])  # feature by class: 100 of a, 20 of b
    labels = np.repeat([0, 1], [100, 20])
    rows = torch.eye(3, dtype=torch.float64)
    logits = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    offsets = torch.tensor(logit_offsets(1.0, 2, labels), dtype=torch.float64)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12)
    images = torch.tensor(counts, dtype=torch.float64)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -(images * ((rows @ logits) + offsets).log_softmax(dim=1)).sum() / images.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)
    likelihoods = counts / counts.sum(axis=0)  # of the feature, given the class
    expected = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(logits.detach().softmax(dim=1).numpy(), expected, atol=1e-5)
