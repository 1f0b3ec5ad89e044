"""One training stage: epochs, early stopping, the best weights back.

Knows a module, a way to get batches and labels; nothing of trunks, files or reports. All that is
random in an epoch hangs on seed, stage and epoch alone, so an epoch can be run again by itself.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.config import HeadConfig
from seewhy.errors import TrainingError
from seewhy.models.compute import Compute, seeded
from seewhy.progress import Progress
from seewhy.records import Epoch, Stage

log = logging.getLogger("seewhy")

# Batches of images, by their indices; a generator asks for training batches.
Batches = Callable[[NDArray[np.int64], torch.Generator | None], Tensor]
# No larger than a training batch: evaluation must not need the memory that training did not.
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class StageSettings:
    """How one stage trains.

    Attributes
    ----------
    stage : {"adaptation", "finetuning"}
    epochs, patience : int
    learning_rate : float
        Adam's.
    batch_size : int
    loss : str
        ``cross-entropy`` or ``kl-divergence``.
    seed : int
    """

    stage: Stage
    epochs: int
    patience: int
    learning_rate: float
    batch_size: int
    loss: str
    seed: int


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves behind; the module holds the best epoch's weights.

    Attributes
    ----------
    history : tuple of Epoch
    best_epoch : int
        0 where no epoch was better than the start.
    best_validation_accuracy : float
    seconds : float
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    best_validation_accuracy: float
    seconds: float


def stage_settings(
    stage: Stage, head: HeadConfig, epochs: int, patience: int, factor: float, seed: int
) -> StageSettings:
    """Put a stage's settings together; `factor` scales the head's learning rate."""
    return StageSettings(
        stage=stage,
        epochs=epochs,
        patience=patience,
        learning_rate=head.learning_rate * factor,
        batch_size=head.batch_size,
        loss=head.loss,
        seed=seed,
    )


def seed_of(*parts: int | str) -> int:
    """Turn what a random choice hangs on into a seed below 2**63."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def loss_of(name: str, logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Return the loss against one-hot labels.

    The Kullback-Leibler divergence from a one-hot label differs from cross-entropy by the
    label's entropy, which is zero: the two have equal values and gradients.

    Parameters
    ----------
    name : {"cross-entropy", "kl-divergence"}
    logits : Tensor, (B, K)
    labels : Tensor, (B,) int64
    reduction : {"mean", "sum"}, default "mean"
    """
    if name == "cross-entropy":
        return F.cross_entropy(logits, labels, reduction=reduction)
    one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    divergence = F.kl_div(logits.log_softmax(dim=1), one_hot, reduction="none").sum(dim=1)
    return divergence.mean() if reduction == "mean" else divergence.sum()


def train_stage(
    module: nn.Module,
    batches: Batches,
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: StageSettings,
    compute: Compute,
    progress: Progress,
    title: str,
) -> StageResult:
    """Train a module with Adam until the validation accuracy stops rising.

    An epoch is better when its validation accuracy is higher, or equal at a lower validation
    loss (small validation sets reach their ceiling early). The start counts as epoch 0: where
    nothing beats it, it comes back.

    Parameters
    ----------
    module : nn.Module
        What is trained: its parameters that require gradients.
    batches : callable
        Indices (and a generator, for training) to the module's input.
    labels : ndarray of int64, (N,)
    train, validation : ndarray of int64
        Indices.
    settings : StageSettings
    compute : Compute
    progress : Progress
    title : str
        Of the progress bar.

    Raises
    ------
    TrainingError
        Where a loss is no finite number.
    """
    started = time.perf_counter()
    targets = torch.from_numpy(labels).to(compute.device)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    best = _Best(module)
    best.offer(0, *_evaluate(module, batches, targets, validation, settings, compute))
    history: list[Epoch] = []
    with progress.task(title, settings.epochs * len(train)) as advance:
        for number in range(1, settings.epochs + 1):
            epoch_started = time.perf_counter()
            trained = _train_epoch(
                module, batches, targets, train, settings, number, compute, optimizer, advance
            )
            validated = _evaluate(module, batches, targets, validation, settings, compute)
            seconds = time.perf_counter() - epoch_started
            history.append(Epoch(number, *trained, *validated, settings.learning_rate, seconds))
            _tell(title, history[-1])
            best.offer(number, *validated)
            if number - best.epoch >= settings.patience:
                break
        # What early stopping saved, and single images left out, are done too.
        advance(settings.epochs * len(train))
    module.load_state_dict(best.state)
    module.eval()
    return StageResult(tuple(history), best.epoch, best.accuracy, time.perf_counter() - started)


class _Best:
    """The best epoch so far and the weights it had."""

    def __init__(self, module: nn.Module) -> None:
        self.epoch = 0
        self.accuracy = -1.0
        self.state: dict[str, Tensor] = {}
        self._loss = 0.0
        self._module = module

    def offer(self, epoch: int, loss: float, accuracy: float) -> None:
        """Take an epoch if its accuracy is higher, or equal at a lower loss."""
        if (accuracy, -loss) > (self.accuracy, -self._loss):
            self.epoch, self.accuracy, self._loss = epoch, accuracy, loss
            self.state = copy.deepcopy(self._module.state_dict())


def _tell(title: str, epoch: Epoch) -> None:
    """Log an epoch; refuse one whose losses are no numbers."""
    if not math.isfinite(epoch.train_loss + epoch.validation_loss):
        raise TrainingError(
            f"{title}: training diverged in epoch {epoch.epoch} (its loss is no number); lower "
            f"head.learning_rate (this stage trains at {epoch.learning_rate:g})"
        )
    log.info(
        "%s: epoch %d: loss %.4f, accuracy %.4f; validation loss %.4f, accuracy %.4f",
        title,
        epoch.epoch,
        epoch.train_loss,
        epoch.train_accuracy,
        epoch.validation_loss,
        epoch.validation_accuracy,
    )


def _train_epoch(
    module: nn.Module,
    batches: Batches,
    targets: Tensor,
    train: NDArray[np.int64],
    settings: StageSettings,
    number: int,
    compute: Compute,
    optimizer: torch.optim.Optimizer,
    advance: Callable[[int], None],
) -> tuple[float, float]:
    """Train one epoch; return its mean loss and accuracy, as seen while training."""
    module.train()
    generator = torch.Generator().manual_seed(seed_of(settings.seed, settings.stage, number))
    loss_sum = torch.zeros((), device=compute.device)
    right = torch.zeros((), device=compute.device)
    seen = 0
    with seeded(compute, seed_of(settings.seed, settings.stage, number, "dropout")):
        for indices in shuffled(train, settings.batch_size, generator):
            inputs = batches(indices, generator)
            wanted = targets[torch.from_numpy(indices).to(compute.device)]
            with compute.autocast():
                logits = module(inputs)
            loss = loss_of(settings.loss, logits.float(), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.detach() * len(indices)
            right += (logits.detach().argmax(dim=1) == wanted).sum()
            seen += len(indices)
            advance(len(indices))
    return float(loss_sum) / seen, float(right) / seen


def shuffled(
    indices: NDArray[np.int64], batch_size: int, generator: torch.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield all indices once, in random batches.

    A last batch of one is left out where there are others: batch normalisation cannot train
    on a single value.
    """
    order = indices[torch.randperm(len(indices), generator=generator).numpy()]
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        if len(batch) > 1 or start == 0:
            yield batch


@torch.no_grad()
def _evaluate(
    module: nn.Module,
    batches: Batches,
    targets: Tensor,
    indices: NDArray[np.int64],
    settings: StageSettings,
    compute: Compute,
) -> tuple[float, float]:
    """Return mean loss and accuracy over `indices`."""
    module.eval()
    loss_sum, right = 0.0, 0
    for start in range(0, len(indices), EVALUATION_BATCH):
        batch = indices[start : start + EVALUATION_BATCH]
        wanted = targets[torch.from_numpy(batch).to(compute.device)]
        with compute.autocast():
            logits = module(batches(batch, None))
        loss_sum += float(loss_of(settings.loss, logits.float(), wanted, "sum"))
        right += int((logits.argmax(dim=1) == wanted).sum())
    return loss_sum / len(indices), right / len(indices)
