"""The two stages: adaptation on kept features, fine-tuning from the cut.

Says what is opened, at which learning rate, from which input; the epochs are in ``trainer.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seewhy.config import StudyConfig
from seewhy.models.classifier import Head, TailAndHead
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Progress
from seewhy.runtime.seeding import seed_of
from seewhy.statistics.classification import OF_ORDERED_CLASSES
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training.augmentation import Replacement
from seewhy.training.checkpoint import Checkpoint
from seewhy.training.cut_activations import CutInput
from seewhy.training.head_choice import fit_stage
from seewhy.training.learners import HeadLearner, ModuleLearner
from seewhy.training.losses import class_weights, logit_offsets
from seewhy.training.optimisation import Optimisation
from seewhy.training.trainer import OnEpoch, StageResult, StageSettings, stage_settings, train_stage

# Learning rates of the last layer where the configuration leaves it open, see docs/log.md.
RATE_WITH_BATCH_NORM, RATE_WITHOUT = 1e-3, 3e-4


def new_head(pooled: Tensor, config: StudyConfig, classes: Sequence[str]) -> Head:
    """Return the configuration's head for features (N, C); equal seeds and shapes, equal weights.

    It is on the features' device.
    """
    seed = seed_of(config.seed, "head")
    wanted = config.head
    units = () if wanted.is_fitted else wanted.units
    return Head(pooled.shape[1], units, wanted.dropout, len(classes), seed).to(pooled.device)


def adapt(
    head: Head,
    pooled: Tensor,
    data: Dataset,
    config: StudyConfig,
    progress: Progress,
    title: str,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> StageResult:
    """Stage 1: train the head on pooled trunk features (N, C); the trunk does not run.

    The head is trained in place, as the configuration's ``head`` says, and holds the best epoch's
    weights afterwards. The stage is stored between its epochs in the file `checkpoint`, if given;
    `on_epoch` is called after every epoch and may raise to end the stage. A head that is fitted at
    once is fitted once more instead; ``auto``, which `choose_head` replaces, is a network here.
    """
    settings = _settings("adaptation", config, data)
    train, validation = data.where("train"), data.where("validation")
    learner = HeadLearner(head, pooled, data.labels, train, validation, settings, data.weights)
    if config.head.is_fitted:
        return fit_stage(learner, pooled, data, config, progress, title)
    keeper = Checkpoint(checkpoint, settings) if checkpoint else None
    return train_stage(learner, settings, progress, title, keeper, on_epoch)


def finetune(
    tail_and_head: TailAndHead,
    at_cut: CutInput,
    data: Dataset,
    config: StudyConfig,
    compute: Compute,
    progress: Progress,
    title: str,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> StageResult:
    """Stage 2: open the tail and train it with the head.

    Tail and head are frozen again afterwards; everything else is as for `adapt`.
    """
    stage = config.finetuning
    settings = _settings("finetuning", with_finetuning_rate(config, tail_and_head), data)
    (tail_and_head if stage.open else tail_and_head.head).requires_grad_(True)
    where = stage.augmentation
    augment = None if where == "none" else Replacement(where, tail_and_head, compute)
    learner = ModuleLearner(
        tail_and_head,
        partial(at_cut.batch, views=stage.views),
        data.labels,
        data.where("train"),
        data.where("validation"),
        settings,
        compute,
        frozen_modules=_frozen_modules(tail_and_head, config),
        augment=augment,
        weights=data.weights,
    )
    keeper = Checkpoint(checkpoint, settings) if checkpoint else None
    result = train_stage(learner, settings, progress, title, keeper, on_epoch)
    tail_and_head.requires_grad_(False)
    return result


def _frozen_modules(tail_and_head: TailAndHead, config: StudyConfig) -> tuple[nn.Module, ...]:
    """Return what stays in evaluation mode: a tail that is not trained, or its batch norms."""
    stage = config.finetuning
    if not stage.open:
        return (tail_and_head.tail,)
    if stage.batch_norm == "train":
        return ()
    return tuple(part for part in tail_and_head.modules() if isinstance(part, _BatchNorm))


def _settings(stage: Stage, config: StudyConfig, data: Dataset) -> StageSettings:
    """Put a stage's settings together; only training images decide how large a class is.

    They count by their weights. The balanced sampler draws by the weights, so the loss of what it
    draws has none, and classes have the sizes of their images.
    """
    head, train = config.head, data.where("train")
    labels, drawn = data.labels[train], head.sampler == "balanced"
    weights = None if data.weights is None or drawn else data.weights[train]
    return replace(
        _of_adaptation(config) if stage == "adaptation" else _of_finetuning(config),
        class_weights=class_weights(head.class_weights, data.classes, labels, weights),
        logit_offsets=logit_offsets(head.logit_adjustment, len(data.classes), labels, weights),
        degrees=degrees(config, data),
    )


def _of_adaptation(config: StudyConfig) -> StageSettings:
    head, own = config.head, config.adaptation
    return stage_settings(
        "adaptation", head, own.epochs, own.patience, head.learning_rate, config.seed
    )


def with_finetuning_rate(config: StudyConfig, network: nn.Module) -> StudyConfig:
    """Return the configuration with fine-tuning's learning rate as a number.

    `network` is what is fine-tuned, or its tail. Where the configuration leaves the rate open, it
    is `RATE_WITH_BATCH_NORM` or `RATE_WITHOUT`.
    """
    own = config.finetuning
    if own.learning_rate_factor is not None:
        rate = config.head.learning_rate * own.learning_rate_factor
    elif own.learning_rate == "auto":
        normalised = any(isinstance(part, _BatchNorm) for part in network.modules())
        rate = RATE_WITH_BATCH_NORM if normalised else RATE_WITHOUT
    else:
        rate = own.learning_rate
    update = {"learning_rate": rate, "learning_rate_factor": None}
    return config.model_copy(update={"finetuning": own.model_copy(update=update)})


def _of_finetuning(config: StudyConfig) -> StageSettings:
    head, own = config.head, config.finetuning
    assert own.learning_rate != "auto", "see with_finetuning_rate"
    # A cosine is low only at its end, so it is not left before.
    patience = own.patience if own.schedule == "constant" else own.epochs
    return replace(
        stage_settings("finetuning", head, own.epochs, patience, own.learning_rate, config.seed),
        batch_size=head.batch_size if own.batch_size == "head" else own.batch_size,
        label_smoothing=own.label_smoothing,
        optimisation=Optimisation(
            optimizer=own.optimizer,
            weight_decay=own.weight_decay,
            first_layer_rate=own.first_layer_rate,
            schedule=own.schedule,
            warmup=own.warmup,
            clip=own.clip,
            average=own.average,
        ),
        mixup=own.mixup,
        cutmix=own.cutmix,
    )


def degrees(config: StudyConfig, data: Dataset) -> tuple[int, ...]:
    """Return the places of the classes in their order; empty where the metric needs none."""
    if config.head.metric not in OF_ORDERED_CLASSES:
        return ()
    ordered = config.data.ordered
    order = data.classes if isinstance(ordered, bool) else ordered
    return tuple(order.index(name) for name in data.classes)
