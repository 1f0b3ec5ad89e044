"""A stage that was stopped after any epoch and resumed is the one that never stopped."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import RunError
from seewhy.models.classifier import Head
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.training import Epoch
from seewhy.training.checkpoint import Checkpoint, optimizer_tensors
from seewhy.training.learners import HeadLearner, ModuleLearner
from seewhy.training.optimisation import Optimisation
from seewhy.training.trainer import BestEpoch, OnEpoch, StageResult, StageSettings, train_stage

CPU = Compute(torch.device("cpu"), "float32", "a test")
# Five epochs at most; patience is never at its end.
WHOLE = StageSettings("adaptation", 5, 99, 0.02, 8, "cross-entropy", 0)
# Labels that cannot be learnt: early stopping ends it before its last epoch.
# What fine-tuning has by default, and an average of the weights.
FIELD = replace(
    WHOLE,
    optimisation=Optimisation("adamw", 0.05, 0.3, "cosine", 0.2, 1.0, 0.8),
    label_smoothing=0.1,
)
EARLY = replace(WHOLE, epochs=20, patience=3, seed=3, loss="kl-divergence", label_smoothing=0.1)


def _data() -> tuple[Tensor, np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(60, 6, generator=generator)
    labels = torch.randint(3, (60,), generator=generator).numpy()
    return rows, labels, np.arange(60)


def _head_learner(settings: StageSettings, seed: int = 1) -> HeadLearner:
    rows, labels, indices = _data()
    head = Head(6, (8, 4), 0.3, 3, seed)
    return HeadLearner(head, rows, labels, indices[:37], indices[37:], settings)


def _mixing_learner(settings: StageSettings, seed: int = 1) -> ModuleLearner:
    """Maps of one place, so that they can be mixed as activations at the cut are."""
    rows, labels, indices = _data()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
        )

    def batches(chosen: np.ndarray, generator: torch.Generator | None) -> Tensor:
        return rows[torch.from_numpy(chosen)][:, :, None, None]

    settings = replace(settings, mixup=0.4)
    return ModuleLearner(module, batches, labels, indices[:37], indices[37:], settings, CPU)


def _module_learner(settings: StageSettings, seed: int = 1) -> ModuleLearner:
    """Batch statistics, dropout, a frozen layer, and batches that differ in every epoch."""
    rows, labels, indices = _data()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )
        with torch.no_grad():
            module[0].weight.copy_(torch.eye(8, 6))
            module[0].bias.zero_()
    module[0].requires_grad_(False)

    def batches(chosen: np.ndarray, generator: torch.Generator | None) -> Tensor:
        found = rows[torch.from_numpy(chosen)]
        if generator is None:
            return found
        return found + 0.1 * torch.randn(found.shape, generator=generator)

    return ModuleLearner(module, batches, labels, indices[:37], indices[37:], settings, CPU)


Make = Callable[..., HeadLearner | ModuleLearner]
BOTH = pytest.mark.parametrize("make", [_head_learner, _module_learner])


def _train(
    learner: HeadLearner | ModuleLearner,
    settings: StageSettings,
    path: Path | None,
    on_epoch: OnEpoch | None = None,
) -> StageResult:
    keeper = Checkpoint(path, settings) if path else None
    return train_stage(learner, settings, Silent(), "a test", keeper, on_epoch)


def _plain(result: StageResult) -> tuple[object, ...]:
    history = [replace(epoch, seconds=0.0) for epoch in result.history]
    return history, result.best_epoch, result.best_validation_accuracy


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _stopping_after(number: int) -> OnEpoch:
    def on_epoch(epoch: Epoch) -> None:
        if epoch.epoch == number:
            raise KeyboardInterrupt

    return on_epoch


@BOTH
@pytest.mark.parametrize("settings", [WHOLE, EARLY])
def test_a_stage_stopped_after_any_epoch_ends_as_if_it_had_not_stopped(
    make: Make, settings: StageSettings, tmp_path: Path
) -> None:
    whole = make(settings)
    expected = _train(whole, settings, None)
    epochs = len(expected.history)
    assert (epochs < settings.epochs) == (settings is EARLY)
    for stopped in range(1, epochs + 1):
        path = tmp_path / f"{stopped}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            _train(make(settings), settings, path, _stopping_after(stopped))
        # Other weights to begin with: all that counts comes out of the file.
        again = make(settings, seed=2)
        seen: list[int] = []
        result = _train(again, settings, path, lambda epoch, seen=seen: seen.append(epoch.epoch))
        assert seen == list(range(stopped + 1, epochs + 1))
        assert _plain(result) == _plain(expected)
        assert _equal(again.module.state_dict(), whole.module.state_dict())
        assert _equal(optimizer_tensors(again.optimizer), optimizer_tensors(whole.optimizer))
        assert not again.module.training


def test_an_average_a_schedule_and_mixtures_resume(tmp_path: Path) -> None:
    whole = _mixing_learner(FIELD)
    expected = _train(whole, FIELD, None)
    assert whole.kept is not whole.module
    for stopped in range(1, 5):
        path = tmp_path / f"{stopped}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            _train(_mixing_learner(FIELD), FIELD, path, _stopping_after(stopped))
        again = _mixing_learner(FIELD, seed=2)
        assert _plain(_train(again, FIELD, path)) == _plain(expected)
        assert _equal(again.module.state_dict(), whole.module.state_dict())
        assert _equal(again.kept.state_dict(), whole.kept.state_dict())
        assert _equal(optimizer_tensors(again.optimizer), optimizer_tensors(whole.optimizer))


@BOTH
def test_it_may_be_stopped_again_and_again(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "stage.safetensors"
    whole = make(WHOLE)
    expected = _train(whole, WHOLE, None)
    for stopped in range(1, 6):
        with pytest.raises(KeyboardInterrupt):
            _train(make(WHOLE, seed=stopped), WHOLE, path, _stopping_after(stopped))
        if stopped == 1:
            # The first epoch alone depends on the weights that it began with.
            with pytest.raises(KeyboardInterrupt):
                _train(make(WHOLE), WHOLE, tmp_path / "first", _stopping_after(1))
            (tmp_path / "first").replace(path)
    last = make(WHOLE, seed=7)
    assert _plain(_train(last, WHOLE, path)) == _plain(expected)
    assert _equal(last.module.state_dict(), whole.module.state_dict())
    # One file, nothing half-written beside it.
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_seconds_before_the_interruption_count(tmp_path: Path) -> None:
    path = tmp_path / "stage.safetensors"
    spent: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        spent.append(epoch.seconds)
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(_head_learner(WHOLE), WHOLE, path, on_epoch)
    result = _train(_head_learner(WHOLE), WHOLE, path)
    assert [epoch.seconds for epoch in result.history[:3]] == spent
    assert result.seconds >= sum(spent) > 0


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"learning_rate": 0.03},
        {"epochs": 6},
        {"patience": 3},
        {"batch_size": 9},
        {"loss": "kl-divergence"},
        {"label_smoothing": 0.1},
        {"stage": "finetuning"},
        {"mixup": 0.1},
        {"optimisation": Optimisation(schedule="cosine")},
    ],
)
def test_what_was_trained_otherwise_is_not_taken_up(
    other: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "stage.safetensors"
    _train(_head_learner(WHOLE), WHOLE, path)
    settings = replace(WHOLE, **other)
    learner, best = _head_learner(settings, seed=2), BestEpoch()
    before = {name: tensor.clone() for name, tensor in learner.module.state_dict().items()}
    assert Checkpoint(path, settings).restore(learner, best) == []
    assert _equal(learner.module.state_dict(), before)
    assert best.epoch == -1
    assert not optimizer_tensors(learner.optimizer)
    # Of the same settings it is.
    assert len(Checkpoint(path, WHOLE).restore(learner, best)) == 5


def test_where_nothing_lies_a_stage_begins(tmp_path: Path) -> None:
    learner, best = _head_learner(WHOLE), BestEpoch()
    assert Checkpoint(tmp_path / "none", WHOLE).restore(learner, best) == []
    assert best.epoch == -1


def _with_metadata(content: bytes, **changed: str | None) -> bytes:
    """Put other words into a safetensors file's header, or take some out."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    for key, value in changed.items():
        header["__metadata__"].pop(key)
        if value is not None:
            header["__metadata__"][key] = value
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + content[8 + size :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a checkpoint at all",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: _with_metadata(content, settings=None),
        lambda content: _with_metadata(content, history=None),
        lambda content: _with_metadata(content, history="[{]"),
        lambda content: _with_metadata(content, history='[{"epoch": 1}]'),
        lambda content: _with_metadata(content, best="null"),
        lambda content: _with_metadata(content, best='{"epoch": 1}'),
        lambda content: content.replace(b'"best.layers.0.bias"', b'"best.layers.9.bias"'),
        lambda content: content.replace(b'"optimizer.3.step"', b'"optimizer.3.stop"'),
        lambda content: content.replace(b'"module.layers.0.bias"', b'"module.layers.9.bias"'),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "stage.safetensors"
    _train(_head_learner(WHOLE), WHOLE, path)
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    with pytest.raises(RunError) as caught:
        Checkpoint(path, WHOLE).restore(_head_learner(WHOLE), BestEpoch())
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot be resumed (")
    assert message.endswith("); delete it to repeat the stage")
    assert "\n" not in message


def test_the_file_of_another_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stage.safetensors"
    _train(_head_learner(WHOLE), WHOLE, path)
    rows, labels, indices = _data()
    other = HeadLearner(
        Head(6, (5,), 0.3, 3, seed=1), rows, labels, indices[:37], indices[37:], WHOLE
    )
    with pytest.raises(RunError, match="cannot be resumed"):
        Checkpoint(path, WHOLE).restore(other, BestEpoch())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stage.safetensors"
    path.mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        _train(_head_learner(WHOLE), WHOLE, path)
