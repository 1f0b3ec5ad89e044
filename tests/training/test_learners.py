"""The head's gradients by hand against autograd's; both learners against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy.config import Metric
from seewhy.errors import TrainingError
from seewhy.models.classifier import Head
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.runtime.seeding import seed_of
from seewhy.statistics.classification import measure
from seewhy.storage.schemas.training import Epoch
from seewhy.training import learners
from seewhy.training.learners import Augment, HeadLearner, ModuleLearner, image_weights
from seewhy.training.losses import label_shares, loss_of
from seewhy.training.mixing import Mixing
from seewhy.training.trainer import (
    StageSettings,
    augmentation_seed,
    dropout_seed,
    epoch_order,
    train_stage,
)

CPU = Compute(torch.device("cpu"), "float32", "a test")
SETTINGS = StageSettings("adaptation", 3, 5, 0.01, 8, "cross-entropy", 0)
FEATURES, CLASSES = 6, 4
UNITS = ((), (5,), (7, 3), (8, 4, 2))


def _pooled(count: int = 45) -> tuple[Tensor, np.ndarray]:
    """Features that tell the classes apart, but not quite."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    pooled = torch.randn(count, FEATURES, generator=generator)
    pooled[torch.arange(count), labels] += 1.5
    return pooled, labels.numpy()


def _head(units: tuple[int, ...], dropout: float = 0.0, seed: int = 1) -> Head:
    return Head(FEATURES, units, dropout, CLASSES, seed)


def _learner(
    head: Head,
    settings: StageSettings = SETTINGS,
    train: int = 29,
    weights: np.ndarray | None = None,
) -> HeadLearner:
    pooled, labels = _pooled()
    indices = np.arange(45)
    return HeadLearner(head, pooled, labels, indices[:train], indices[30:], settings, weights)


def _trained(learner: HeadLearner | ModuleLearner) -> list[Tensor]:
    return learner.optimizer.param_groups[0]["params"]


def _module_learner(
    head: Head,
    settings: StageSettings = SETTINGS,
    train: int = 29,
    weights: np.ndarray | None = None,
) -> ModuleLearner:
    pooled, labels = _pooled()
    indices = np.arange(45)

    class Classify(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, rows: Tensor) -> Tensor:
            return self.head.classify(rows)

    return ModuleLearner(
        Classify(),
        lambda chosen, generator: pooled[torch.from_numpy(chosen)],
        labels,
        indices[:train],
        indices[30:],
        settings,
        CPU,
        weights=weights,
    )


def _masked(head: Head, rows: Tensor, masks: list[Tensor]) -> Tensor:
    """Classify `rows` with given dropout masks, (B, units) each, scales included."""
    left = iter(masks)
    for layer in head.layers:
        rows = rows * next(left) if isinstance(layer, nn.Dropout) else layer(rows)
    return rows


def _same(one: list[Tensor], other: list[Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("units", UNITS)
def test_gradients_are_those_of_autograd(
    units: tuple[int, ...], dropout: float, smoothing: float
) -> None:
    theirs = _head(units, dropout)
    learner = _learner(_head(units, dropout), replace(SETTINGS, label_smoothing=smoothing))
    pooled, labels = _pooled(11)
    generator = torch.Generator().manual_seed(2)
    masks = [
        (torch.rand(11, width, generator=generator) >= dropout) / (1 - dropout) for width in units
    ]
    targets = torch.from_numpy(labels)
    for parameter in _trained(learner):
        parameter.grad = torch.full_like(parameter, torch.nan)
    wanted = label_shares(targets, CLASSES, smoothing)
    with torch.no_grad():
        logits = learner._gradients(pooled, wanted, masks if dropout else [])
    expected = _masked(theirs, pooled, masks)
    torch.testing.assert_close(logits, expected.detach(), rtol=1e-5, atol=1e-6)
    loss_of("kl-divergence", expected, targets, "mean", smoothing).backward()
    found = [parameter.grad for parameter in _trained(learner)]
    # Weights are (inputs, outputs) there, (outputs, inputs) in PyTorch's layers.
    _same(
        [gradient.t() if gradient.dim() == 2 else gradient for gradient in found],
        [parameter.grad for parameter in theirs.parameters()],
    )
    assert all(gradient.abs().sum() > 0 for gradient in found)


@pytest.mark.parametrize("loss", ["cross-entropy", "kl-divergence"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("units", UNITS)
def test_epochs_without_dropout_are_those_of_autograd(
    units: tuple[int, ...], smoothing: float, loss: str
) -> None:
    # 29 images in batches of 8: three whole ones and one of five.
    settings = replace(SETTINGS, label_smoothing=smoothing, loss=loss, epochs=6)
    _, history = _both_trained(settings, units)
    assert history[-1].train_loss < history[0].train_loss


def _both_trained(
    settings: StageSettings, units: tuple[int, ...] = (5,)
) -> tuple[Head, Sequence[Epoch]]:
    """Train a head with both learners, which have to agree; return it and its epochs."""
    ours, theirs = _head(units), _head(units)
    history = [
        train_stage(learner, settings, Silent(), "a test").history
        for learner in (_learner(ours, settings), _module_learner(theirs, settings))
    ]
    for one, other in zip(*history, strict=True):
        assert _numbers(one) == pytest.approx(_numbers(other), rel=1e-5, abs=1e-5)
    _same(list(ours.state_dict().values()), list(theirs.state_dict().values()))
    return ours, history[0]


def _numbers(epoch: Epoch) -> tuple[float, ...]:
    return (
        epoch.epoch,
        epoch.train_loss,
        epoch.train_accuracy,
        epoch.validation_loss,
        epoch.validation_accuracy,
        epoch.learning_rate,
    )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_an_epoch_with_dropout_by_hand(dropout: float) -> None:
    """Order and masks are drawn as the loop says, then it is Adam on autograd's gradients."""
    units = (5, 3)
    learner = _learner(_head(units, dropout))
    found = learner.train_epoch(2, lambda steps: None)
    theirs = _head(units, dropout)
    pooled, labels = _pooled()
    order, _ = epoch_order(np.arange(29), SETTINGS, 2, _pooled()[1])
    generator = torch.Generator().manual_seed(dropout_seed(SETTINGS, 2))
    masks = [
        torch.empty(29, width).bernoulli_(1 - dropout, generator=generator) / (1 - dropout)
        for width in units
    ]
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    loss_sum, right = 0.0, 0
    for start in range(0, 29, 8):
        chosen, part = order[start : start + 8], slice(start, start + 8)
        targets = torch.from_numpy(labels[chosen])
        logits = _masked(theirs, pooled[chosen], [mask[part] for mask in masks])
        loss = nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(chosen)
        right += int((logits.argmax(dim=1) == targets).sum())
    assert found == (pytest.approx(loss_sum / 29, rel=1e-5), pytest.approx(right / 29))
    _same(list(learner.module.state_dict().values()), list(theirs.state_dict().values()))
    # Evaluation drops nothing.
    theirs.eval()
    with torch.no_grad():
        logits = theirs.classify(pooled[30:])
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(labels[30:])).item()
    loss, accuracy, metric = learner.validate()
    assert metric == accuracy
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(dim=1).numpy() == labels[30:]).mean())


def test_dropout_keeps_the_mean() -> None:
    # All hidden units put out 1; the output layer adds them up, without moving.
    units, dropout = 2000, 0.3
    head = Head(1, (units,), dropout, 2, seed=0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.layers[0].bias.fill_(1.0)
        head.layers[-1].weight[1].fill_(1 / units)
    settings = replace(SETTINGS, learning_rate=1e-30)
    pooled = torch.zeros(64, 1)
    labels = np.zeros(64, dtype=np.int64)
    learner = HeadLearner(head, pooled, labels, np.arange(64), np.arange(64), settings)
    logits: list[Tensor] = []
    train_rows = learner._train_rows
    learner._train_rows = lambda *given: logits.append(train_rows(*given)) or logits[-1]
    learner.train_epoch(1, lambda steps: None)
    sums = logits[0][:, 1]
    # A unit is 0 with 0.3, else 1 / 0.7: deviation sqrt(0.3 / 0.7 / 2000) = 0.0146 an image.
    assert sums.mean().item() == pytest.approx(1.0, abs=5 * 0.0146 / 8)
    assert sums.std().item() == pytest.approx(0.0146, rel=0.4)
    kept = sums * units * 0.7
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-1)


@pytest.mark.parametrize("make", [_learner, _module_learner])
def test_dropout_is_drawn_from_seed_stage_and_epoch_alone(
    make: Callable[..., HeadLearner | ModuleLearner], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The order of the images depends on them too; here it is always the same.
    monkeypatch.setattr(learners, "epoch_order", lambda rows, *rest: (rows, None))

    def weights(settings: StageSettings = SETTINGS, number: int = 1, before: int = 0) -> Tensor:
        head = _head((16,), 0.5)
        learner = make(head, settings)
        # What was drawn before must not show: the same weights, another past.
        state = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
        adam = deepcopy(learner.optimizer.state_dict())
        for epoch in range(before):
            learner.train_epoch(epoch + 5, lambda steps: None)
        learner.module.load_state_dict(state)
        learner.optimizer.load_state_dict(adam)
        torch.rand(3)
        learner.train_epoch(number, lambda steps: None)
        return head.layers[0].weight.detach().clone()

    first = weights()
    assert torch.equal(weights(before=2), first)
    for other in (
        weights(number=2),
        weights(replace(SETTINGS, seed=1)),
        weights(replace(SETTINGS, stage="finetuning")),
    ):
        assert not torch.allclose(other, first)


@pytest.mark.parametrize(("train", "batches"), [(25, 3), (24, 3), (26, 4), (1, 1)])
def test_both_learners_leave_out_a_last_batch_of_one(train: int, batches: int) -> None:
    settings = replace(SETTINGS, epochs=1)
    heads = _head((5,)), _head((5,))
    told: list[list[int]] = []
    results = []
    for learner in (
        _learner(heads[0], settings, train),
        _module_learner(heads[1], settings, train),
    ):
        steps: list[int] = []
        count = 0

        def step(inner=learner.optimizer.step) -> None:  # type: ignore[no-untyped-def]
            nonlocal count
            count += 1
            inner()

        learner.optimizer.step = step  # type: ignore[method-assign]
        results.append(learner.train_epoch(1, steps.append))
        told.append(steps)
        assert count == batches
        assert learner.images == train
    seen = 24 if train == 25 else train
    assert sum(told[0]) == sum(told[1]) == seen
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    _same(list(heads[0].state_dict().values()), list(heads[1].state_dict().values()))


def test_rows_that_are_gathered_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> tuple[list[Tensor], tuple[float, float], tuple[float, float], list[int]]:
        head, steps = _head((5,)), []
        learner = _learner(head)
        found = learner.train_epoch(1, steps.append)
        return list(head.state_dict().values()), found, learner.validate(), steps

    whole = trained()
    assert whole[3] == [29]
    # 17 rows are two batches of eight; the last block holds less than a batch.
    monkeypatch.setattr(learners, "BLOCK", 17)
    parts = trained()
    assert parts[3] == [16, 13]
    assert all(torch.equal(one, other) for one, other in zip(whole[0], parts[0], strict=True))
    assert parts[1] == pytest.approx(whole[1], rel=1e-6)
    assert parts[2] == pytest.approx(whole[2], rel=1e-6)
    # A block smaller than a batch is one batch.
    monkeypatch.setattr(learners, "BLOCK", 3)
    assert trained()[3] == [8, 8, 8, 5]


def test_the_modules_weights_are_those_that_are_trained() -> None:
    head = _head((7, 3), 0.2)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    learner = _learner(head)
    for name, tensor in head.state_dict().items():
        assert torch.equal(tensor, before[name])
    learner.train_epoch(1, lambda steps: None)
    after = head.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.grad is None for parameter in _trained(learner))
    # Putting weights back (a checkpoint, the best epoch) reaches what is trained, too.
    head.load_state_dict(before)
    learner.train_epoch(1, lambda steps: None)
    again = learner.validate()
    fresh = _head((7, 3), 0.2, seed=9)
    fresh.load_state_dict(head.state_dict())
    fresh.eval()
    pooled, labels = _pooled()
    with torch.no_grad():
        ours, theirs = head.eval().classify(pooled), fresh.classify(pooled)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    right = (theirs[30:].argmax(dim=1).numpy() == labels[30:]).mean()
    assert again[1] == pytest.approx(right)
    # A head that was trained can continue under autograd, as fine-tuning has it.
    assert all(
        parameter.requires_grad and parameter.grad is None for parameter in head.parameters()
    )
    head.classify(pooled).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_what_is_frozen_does_not_move_and_gradients_do_not_stay() -> None:
    head = _head((5,))
    head.layers[0].requires_grad_(False)
    frozen = head.layers[0].weight.clone()
    free = head.layers[-1].weight.clone()
    learner = _module_learner(head)
    assert len(_trained(learner)) == 2
    learner.train_epoch(1, lambda steps: None)
    assert torch.equal(head.layers[0].weight, frozen)
    assert not torch.equal(head.layers[-1].weight, free)
    assert all(parameter.grad is None for parameter in head.parameters())


def test_parts_that_are_to_be_still_keep_their_statistics() -> None:
    def learner(frozen_modules: bool) -> tuple[nn.Sequential, ModuleLearner]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            norms = nn.BatchNorm1d(FEATURES), nn.BatchNorm1d(CLASSES)
            module = nn.Sequential(norms[0], nn.Linear(FEATURES, CLASSES), norms[1])
        pooled, labels = _pooled()
        indices = np.arange(45)
        return module, ModuleLearner(
            module,
            lambda chosen, generator: pooled[torch.from_numpy(chosen)],
            labels,
            indices[:24],
            indices[30:],
            SETTINGS,
            CPU,
            frozen_modules=norms[:1] if frozen_modules else (),
        )

    module, moving = learner(frozen_modules=False)
    moving.train_epoch(1, lambda steps: None)
    assert module[0].running_mean.abs().sum() > 0
    module, frozen_modules = learner(frozen_modules=True)
    for epoch in (1, 2):
        frozen_modules.train_epoch(epoch, lambda steps: None)
        frozen_modules.validate()
    # Its statistics are as they were; its weights learn, and the other's statistics move.
    assert torch.equal(module[0].running_mean, torch.zeros(FEATURES))
    assert int(module[0].num_batches_tracked) == 0
    assert int(module[2].num_batches_tracked) == 6
    assert not torch.equal(module[0].weight, torch.ones(FEATURES))


def test_validation_runs_over_all_images_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pooled, labels = _pooled()
    head = _head((5,)).eval()
    with torch.no_grad():
        logits = head.classify(pooled[30:])
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[30:])).item()
    right = (logits.argmax(dim=1).numpy() == labels[30:]).mean()
    monkeypatch.setattr(learners, "EVALUATION_BATCH", 4)
    monkeypatch.setattr(learners, "BLOCK", 4)
    for learner in (_learner(head), _module_learner(head)):
        assert learner.validate()[:2] == (pytest.approx(loss, rel=1e-5), pytest.approx(right))


def test_training_batches_alone_are_augmented_from_a_chance_of_their_own() -> None:
    def trained(augment: Augment | None) -> tuple[list[Tensor], tuple[float, float]]:
        pooled, labels = _pooled()
        head = _head((5,), 0.3)

        def batches(chosen: np.ndarray, generator: torch.Generator | None) -> Tensor:
            rows = pooled[torch.from_numpy(chosen)]
            if generator is None:
                return rows
            return rows + torch.randn(rows.shape, generator=generator)

        class Classify(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = head

            def forward(self, rows: Tensor) -> Tensor:
                return self.head.classify(rows)

        indices = np.arange(45)
        learner = ModuleLearner(
            Classify(), batches, labels, indices[:29], indices[30:], SETTINGS, CPU, augment=augment
        )
        learner.train_epoch(2, lambda steps: None)
        return list(head.state_dict().values()), learner.validate()

    seen: list[int] = []
    drawn: list[float] = []

    def look(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        assert batch.shape == (len(labels), FEATURES)
        seen.extend(labels.tolist())
        drawn.append(torch.rand(1, generator=generator).item())
        return batch

    plain, looked = trained(None), trained(look)
    order, _ = epoch_order(np.arange(29), SETTINGS, 2, _pooled()[1])
    assert seen == _pooled()[1][order].tolist()
    # What it draws is nobody else's: order, noise and dropout are the same without it.
    assert all(torch.equal(one, other) for one, other in zip(plain[0], looked[0], strict=True))
    assert plain[1] == looked[1]
    own = torch.Generator().manual_seed(seed_of(0, "adaptation", 2, "augmentation"))
    assert drawn == [torch.rand(1, generator=own).item() for _ in range(4)]
    # And what it gives back is what is learnt from.
    other = trained(lambda batch, labels, generator: torch.zeros_like(batch))
    assert not torch.equal(other[0][0], plain[0][0])


WEIGHTS = (0.25, 3.0, 1.0, 0.5)
OFFSETS = (-0.2, -2.0, -1.0, -1.5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("units", UNITS)
def test_weighted_gradients_are_those_of_autograd(units: tuple[int, ...], smoothing: float) -> None:
    theirs, learner = _head(units), _learner(_head(units))
    pooled, labels = _pooled(11)
    targets = torch.from_numpy(labels)
    for parameter in _trained(learner):
        parameter.grad = torch.full_like(parameter, torch.nan)
    weights = torch.tensor(WEIGHTS)[targets]
    with torch.no_grad():
        learner._gradients(pooled, label_shares(targets, CLASSES, smoothing), [], weights)
    losses = nn.functional.cross_entropy(
        theirs.classify(pooled), targets, reduction="none", label_smoothing=smoothing
    )
    (losses * weights).mean().backward()
    _same(
        [one.grad.t() if one.dim() == 2 else one.grad for one in _trained(learner)],
        [parameter.grad for parameter in theirs.parameters()],
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("units", UNITS)
def test_adjusted_gradients_are_those_of_autograd(units: tuple[int, ...], smoothing: float) -> None:
    settings = replace(SETTINGS, logit_offsets=OFFSETS)
    theirs, learner = _head(units), _learner(_head(units), settings)
    pooled, labels = _pooled(11)
    targets = torch.from_numpy(labels)
    for parameter in _trained(learner):
        parameter.grad = torch.full_like(parameter, torch.nan)
    with torch.no_grad():
        logits = learner._gradients(pooled, label_shares(targets, CLASSES, smoothing), [])
    plain = theirs.classify(pooled)
    # Predictions are made of the logits without the offsets.
    torch.testing.assert_close(logits, plain.detach())
    adjusted = plain + torch.tensor(OFFSETS)
    nn.functional.cross_entropy(adjusted, targets, label_smoothing=smoothing).backward()
    _same(
        [one.grad.t() if one.dim() == 2 else one.grad for one in _trained(learner)],
        [parameter.grad for parameter in theirs.parameters()],
    )


@pytest.mark.parametrize("make", [_learner, _module_learner])
def test_the_balanced_sampler_of_both_learners_draws_by_the_weights(
    make: Callable[..., HeadLearner | ModuleLearner], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def order(*arguments: Any) -> tuple[np.ndarray, torch.Generator]:
        given.append(arguments[4])
        return epoch_order(*arguments)

    monkeypatch.setattr(learners, "epoch_order", order)
    weights = np.arange(45) / 3
    balanced = replace(SETTINGS, sampler="balanced")
    make(_head((5,)), balanced, weights=weights).train_epoch(1, lambda steps: None)
    assert given[0] is weights


@pytest.mark.parametrize("changes", [{"logit_offsets": OFFSETS}, {"sampler": "balanced"}])
def test_adjusted_and_balanced_epochs_of_both_learners_are_the_same(
    changes: dict[str, Any],
) -> None:
    settings = replace(SETTINGS, epochs=4, patience=9, label_smoothing=0.1, **changes)
    _both_trained(settings)


@pytest.mark.parametrize("make", [_learner, _module_learner])
def test_validation_is_of_the_logits_without_the_offsets(
    make: Callable[..., HeadLearner | ModuleLearner],
) -> None:
    head = _head((5,))
    pooled, labels = _pooled()
    loss, accuracy, _ = make(head, replace(SETTINGS, logit_offsets=OFFSETS)).validate()
    logits, wanted = head.classify(pooled[30:]).detach(), torch.from_numpy(labels[30:])
    assert accuracy == pytest.approx((logits.argmax(dim=1) == wanted).float().mean().item())
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, wanted).item(), rel=1e-5)
    # Whatever the training adds to them: with and without it, one head has one loss.
    assert (loss, accuracy) == make(head, SETTINGS).validate()[:2]


@pytest.mark.parametrize("make", [_learner, _module_learner])
def test_the_training_loss_is_of_the_logits_with_the_offsets(
    make: Callable[..., HeadLearner | ModuleLearner],
) -> None:
    head = _head((5,))
    pooled, labels = _pooled()
    logits, wanted = head.classify(pooled[:29]).detach(), torch.from_numpy(labels[:29])
    # A batch of all images: its loss is that of the head before it moves.
    settings = replace(SETTINGS, logit_offsets=OFFSETS, batch_size=29)
    loss, _ = make(head, settings).train_epoch(1, lambda steps: None)
    expected = nn.functional.cross_entropy(logits + torch.tensor(OFFSETS), wanted)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("make", [_learner, _module_learner])
def test_the_metric_is_that_of_all_validation_images(
    make: Callable[..., HeadLearner | ModuleLearner],
    metric: Metric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the blocks; of the logits without the offsets of the loss, and without weights."""
    monkeypatch.setattr(learners, "EVALUATION_BATCH", 4)
    monkeypatch.setattr(learners, "BLOCK", 4)
    head = _head((5,))
    pooled, labels = _pooled()
    degrees = (2, 0, 1, 3)
    settings = replace(
        SETTINGS, metric=metric, degrees=degrees, logit_offsets=OFFSETS, class_weights=WEIGHTS
    )
    found = make(head, settings).validate()
    with torch.no_grad():
        logits = head.eval().classify(pooled[30:])
    shares = logits.double().softmax(dim=1).numpy()
    expected = measure(metric, labels[30:], shares.argmax(axis=1), shares, degrees)
    assert found.metric == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["cross-entropy", "kl-divergence"])
def test_weighted_epochs_of_both_learners_are_the_same(loss: str) -> None:
    settings = replace(
        SETTINGS, loss=loss, epochs=4, class_weights=WEIGHTS, label_smoothing=0.1, patience=9
    )
    ours, _ = _both_trained(settings)
    plain = _head((5,))
    train_stage(_learner(plain, replace(settings, class_weights=())), settings, Silent(), "a test")
    assert not torch.allclose(plain.layers[0].weight, ours.layers[0].weight)


def test_weights_of_images_multiply_those_of_classes() -> None:
    """Classes a, a, b; the third image is not trained on."""
    labels, train = np.array([0, 1, 1]), np.array([0, 1])
    given = np.array([1.0, 3.0, 8.0])
    assert image_weights(SETTINGS, labels, train) is None
    alone = image_weights(SETTINGS, labels, train, given)
    assert alone == pytest.approx([0.5, 1.5, 4])
    by_class = replace(SETTINGS, class_weights=(1.5, 0.5))
    assert image_weights(by_class, labels, train) == pytest.approx([1.5, 0.5, 0.5])
    # 1.5 and 1.5 before scaling: equal.
    assert image_weights(by_class, labels, train, given) == pytest.approx([1, 1, 8 / 3])
    # The balanced sampler draws by the weights: the loss of what it draws has those of classes.
    drawn = replace(by_class, sampler="balanced")
    assert image_weights(drawn, labels, train, given) == pytest.approx([1.5, 0.5, 0.5])
    assert image_weights(replace(SETTINGS, sampler="balanced"), labels, train, given) is None
    with pytest.raises(TrainingError, match=r"^no training image has a weight above 0$"):
        image_weights(SETTINGS, labels, train, np.array([0.0, 0.0, 1.0]))


@pytest.mark.parametrize("make", [_learner, _module_learner])
@pytest.mark.parametrize("augmented", [False, True])
def test_an_image_of_weight_two_counts_twice_and_of_weight_zero_not_at_all(
    make: Callable[..., HeadLearner | ModuleLearner], augmented: bool
) -> None:
    """One batch of all images: its step is that of a loss worked out with the weights."""
    weights = np.arange(45) % 3.0
    settings = replace(SETTINGS, batch_size=64)
    ours, theirs = _head((5,)), _head((5,))
    learner = make(ours, settings, weights=weights)
    if augmented and isinstance(learner, ModuleLearner):
        learner._augment = lambda batch, labels, generator: batch
    loss, _ = learner.train_epoch(1, lambda steps: None)
    pooled, labels = _pooled()
    each = nn.functional.cross_entropy(
        theirs.classify(pooled[:29]), torch.from_numpy(labels[:29]), reduction="none"
    )
    factors = torch.from_numpy(weights[:29] / weights[:29].mean()).float()
    expected = (each * factors).mean()
    optimizer = torch.optim.Adam(theirs.parameters(), SETTINGS.learning_rate)
    expected.backward()
    optimizer.step()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    _same(list(ours.state_dict().values()), list(theirs.state_dict().values()))
    # Validation images are scored without weights.
    assert learner.validate() == make(ours, settings).validate()


@pytest.mark.parametrize("make", [_learner, _module_learner])
def test_weights_of_one_and_validation_change_nothing(
    make: Callable[..., HeadLearner | ModuleLearner],
) -> None:
    ones = replace(SETTINGS, class_weights=(1.0,) * CLASSES)
    heads = _head((5,)), _head((5,))
    learned = [make(head, given) for head, given in zip(heads, (SETTINGS, ones), strict=True)]
    epochs = [one.train_epoch(1, lambda steps: None) for one in learned]
    assert epochs[0] == pytest.approx(epochs[1], rel=1e-6)
    _same(*(list(head.state_dict().values()) for head in heads))
    # The validation loss of one and the same head, whatever the weights.
    weighted = make(_head((5,)), replace(SETTINGS, class_weights=WEIGHTS))
    assert weighted.validate() == make(_head((5,)), SETTINGS).validate()


def test_a_mixture_s_loss_is_that_of_its_labels_in_their_shares() -> None:
    """One step of stochastic gradient descent's gradient, worked out with soft labels."""
    pooled, labels = _pooled()
    maps, indices = pooled[:, :, None, None], np.arange(45)
    settings = replace(SETTINGS, batch_size=64, mixup=0.6, label_smoothing=0.1)
    head, mine = _head(()), _head(())
    seen: list[Tensor] = []

    class Recording(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = mine

        def forward(self, rows: Tensor) -> Tensor:
            seen.append(rows.detach().clone())
            return self.head(rows)

    learner = ModuleLearner(
        Recording(),
        lambda chosen, generator: maps[torch.from_numpy(chosen)],
        labels,
        indices[:29],
        indices[30:],
        settings,
        CPU,
    )
    loss, _ = learner.train_epoch(1, lambda count: None)
    order, _ = epoch_order(indices[:29], settings, 1, labels)
    chance = torch.Generator().manual_seed(augmentation_seed(settings, 1))
    mixed = Mixing(0.6, 0.0)(maps[torch.from_numpy(order)], chance)
    assert torch.equal(seen[0], mixed.inputs)
    shares = label_shares(torch.from_numpy(labels[order]), CLASSES, 0.1)
    soft = mixed.share * shares + (1 - mixed.share) * shares[mixed.partners]
    expected = nn.functional.cross_entropy(head(mixed.inputs), soft)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
