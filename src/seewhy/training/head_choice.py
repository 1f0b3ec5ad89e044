"""Which kind of head a study has, and adaptation where that head is fitted at once.

The images decide: with few of them per class, the few that are left for validation cannot choose
an epoch or a network head, and a linear head that cross-validation chooses predicts better.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.config import HeadConfig, StudyConfig
from seewhy.data.folds import training_folds
from seewhy.errors import TrainingError
from seewhy.runtime.progress import Progress
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.training import Epoch, FittedHeadSummary
from seewhy.training.closed_form_head import FewImages, FittedHead, Kind, fit_head, log_loss
from seewhy.training.learners import HeadLearner
from seewhy.training.losses import class_weights
from seewhy.training.trainer import StageResult

log = logging.getLogger("seewhy")

# Up to so many training images per class, the median of the classes, a fitted head is better than
# the network head that validation images choose (docs/results.md).
FEW = 50
_NAMES: dict[Kind, str] = {"logistic": "logistic regression", "nearest-mean": "nearest class mean"}
_PARAMETERS: dict[Kind, str] = {"logistic": "C", "nearest-mean": "shrinkage"}


@dataclass(frozen=True)
class HeadChoice:
    """The head that a study trains.

    `head` is the configuration's with ``auto`` replaced by a kind; `fitted` says how a head that is
    fitted at once was chosen, and is None for a network.
    """

    head: HeadConfig
    fitted: FittedHeadSummary | None


def choose_head(pooled: Tensor, data: Dataset, config: StudyConfig) -> HeadChoice:
    """Choose the kind of the head by the training images, where the configuration leaves it open.

    Parameters
    ----------
    pooled : Tensor, (N, C)
        Of all images; only those of training images are used.
    data : Dataset
    config : StudyConfig

    Raises
    ------
    TrainingError
        Where features are no finite numbers.
    """
    wanted = config.head
    each = images_per_class(data)
    asked_for_units = not config.search.trials and not wanted.has_usual_units
    is_network = each > FEW or wanted.only_in_epochs or asked_for_units
    if wanted.kind == "network" or (wanted.kind == "auto" and is_network):
        return HeadChoice(wanted.model_copy(update={"kind": "network"}), None)
    images = few_images(pooled, data, config)
    kinds: tuple[Kind, ...] = ("logistic", "nearest-mean")
    if wanted.kind in kinds:
        kinds = (wanted.kind,)
    fits = [fit_head(kind, images) for kind in kinds]
    # Of equal ones, and where nothing could be held out, the first.
    best = min(fits, key=lambda one: np.inf if one.loss is None else one.loss)
    head = wanted.model_copy(update={"kind": best.kind, "units": ()})
    return HeadChoice(head, _summary(best, images, each, config))


def images_per_class(data: Dataset) -> float:
    """Return how many training images a class has with a weight above 0, the classes' median."""
    rows = _counted(data)
    return float(np.median(np.bincount(data.labels[rows], minlength=len(data.classes))))


def few_images(pooled: Tensor, data: Dataset, config: StudyConfig) -> FewImages:
    """Return the training images as heads are fitted to them.

    They count by their own weights times those of their classes. Raises TrainingError where
    features are no finite numbers.
    """
    rows = _counted(data)
    labels = data.labels[rows]
    features = pooled[torch.from_numpy(rows).to(pooled.device)].double().cpu().numpy()
    if not np.isfinite(features).all():
        raise TrainingError("the trunk's features of some training images are no finite numbers")
    weights = np.ones(len(rows)) if data.weights is None else data.weights[rows]
    own = None if data.weights is None else weights
    by_class = class_weights(config.head.class_weights, data.classes, labels, own)
    if by_class:
        weights = weights * np.array(by_class)[labels]
    fold_of = training_folds(data, rows, config.seed)
    return FewImages(features, labels, len(data.classes), weights / weights.mean(), fold_of)


def fit_stage(
    learner: HeadLearner,
    pooled: Tensor,
    data: Dataset,
    config: StudyConfig,
    progress: Progress,
    title: str,
) -> StageResult:
    """Fit the learner's linear head at once; its history is a single epoch.

    Nothing is drawn at random but the folds, from the seed: an interrupted stage is repeated.
    """
    started = perf_counter()
    kind: Kind = "nearest-mean" if config.head.kind == "nearest-mean" else "logistic"
    with progress.task(title, learner.images) as advance:
        images = few_images(pooled, data, config)
        found = fit_head(kind, images)
        _put(found, learner.module)
        advance(learner.images)
    logits = images.features @ found.weight.T + found.bias
    accuracy = float((logits.argmax(axis=1) == images.labels).mean())
    loss = log_loss(logits, images.labels, images.weights)
    validated = learner.validate()
    metric = None if config.head.metric == "accuracy" else validated.metric
    seconds = perf_counter() - started
    epoch = Epoch(1, loss, accuracy, validated.loss, validated.accuracy, 0.0, seconds, metric)
    log.info(
        "%s: %s: loss %.4f, accuracy %.4f; validation loss %.4f, accuracy %.4f",
        title,
        _named(found),
        *(loss, accuracy, validated.loss, validated.accuracy),
    )
    return StageResult((epoch,), 1, validated.accuracy, metric)


@torch.no_grad()
def _put(found: FittedHead, head: nn.Module) -> None:
    """Copy a fitted head's weights into a linear head."""
    (layer,) = (part for part in head.modules() if isinstance(part, nn.Linear))
    layer.weight.copy_(torch.from_numpy(found.weight))
    layer.bias.copy_(torch.from_numpy(found.bias))
    head.eval()


def _counted(data: Dataset) -> NDArray[np.int64]:
    """Return the training images with a weight above 0."""
    rows = data.where("train")
    return rows if data.weights is None else rows[data.weights[rows] > 0]


def _summary(
    found: FittedHead, images: FewImages, each: float, config: StudyConfig
) -> FittedHeadSummary:
    loss = accuracy = None
    if found.held_out is not None:
        loss = log_loss(found.held_out, images.labels, images.weights)
        accuracy = float((found.held_out.argmax(axis=1) == images.labels).mean())
    return FittedHeadSummary(
        kind=found.kind,
        parameter=found.parameter,
        temperature=found.temperature,
        images_per_class=each,
        folds=found.folds,
        log_loss=loss,
        accuracy=accuracy,
        chosen=_sentence(found, each, config),
    )


def _sentence(found: FittedHead, each: float, config: StudyConfig) -> str:
    """Say which head it is, and why it is not a network."""
    auto = config.head.kind == "auto"
    if found.folds:
        why = "chosen by cross-validation instead of a network head"
    else:
        why = "instead of a network head; too few images for cross-validation"
    if not auto:
        why = f"as head.kind = {config.head.kind!r} asks"
    number = f"{each:g} training {'image' if each == 1 else 'images'} per class"
    end = "; no search" if config.search.trials else ""
    return f"{number}: {_named(found)}, {why}{end}"


def _named(found: FittedHead) -> str:
    return f"{_NAMES[found.kind]} ({_PARAMETERS[found.kind]} = {found.parameter:g})"
