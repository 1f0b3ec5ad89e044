"""One training stage: epochs, early stopping, the best weights back.

Knows a learner, which trains and validates an epoch at a time; nothing of trunks, files or
reports. All that is random in an epoch depends on seed, stage and epoch alone, so an epoch can be
run again by itself, and a stage continues behind any epoch as if it had never stopped.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from seewhy.config import HeadConfig
from seewhy.errors import TrainingError
from seewhy.runtime.progress import Advance, Progress
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.training import Epoch

log = logging.getLogger("seewhy")

LAST_EPOCHS = 5


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
    label_smoothing : float, default 0
    class_weights : tuple of float, default ()
        How much an image of each class counts in the training loss; empty: all alike.
    sampler : {"shuffle", "balanced"}, default "shuffle"
        Which training images an epoch takes; see `epoch_order`.
    logit_offsets : tuple of float, default ()
        What is added to the logit of each class in the loss; empty: nothing.
    """

    stage: Stage
    epochs: int
    patience: int
    learning_rate: float
    batch_size: int
    loss: str
    seed: int
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    sampler: str = "shuffle"
    logit_offsets: tuple[float, ...] = ()


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves behind; the module holds the best epoch's weights.

    Attributes
    ----------
    history : tuple of Epoch
    best_epoch : int
        0 where no epoch was better than the start.
    best_validation_accuracy : float
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    best_validation_accuracy: float

    @property
    def seconds(self) -> float:
        """Seconds that its epochs took, those before an interruption included."""
        return sum(epoch.seconds for epoch in self.history)

    @property
    def last_accuracy(self) -> float:
        """The validation accuracy, mean of the last 5 epochs: what the search looks at."""
        return float(np.mean([e.validation_accuracy for e in self.history[-LAST_EPOCHS:]]))


class Learner(Protocol):
    """A module, its optimiser, and the data that an epoch of it runs over."""

    @property
    def module(self) -> nn.Module:
        """What is trained, in place."""

    @property
    def optimizer(self) -> Optimizer:
        """What trains it."""

    @property
    def images(self) -> int:
        """Training images an epoch."""

    def train_epoch(self, number: int, advance: Advance) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy, as seen while training."""

    def validate(self) -> tuple[float, float]:
        """Return mean loss and accuracy over the validation images."""


class CheckpointStore(Protocol):
    """Where a stage is stored after each epoch, so that it can resume there."""

    def restore(self, learner: Learner, best: BestEpoch) -> list[Epoch]:
        """Put module, optimiser and best epoch where they were; return the epochs behind it."""

    def keep(self, learner: Learner, best: BestEpoch, history: list[Epoch]) -> None:
        """Keep what is there after the last epoch of `history`."""


# Called after every epoch; may raise to end the stage.
OnEpoch = Callable[[Epoch], None]


class BestEpoch:
    """The best epoch so far and the weights it had."""

    def __init__(self) -> None:
        self.epoch = -1
        self.accuracy = -1.0
        self.loss = 0.0
        self.state: dict[str, Tensor] = {}

    def offer(self, epoch: int, loss: float, accuracy: float, module: nn.Module) -> None:
        """Take an epoch if its accuracy is higher, or equal at a lower loss."""
        if (accuracy, -loss) > (self.accuracy, -self.loss):
            self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
            self.state = copy.deepcopy(module.state_dict())


def stage_settings(
    stage: Stage,
    head: HeadConfig,
    epochs: int,
    patience: int,
    factor: float,
    seed: int,
    weights: tuple[float, ...] = (),
    offsets: tuple[float, ...] = (),
) -> StageSettings:
    """Put a stage's settings together.

    `factor` scales the head's learning rate; `weights` are those of the classes, `offsets` what is
    added to their logits in the loss.
    """
    return StageSettings(
        stage=stage,
        epochs=epochs,
        patience=patience,
        learning_rate=head.learning_rate * factor,
        batch_size=head.batch_size,
        loss=head.loss,
        seed=seed,
        label_smoothing=head.label_smoothing,
        class_weights=weights,
        sampler=head.sampler,
        logit_offsets=offsets,
    )


def seed_of(*parts: int | str) -> int:
    """Turn what a random choice depends on into a seed below 2**63."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def epoch_order(
    indices: NDArray[np.int64],
    settings: StageSettings,
    number: int,
    labels: NDArray[np.int64],
) -> tuple[NDArray[np.int64], torch.Generator]:
    """Return an epoch's images in the order it takes them, and what it draws further from.

    The sampler ``shuffle`` takes each image once. ``balanced`` draws as many with replacement: each
    draw is of every class with the same probability, and of every image of a class.

    A last batch of one is left out where there are others: batch normalisation cannot train
    on a single value.

    Parameters
    ----------
    indices : ndarray of int64, (n,)
        Of the training images.
    settings : StageSettings
    number : int
        The epoch's.
    labels : ndarray of int64, (N,)
        Of all images.
    """
    generator = torch.Generator().manual_seed(seed_of(settings.seed, settings.stage, number))
    if settings.sampler == "balanced":
        own = labels[indices]
        chances = torch.from_numpy(1 / np.bincount(own)[own])
        drawn = torch.multinomial(chances, len(indices), replacement=True, generator=generator)
    else:
        drawn = torch.randperm(len(indices), generator=generator)
    order = indices[drawn.numpy()]
    if len(order) > settings.batch_size and len(order) % settings.batch_size == 1:
        order = order[:-1]
    return order, generator


def dropout_seed(settings: StageSettings, number: int) -> int:
    """Return what an epoch's dropout is drawn from."""
    return seed_of(settings.seed, settings.stage, number, "dropout")


def augmentation_seed(settings: StageSettings, number: int) -> int:
    """Return what is drawn from, in an epoch, where regions are replaced at the cut."""
    return seed_of(settings.seed, settings.stage, number, "augmentation")


def train_stage(
    learner: Learner,
    settings: StageSettings,
    progress: Progress,
    title: str,
    keeper: CheckpointStore | None = None,
    on_epoch: OnEpoch | None = None,
) -> StageResult:
    """Train with Adam until the validation accuracy stops rising.

    An epoch is better when its validation accuracy is higher, or equal at a lower validation
    loss (small validation sets reach their ceiling early). The start counts as epoch 0: where
    nothing beats it, it comes back.

    Parameters
    ----------
    learner : Learner
    settings : StageSettings
    progress : Progress
    title : str
        Of the progress bar.
    keeper : CheckpointStore, optional
        Keeps the stage after each epoch and knows the epochs that are behind it.
    on_epoch : callable, optional
        Called after every epoch; may raise to end the stage.

    Raises
    ------
    TrainingError
        Where a loss is no finite number.
    """
    best = BestEpoch()
    history = keeper.restore(learner, best) if keeper else []
    if not history:
        best.offer(0, *learner.validate(), learner.module)
    total = settings.epochs * learner.images
    with progress.task(title, total) as advance:
        advance(len(history) * learner.images)
        while len(history) < settings.epochs and len(history) - best.epoch < settings.patience:
            history.append(_epoch(learner, settings, len(history) + 1, advance, title))
            last = history[-1]
            best.offer(last.epoch, last.validation_loss, last.validation_accuracy, learner.module)
            if keeper:
                keeper.keep(learner, best, history)
            if on_epoch:
                on_epoch(last)
        # What early stopping saved, and single images left out, are done too.
        advance(total)
    learner.module.load_state_dict(best.state)
    learner.module.eval()
    return StageResult(tuple(history), best.epoch, best.accuracy)


def _epoch(
    learner: Learner, settings: StageSettings, number: int, advance: Advance, title: str
) -> Epoch:
    started = perf_counter()
    trained = learner.train_epoch(number, advance)
    validated = learner.validate()
    epoch = Epoch(number, *trained, *validated, settings.learning_rate, perf_counter() - started)
    if not math.isfinite(epoch.train_loss + epoch.validation_loss):
        raise TrainingError(
            f"{title}: training diverged in epoch {epoch.epoch} (its loss is no number); lower "
            f"head.learning_rate (this stage trains at {epoch.learning_rate:g})"
        )
    log.info(
        "%s: epoch %d: loss %.4f, accuracy %.4f; validation loss %.4f, accuracy %.4f",
        title,
        number,
        *trained,
        *validated,
    )
    return epoch
