"""One training stage: epochs, early stopping, the best weights back.

Knows a learner, which trains and validates an epoch at a time; nothing of trunks, files or
reports. All that is random in an epoch depends on seed, stage and epoch alone, so an epoch can be
run again by itself, and a stage continues behind any epoch as if it had never stopped.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from seewhy.config import HeadConfig, Metric
from seewhy.errors import TrainingError
from seewhy.runtime.progress import Advance, Progress
from seewhy.runtime.seeding import seed_of
from seewhy.statistics.classification import LOWER_IS_BETTER
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.training import Epoch
from seewhy.training.optimisation import PAPERS_OPTIMISATION, Optimisation

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
        Of the last layer, before the schedule.
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
        What is added to the logit of each class in the training loss; empty: nothing.
    metric : str, default "accuracy"
        What the best epoch is best in, on the validation images; see
        `seewhy.statistics.classification.measure`.
    degrees : tuple of int, default ()
        The places of the classes in their order, where they are ordered.
    optimisation : Optimisation, default Adam at a constant rate
    mixup, cutmix : float, default 0
        See `seewhy.training.mixing.Mixing`.
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
    metric: Metric = "accuracy"
    degrees: tuple[int, ...] = ()
    optimisation: Optimisation = PAPERS_OPTIMISATION
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves behind; the module holds the best epoch's weights.

    Attributes
    ----------
    history : tuple of Epoch
    best_epoch : int
        0 where no epoch was better than the start.
    best_validation_accuracy : float
        Of the best epoch.
    best_validation_metric : float, optional
        Of the best epoch; None where the validation accuracy chose it.
    best_validation_loss : float
        Of the best epoch.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    best_validation_accuracy: float
    best_validation_metric: float | None = None
    best_validation_loss: float = math.nan

    @property
    def seconds(self) -> float:
        """Seconds that its epochs took, those before an interruption included."""
        return sum(epoch.seconds for epoch in self.history)

    @property
    def last_objective(self) -> float:
        """The validation metric, mean of the last 5 epochs: what the search looks at."""
        return float(np.mean([e.objective for e in self.history[-LAST_EPOCHS:]]))


class ValidationScores(NamedTuple):
    """What an epoch reaches on the validation images: mean loss, accuracy, the metric."""

    loss: float
    accuracy: float
    metric: float


class Learner(Protocol):
    """A module, its optimiser, and the data that an epoch of it runs over."""

    @property
    def module(self) -> nn.Module:
        """What is trained, in place."""

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the module, or an average of its weights over the steps."""

    @property
    def optimizer(self) -> Optimizer:
        """What trains it."""

    @property
    def images(self) -> int:
        """Training images an epoch."""

    def train_epoch(self, number: int, advance: Advance) -> tuple[float, float]:
        """Train one epoch; return its mean loss and accuracy, as seen while training."""

    def validate(self) -> ValidationScores:
        """Score the validation images."""


class CheckpointStore(Protocol):
    """Where a stage is stored after each epoch, so that it can resume there."""

    def restore(self, learner: Learner, best: BestEpoch) -> list[Epoch]:
        """Put module, optimiser and best epoch where they were; return the epochs behind it."""

    def keep(self, learner: Learner, best: BestEpoch, history: list[Epoch]) -> None:
        """Keep what is there after the last epoch of `history`."""


# Called after every epoch; may raise to end the stage.
OnEpoch = Callable[[Epoch], None]


class BestEpoch:
    """The best epoch so far, by a metric, and the weights it had."""

    def __init__(self, metric: Metric = "accuracy") -> None:
        self._metric = metric
        self.epoch = -1
        self.scores = ValidationScores(0.0, -1.0, -goodness(metric, math.inf))
        self.state: dict[str, Tensor] = {}

    def offer(self, epoch: int, scores: ValidationScores, module: nn.Module) -> None:
        """Take an epoch if its metric is better, or equal at a lower loss."""
        if self._rank(scores) > self._rank(self.scores):
            self.epoch, self.scores = epoch, scores
            self.state = copy.deepcopy(module.state_dict())

    def _rank(self, scores: ValidationScores) -> tuple[float, float]:
        return goodness(self._metric, scores.metric), -scores.loss


def goodness(metric: Metric, value: float) -> float:
    """Return a metric's value so that higher is better: with its sign changed where lower is."""
    return -value if metric in LOWER_IS_BETTER else value


def stage_settings(
    stage: Stage, head: HeadConfig, epochs: int, patience: int, learning_rate: float, seed: int
) -> StageSettings:
    """Put together what both stages take from the head's settings, but for the classes' sizes."""
    return StageSettings(
        stage=stage,
        epochs=epochs,
        patience=patience,
        learning_rate=learning_rate,
        batch_size=head.batch_size,
        loss=head.loss,
        seed=seed,
        label_smoothing=head.label_smoothing,
        sampler=head.sampler,
        metric=head.metric,
    )


def epoch_order(
    indices: NDArray[np.int64],
    settings: StageSettings,
    number: int,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], torch.Generator]:
    """Return an epoch's images in the order it takes them, and what it draws further from.

    The sampler ``shuffle`` takes each image once. ``balanced`` draws as many with replacement: each
    draw is of every class with the same probability, and of every image of a class, or in
    proportion to the weights of its images.

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
    weights : ndarray of float64, (N,), optional
        Of all images, at least 0; a class whose training images have none above 0 is not drawn.
    """
    generator = torch.Generator().manual_seed(seed_of(settings.seed, settings.stage, number))
    if settings.sampler == "balanced":
        chances = torch.from_numpy(_balanced_chances(indices, labels, weights))
        drawn = torch.multinomial(chances, len(indices), replacement=True, generator=generator)
    else:
        drawn = torch.randperm(len(indices), generator=generator)
    order = indices[drawn.numpy()]
    if len(order) > settings.batch_size and len(order) % settings.batch_size == 1:
        order = order[:-1]
    return order, generator


def _balanced_chances(
    indices: NDArray[np.int64], labels: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return in which proportion the images are drawn, (n,): 1 for each class."""
    own = labels[indices]
    if weights is None:
        return np.asarray(1 / np.bincount(own)[own])
    mine = weights[indices]
    sums = np.bincount(own, mine)
    return np.asarray(mine / np.where(sums > 0, sums, 1)[own])


def steps_per_epoch(settings: StageSettings, images: int) -> int:
    """Return how many batches an epoch of `epoch_order` has."""
    alone = images > settings.batch_size and images % settings.batch_size == 1
    return math.ceil(images / settings.batch_size) - alone


def dropout_seed(settings: StageSettings, number: int) -> int:
    """Return what an epoch's dropout is drawn from."""
    return seed_of(settings.seed, settings.stage, number, "dropout")


def augmentation_seed(settings: StageSettings, number: int) -> int:
    """Return what is drawn from, in an epoch, where images are changed at the cut."""
    return seed_of(settings.seed, settings.stage, number, "augmentation")


def train_stage(
    learner: Learner,
    settings: StageSettings,
    progress: Progress,
    title: str,
    keeper: CheckpointStore | None = None,
    on_epoch: OnEpoch | None = None,
) -> StageResult:
    """Train until the validation metric, by default accuracy, stops getting better.

    An epoch is better when its validation metric is better, or equal at a lower validation
    loss (small validation sets reach their ceiling early). The start counts as epoch 0: where
    nothing beats it, it comes back. In adaptation it counts by accuracy alone: by a measure in
    which a few images of a rare class weigh much, a random head may be the best by chance.

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
        Where a loss is no finite number, or the validation images do not define the metric.
    """
    best = BestEpoch(settings.metric)
    history = keeper.restore(learner, best) if keeper else []
    if not history:
        start = _defined(learner.validate(), settings, title)
        if settings.metric == "accuracy" or settings.stage == "finetuning":
            best.offer(0, start, learner.kept)
    total = settings.epochs * learner.images
    with progress.task(title, total) as advance:
        advance(len(history) * learner.images)
        while len(history) < settings.epochs and _behind(history, best) < settings.patience:
            last, scores = _epoch(learner, settings, len(history) + 1, advance, title)
            history.append(last)
            best.offer(last.epoch, scores, learner.kept)
            if keeper:
                keeper.keep(learner, best, history)
            if on_epoch:
                on_epoch(last)
        # What early stopping saved, and single images left out, are done too.
        advance(total)
    learner.module.load_state_dict(best.state)
    learner.module.eval()
    metric = None if settings.metric == "accuracy" else best.scores.metric
    scores = best.scores
    return StageResult(tuple(history), best.epoch, scores.accuracy, metric, scores.loss)


def _epoch(
    learner: Learner, settings: StageSettings, number: int, advance: Advance, title: str
) -> tuple[Epoch, ValidationScores]:
    started = perf_counter()
    trained = learner.train_epoch(number, advance)
    validated = learner.validate()
    rate, seconds = settings.learning_rate, perf_counter() - started
    metric = None if settings.metric == "accuracy" else validated.metric
    epoch = Epoch(number, *trained, *validated[:2], rate, seconds, metric)
    if not math.isfinite(epoch.train_loss + epoch.validation_loss):
        raise TrainingError(
            f"{title}: training diverged in epoch {epoch.epoch} (its loss is no number); lower "
            f"{_rate_key(settings)} (this stage trains at {epoch.learning_rate:g})"
        )
    log.info(
        "%s: epoch %d: loss %.4f, accuracy %.4f; validation loss %.4f, accuracy %.4f",
        title,
        number,
        *trained,
        *validated[:2],
    )
    return epoch, _defined(validated, settings, title)


def _rate_key(settings: StageSettings) -> str:
    """Name the key of the configuration that the stage's learning rate comes from."""
    return f"{'head' if settings.stage == 'adaptation' else 'finetuning'}.learning_rate"


def _behind(history: Sequence[Epoch], best: BestEpoch) -> int:
    """Return how many epochs have passed since the best one, or since the start."""
    return len(history) - max(best.epoch, 0)


def _defined(scores: ValidationScores, settings: StageSettings, title: str) -> ValidationScores:
    """Return the scores; refuse a metric that the validation images do not define."""
    if not math.isfinite(scores.metric):
        raise TrainingError(
            f"{title}: the validation images do not define head.metric = {settings.metric!r}; "
            "expected images of at least two classes"
        )
    return scores
