"""The loop against epochs worked out by hand: stopping, the best weights back, what is random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler

from seewhy.config import HeadConfig, Metric
from seewhy.errors import TrainingError
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Advance, Silent
from seewhy.runtime.seeding import seed_of
from seewhy.storage.schemas.training import Epoch
from seewhy.training.learners import ModuleLearner
from seewhy.training.trainer import (
    BestEpoch,
    CheckpointStore,
    Learner,
    OnEpoch,
    StageResult,
    StageSettings,
    ValidationScores,
    dropout_seed,
    epoch_order,
    stage_settings,
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


def _learner(module: nn.Module, settings: StageSettings) -> ModuleLearner:
    points, labels = _blobs()
    indices = np.arange(40)
    return ModuleLearner(
        module,
        lambda chosen, generator: points[torch.from_numpy(chosen)],
        labels,
        indices[:30],
        indices[30:],
        settings,
        CPU,
    )


def _train(
    module: nn.Module,
    settings: StageSettings = SETTINGS,
    keeper: CheckpointStore | None = None,
    on_epoch: OnEpoch | None = None,
) -> StageResult:
    learner = _learner(module, settings)
    return train_stage(learner, settings, Silent(), "a test", keeper, on_epoch)


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
    # What the search looks at: the last five epochs, or all where there are fewer.
    last = script[1 : epochs + 1][-5:]
    assert result.last_objective == pytest.approx(sum(last) / len(last) / 10)
    assert result.seconds == pytest.approx(sum(epoch.seconds for epoch in result.history))


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


@hypothesis_settings(deadline=None, derandomize=True)
@given(count=st.integers(1, 70), size=st.integers(2, 32), seed=st.integers(0, 5))
def test_an_epoch_takes_every_image_once_but_for_a_last_single_one(
    count: int, size: int, seed: int
) -> None:
    settings = replace(SETTINGS, batch_size=size, seed=seed)
    order, _ = epoch_order(np.arange(100, 100 + count), settings, 1, np.zeros(200, int))
    seen = order.tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(100, 100 + count))
    left_out = count - len(seen)
    assert left_out == (1 if count % size == 1 and count > 1 else 0)


def test_an_epoch_hangs_on_seed_stage_and_number_alone() -> None:
    indices = np.arange(1000, 1050)

    def drawn(settings: StageSettings, number: int) -> tuple[tuple[int, ...], float, int]:
        order, generator = epoch_order(indices, settings, number, np.arange(1050) % 3)
        further = torch.rand(1, generator=generator).item()
        return tuple(order.tolist()), further, dropout_seed(settings, number)

    first = drawn(SETTINGS, 1)
    # Whatever else is different, or was drawn before, changes nothing.
    torch.rand(7)
    other = replace(SETTINGS, learning_rate=1e-4, loss="kl-divergence", epochs=3, patience=1)
    assert drawn(other, 1) == first
    others = [
        drawn(SETTINGS, 2),
        drawn(replace(SETTINGS, seed=1), 1),
        drawn(replace(SETTINGS, stage="finetuning"), 1),
    ]
    for part in range(3):
        assert len({first[part], *(one[part] for one in others)}) == 4
    # Dropout is not drawn from what the order is drawn from.
    assert first[2] != seed_of(0, "adaptation", 1)
    balanced = replace(SETTINGS, sampler="balanced")
    assert drawn(balanced, 1) == drawn(balanced, 1)
    assert len({drawn(balanced, 1)[0], drawn(balanced, 2)[0], first[0]}) == 3


def test_balanced_epochs_draw_every_class_and_every_image_of_it_alike() -> None:
    """Ninety images of class 0, ten of class 2, none of class 1; PyTorch's own sampler is equal."""
    labels = np.array([0, 2] * 10 + [0] * 80 + [1] * 5)
    indices = np.arange(100)
    settings = replace(SETTINGS, sampler="balanced")
    seen = np.zeros(105, int)
    for number in range(300):
        order, _ = epoch_order(indices, settings, number, labels)
        assert len(order) == 100
        seen += np.bincount(order, minlength=105)
        chances = [1 / 90 if labels[i] == 0 else 1 / 10 for i in indices]
        generator = torch.Generator().manual_seed(seed_of(0, "adaptation", number))
        theirs = WeightedRandomSampler(chances, 100, generator=generator)
        assert order.tolist() == list(theirs)
    # 30,000 draws: half of each class, with a deviation of 87.
    assert seen[labels == 2].sum() == pytest.approx(15_000, abs=5 * 87)
    assert seen[labels == 1].sum() == 0
    # 166.7 draws of an image of class 0 with a deviation of 12.9, 1,500 of one of class 2.
    assert np.abs(seen[labels == 0] - 15_000 / 90).max() < 5 * 12.9
    assert np.abs(seen[labels == 2] - 1_500).max() < 5 * 38


def test_balanced_epochs_draw_the_images_of_a_class_by_their_weights() -> None:
    """Class 0 weighs ten times as much as class 1, and is drawn no more often."""
    labels = np.array([0] * 4 + [1] * 4 + [1])
    weights = np.array([10.0, 10, 20, 0, 1, 1, 2, 0, 99])
    settings, indices = replace(SETTINGS, sampler="balanced"), np.arange(8)
    seen = np.zeros(9, int)
    for number in range(5000):
        order, _ = epoch_order(indices, settings, number, labels, weights)
        seen += np.bincount(order, minlength=9)
    # 40,000 draws; the last image is not one of the training.
    expected = np.array([1, 1, 2, 0, 1, 1, 2, 0, 0]) * 5000
    assert np.abs(seen - expected).max() < 5 * 87
    assert (seen[expected == 0] == 0).all()
    # Equal weights draw what none draw.
    (one, _), (other, _) = (
        epoch_order(indices, settings, 1, labels, given) for given in (None, np.full(9, 0.5))
    )
    assert one.tolist() == other.tolist()
    # A class whose training images all have the weight 0 is left out.
    order, _ = epoch_order(indices, settings, 1, labels, np.where(labels == 0, 0, weights))
    assert set(labels[order].tolist()) == {1}


def test_seeds_depend_on_every_part_and_stay_in_range() -> None:
    seeds = {seed_of(0, "a", 1), seed_of(0, "a", 2), seed_of(1, "a", 1), seed_of(0, "b", 1)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    # printf "(0, 'a', 1)" | sha256sum, its first eight bytes halved.
    assert seed_of(0, "a", 1) == 0x840A473970ED832E // 2


def test_training_that_diverges_is_an_error_and_not_the_best_epoch() -> None:
    module = _linear()
    keeper = Kept()
    with pytest.raises(TrainingError, match=r"diverged in epoch 1 .* lower head\.learning_rate"):
        _train(module, replace(SETTINGS, learning_rate=float("inf")), keeper)
    assert keeper.numbers == []


class Kept:
    """A keeper that knows which epochs it was given, and restores those it was made with."""

    def __init__(self, behind: list[Epoch] | None = None, best: int = 0) -> None:
        self.numbers: list[int] = []
        self.bests: list[int] = []
        self._behind, self._best = behind or [], best

    def restore(self, learner: Learner, best: BestEpoch) -> list[Epoch]:
        if self._behind:
            right = self._behind[self._best - 1].validation_accuracy
            best.offer(self._best, ValidationScores(0.5, right, right), _linear())
            best.state = {
                name: tensor.clone() for name, tensor in learner.module.state_dict().items()
            }
        return list(self._behind)

    def keep(self, learner: Learner, best: BestEpoch, history: list[Epoch]) -> None:
        self.numbers.append(history[-1].epoch)
        self.bests.append(best.epoch)


def test_an_epoch_is_kept_before_anybody_may_end_the_stage_for_it() -> None:
    keeper = Kept()
    seen: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        assert keeper.numbers[-1] == epoch.epoch
        seen.append(epoch)
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    module = Scripted([1, 5, 4, 6, 7, 8])
    with pytest.raises(KeyboardInterrupt):
        _train(module, replace(SETTINGS, epochs=5), keeper, on_epoch)
    assert keeper.numbers == [1, 2, 3]
    assert keeper.bests == [1, 1, 3]
    assert [epoch.validation_accuracy for epoch in seen] == [0.5, 0.4, 0.6]


def test_the_epochs_behind_it_count_for_patience_and_budget() -> None:
    behind = [Epoch(k, 1.0, 0.5, 0.5, right, 0.05, 1.0) for k, right in ((1, 0.9), (2, 0.3))]
    # Two epochs behind it, the first the best: a patience of four leaves three more.
    module = Scripted([1, 5, 5, 5, 5, 5])
    result = _train(module, replace(SETTINGS, epochs=9, patience=4), Kept(behind, best=1))
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4, 5]
    assert result.history[:2] == tuple(behind)
    assert (result.best_epoch, result.best_validation_accuracy) == (1, 0.9)
    # Of three epochs in all only one is left.
    result = _train(module, replace(SETTINGS, epochs=3), Kept(behind, best=1))
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    # And none where patience had come to its end.
    result = _train(module, replace(SETTINGS, epochs=9, patience=1), Kept(behind, best=1))
    assert result.history == tuple(behind)


class Counting(Silent):
    """Knows the steps of its last task."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        self.total: int = total
        self.steps: list[int] = []
        yield self.steps.append


def test_progress_shows_what_was_behind_and_reaches_its_total() -> None:
    progress = Counting()
    settings = replace(SETTINGS, epochs=6, patience=2)
    behind = [Epoch(1, 1.0, 0.5, 0.5, 0.9, 0.05, 1.0)]
    learner = _learner(Scripted([1, 5, 5, 5, 5, 5, 5]), settings)
    train_stage(learner, settings, progress, "a test", Kept(behind, best=1))
    assert progress.total == 180
    # The epoch behind it, two of four batches each; early stopping saved the rest.
    assert progress.steps[:-1] == [30, *[8, 8, 8, 6] * 2]
    assert sum(progress.steps) >= 180


def test_a_stage_takes_its_settings_from_the_head() -> None:
    head = HeadConfig(
        learning_rate=0.004, batch_size=16, loss="kl-divergence", label_smoothing=0.25
    )
    assert stage_settings("finetuning", head, 7, 3, 0.0004, 42) == StageSettings(
        stage="finetuning",
        epochs=7,
        patience=3,
        learning_rate=0.0004,
        batch_size=16,
        loss="kl-divergence",
        seed=42,
        label_smoothing=0.25,
    )


class ScriptedLearner:
    """Its validation scores in epoch e are `script[e]`, e = 0 the start."""

    images = 10

    def __init__(self, script: list[ValidationScores]) -> None:
        self.module = self.kept = nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.module.parameters())
        self.script, self.epoch = script, 0

    def train_epoch(self, number: int, advance: Advance) -> tuple[float, float]:
        self.epoch = number
        with torch.no_grad():
            self.module.weight.fill_(number)
        return 1.0, 0.5

    def validate(self) -> ValidationScores:
        return self.script[self.epoch]


@pytest.mark.parametrize(
    ("metric", "values", "best", "epochs"),
    [
        # Accuracy, here always higher, does not count.
        ("balanced_accuracy", [0.3, 0.6, 0.5, 0.6, 0.4, 0.9], 1, 4),
        # Lower is better.
        ("log_loss", [2.3, 1.1, 1.2, 0.7, 0.8, 0.9], 3, 5),
        ("mean_absolute_error", [0.0, 1.1, 1.2, 0.7, 0.8, 0.9], 0, 3),
        # Below zero.
        ("kappa", [-0.5, -0.2, -0.3, -0.1, -0.2, -0.3], 3, 5),
    ],
)
def test_the_metric_chooses_the_best_epoch_and_ends_the_stage(
    metric: Metric, values: list[float], best: int, epochs: int
) -> None:
    script = [ValidationScores(1.0, k / 10, value) for k, value in enumerate(values)]
    settings = replace(SETTINGS, stage="finetuning", metric=metric, patience=3, epochs=5)
    learner = ScriptedLearner(script)
    result = train_stage(learner, settings, Silent(), "a test")
    assert (result.best_epoch, len(result.history)) == (best, epochs)
    assert result.best_validation_metric == values[best]
    assert result.best_validation_accuracy == best / 10
    assert [one.objective for one in result.history] == values[1 : epochs + 1]
    assert result.last_objective == pytest.approx(np.mean(values[1 : epochs + 1]))
    if best:
        assert learner.module.weight.item() == best


@pytest.mark.parametrize("patience", [1, 2])
def test_a_random_head_is_the_best_by_accuracy_alone(patience: int) -> None:
    script = [ValidationScores(1.0, value, value) for value in (0.9, 0.5, 0.6, 0.5, 0.5, 0.5)]
    for metric, best in (("accuracy", 0), ("balanced_accuracy", 2)):
        settings = replace(SETTINGS, metric=metric, patience=patience, epochs=5)
        result = train_stage(ScriptedLearner(script), settings, Silent(), "a test")
        assert (result.best_epoch, len(result.history)) == (best, best + patience)


def test_of_equal_values_the_lower_loss_is_better() -> None:
    script = [ValidationScores(loss, 0.5, 0.7) for loss in (3.0, 2.0, 1.0, 1.5)]
    settings = replace(SETTINGS, metric="log_loss", epochs=3)
    assert train_stage(ScriptedLearner(script), settings, Silent(), "a test").best_epoch == 2


def test_a_metric_that_is_not_defined_ends_the_stage_before_it_trains() -> None:
    learner = ScriptedLearner([ValidationScores(1.0, 1.0, float("nan"))])
    message = (
        "^a test: the validation images do not define head.metric = 'auroc'; expected images of "
        "at least two classes$"
    )
    with pytest.raises(TrainingError, match=message):
        train_stage(learner, replace(SETTINGS, metric="auroc"), Silent(), "a test")
    assert learner.epoch == 0
