"""The loop against epochs worked out by hand and against PyTorch's own losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.errors import TrainingError
from seewhy.models.compute import Compute
from seewhy.progress import Silent
from seewhy.training.loop import (
    StageSettings,
    loss_of,
    seed_of,
    shuffled,
    train_stage,
)

CPU = Compute(torch.device("cpu"), "float32", "a test")
SETTINGS = StageSettings("adaptation", 30, 5, 0.05, 8, "cross-entropy", 0)


def _blobs() -> tuple[Tensor, np.ndarray]:
    """Forty points in two clusters that a line divides."""
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(40, 2, generator=generator)
    labels = np.arange(40) % 2
    points[:, 0] += torch.from_numpy(labels) * 6.0 - 3.0
    return points, labels.astype(np.int64)


def _linear(seed: int = 1) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(2, 2)


def _train(module: nn.Module, settings: StageSettings = SETTINGS):
    points, labels = _blobs()
    indices = np.arange(40)
    return train_stage(
        module,
        lambda chosen, generator: points[torch.from_numpy(chosen)],
        labels,
        indices[:30],
        indices[30:],
        settings,
        CPU,
        Silent(),
        "a test",
    )


def test_one_epoch_is_adam_on_the_shuffled_batches() -> None:
    ours, theirs = _linear(), _linear()
    points, labels = _blobs()
    result = _train(ours, replace(SETTINGS, epochs=1))
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(seed_of(0, "adaptation", 1))
    losses = []
    for batch in np.split(np.arange(30)[torch.randperm(30, generator=generator)], [8, 16, 24]):
        loss = F.cross_entropy(theirs(points[batch]), torch.from_numpy(labels[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(batch))
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert result.history[0].train_loss == pytest.approx(sum(losses) / 30, rel=1e-5)
    expected = F.cross_entropy(theirs(points[30:]), torch.from_numpy(labels[30:])).item()
    assert result.history[0].validation_loss == pytest.approx(expected, rel=1e-5)


class Scripted(nn.Module):
    """Its validation accuracy in epoch e is `script[e]` of ten images, e = 0 the start."""

    def __init__(self, script: list[int]) -> None:
        super().__init__()
        self.script = script
        self.epoch = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.epoch += 1 / 4  # thirty images in batches of eight: four steps an epoch
            return torch.zeros(len(inputs), 2) + self.unused
        right = self.script[round(self.epoch.item())]
        logits = torch.zeros(len(inputs), 2)
        labels = torch.arange(30, 40) % 2
        answers = torch.where(torch.arange(10) < right, labels, 1 - labels)
        logits[torch.arange(10), answers] = 5.0
        return logits


@pytest.mark.parametrize(
    ("script", "patience", "epochs", "best"),
    [
        # Five epochs without improvement after the second: seven in all.
        ([1, 5, 8, 8, 7, 8, 3, 8, 9, 9], 5, 7, 2),
        # The ninth comes too late for a patience of two.
        ([1, 5, 8, 8, 7, 9, 9, 9, 9, 9], 2, 4, 2),
        # Nothing beats the start: it comes back.
        ([9, 5, 8, 8, 7, 8, 3, 8, 9, 9], 3, 3, 0),
        # It rises to the end.
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 5, 9, 9),
    ],
)
def test_early_stopping_and_the_best_weights(
    script: list[int], patience: int, epochs: int, best: int
) -> None:
    module = Scripted(script)
    result = _train(module, replace(SETTINGS, patience=patience, epochs=9))
    assert (len(result.history), result.best_epoch) == (epochs, best)
    assert result.best_validation_accuracy == pytest.approx(script[best] / 10)
    assert round(module.epoch.item()) == best
    assert [e.validation_accuracy for e in result.history] == [
        pytest.approx(right / 10) for right in script[1 : epochs + 1]
    ]
    assert not module.training


def test_an_equal_accuracy_at_a_lower_loss_is_better() -> None:
    result = _train(_linear(), replace(SETTINGS, epochs=12))
    accuracies = [epoch.validation_accuracy for epoch in result.history]
    assert accuracies.count(1.0) >= 2
    losses = [epoch.validation_loss for epoch in result.history]
    ceiling = [loss for loss, accuracy in zip(losses, accuracies, strict=True) if accuracy == 1.0]
    assert losses[result.best_epoch - 1] == min(ceiling)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def trained(seed: int) -> Tensor:
        module = nn.Sequential(_linear(), nn.Dropout(0.5), _linear(2))
        _train(module, replace(SETTINGS, seed=seed, epochs=3))
        return module[0].weight

    torch.testing.assert_close(trained(0), trained(0), rtol=0, atol=0)
    assert not torch.equal(trained(0), trained(1))


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    _train(nn.Sequential(_linear(), nn.Dropout(0.5)), replace(SETTINGS, epochs=1))
    assert torch.equal(before, torch.get_rng_state())


def test_cross_entropy_and_kl_divergence_share_value_and_gradient() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]], requires_grad=True)
    labels = torch.tensor([0, 1])
    values, gradients = [], []
    for name in ("cross-entropy", "kl-divergence"):
        loss = loss_of(name, logits, labels)
        values.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, logits)[0])
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    # By hand: log(e^2 + e^-1 + e^.5) - 2 and log(2 + e^3) - 0, halved.
    by_hand = (np.log(np.exp([2, -1, 0.5]).sum()) - 2 + np.log(2 + np.exp(3))) / 2
    assert values[0].item() == pytest.approx(by_hand, rel=1e-6)
    assert loss_of("kl-divergence", logits, labels, "sum").item() == pytest.approx(2 * by_hand)


@given(count=st.integers(1, 70), size=st.integers(2, 32), seed=st.integers(0, 5))
def test_batches_hold_every_image_once_but_for_a_last_single_one(
    count: int, size: int, seed: int
) -> None:
    batches = list(shuffled(np.arange(100, 100 + count), size, torch.Generator().manual_seed(seed)))
    seen = np.concatenate(batches).tolist()
    assert len(set(seen)) == len(seen)
    left_out = count - len(seen)
    assert left_out == (1 if count % size == 1 and count > 1 else 0)
    assert all(len(batch) == size for batch in batches[:-1])


def test_seeds_depend_on_every_part_and_stay_in_range() -> None:
    seeds = {seed_of(0, "a", 1), seed_of(0, "a", 2), seed_of(1, "a", 1), seed_of(0, "b", 1)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    # printf "(0, 'a', 1)" | sha256sum, its first eight bytes halved.
    assert seed_of(0, "a", 1) == 0x840A473970ED832E // 2


def test_training_that_diverges_is_an_error_and_not_the_best_epoch() -> None:
    module = _linear()
    with pytest.raises(TrainingError, match=r"diverged in epoch 1 .* lower head\.learning_rate"):
        _train(module, replace(SETTINGS, learning_rate=float("inf")))
