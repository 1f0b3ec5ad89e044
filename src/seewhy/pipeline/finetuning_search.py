"""One backbone's search for fine-tuning's settings: its trials are fine-tuning itself.

Each trial starts from the adapted head and a copy of the tail as it was pretrained. The best
candidate meets the configured settings on folds, where both stages are trained again.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seewhy.config import FinetuningConfig
from seewhy.data.folds import fold_repetitions
from seewhy.data.groups import column_groups, units
from seewhy.models.classifier import Head, TailAndHead
from seewhy.models.cut import Cut
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.repetitions import repeat_once
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.finetuning_search import FinetuningSearchRecord
from seewhy.training.feature_cache import FeatureCache
from seewhy.training.search.finetuning_search import FOLDS, HeldOut, search_finetuning
from seewhy.training.stages import degrees, finetune
from seewhy.training.trainer import StageResult


def with_searched_settings(
    work: StudyContext, slug: str, cut: Cut, features: FeatureCache, head: Head
) -> StudyContext:
    """Return the study with the settings of fine-tuning that the search found, if it is on.

    `head` is the adapted one; it and the tail of `cut` stay as they are.
    """
    if work.config.search.finetuning_trials < 2:
        return work
    found = work.run.search.read_finetuning(slug)
    if found is None:
        found = search_finetuning(
            work.config,
            lambda settings: _run(work, cut, features, head, settings),
            lambda configured, best: _compare(work, slug, cut, features, (configured, best)),
            work.progress,
            slug,
            done=work.run.search.read_finetuning_trials(slug),
            tell=lambda trials: work.run.search.write_finetuning_trials(slug, trials),
        )
        work.run.search.write_finetuning(slug, found)
    work.progress.say(f"{slug}: fine-tuning: {found.stopped}")
    if not found.chosen:
        return work
    return _with(work, work.config.finetuning.model_copy(update=as_update(found)))


def as_update(found: FinetuningSearchRecord) -> dict[str, float | None]:
    """Return the keys of ``finetuning`` that the search has found."""
    return {**found.settings.model_dump(), "learning_rate_factor": None}


def _with(work: StudyContext, settings: FinetuningConfig) -> StudyContext:
    return replace(work, config=work.config.model_copy(update={"finetuning": settings}))


def _run(
    work: StudyContext, cut: Cut, features: FeatureCache, head: Head, settings: FinetuningConfig
) -> tuple[float, float]:
    """Fine-tune a copy; return the metric and the loss of the best epoch, or of the start."""
    tail_and_head = TailAndHead(copy.deepcopy(cut.tail), copy.deepcopy(head))
    config = _with(work, settings).config
    result = finetune(
        tail_and_head, features.at_cut, work.data, config, work.compute, Silent(), "fine-tuning"
    )
    return _reached(result)


def _reached(result: StageResult) -> tuple[float, float]:
    metric = result.best_validation_metric
    value = result.best_validation_accuracy if metric is None else metric
    return value, result.best_validation_loss


def _compare(
    work: StudyContext,
    slug: str,
    cut: Cut,
    features: FeatureCache,
    settings: tuple[FinetuningConfig, FinetuningConfig],
) -> HeldOut:
    """Train both stages with two settings on each fold; return what they say of held-out images."""
    config, data = work.config, work.data
    folds = fold_repetitions(data, FOLDS, config.data.validation, config.seed)
    order = np.concatenate([one.held_out for one in folds])

    def answers(name: str, one: FinetuningConfig) -> NDArray[np.float64]:
        under = _with(work, one)
        parts = [
            repeat_once(
                under, slug, cut, features, replace(fold, name=f"{name}, {fold.name}"), STAGES
            )
            for fold in folds
        ]
        held_out = [part.answers["finetuning"].held_out for part in parts]
        return np.concatenate(held_out).astype(np.float64)

    return HeldOut(
        labels=data.labels[order],
        configured=answers("configured", settings[0]),
        best=answers("best", settings[1]),
        clusters=_clusters(data, order),
        degrees=degrees(config, data),
    )


def _clusters(data: Dataset, order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return which images depend on each other, by the groups of ``data.group``."""
    if not data.group_by:
        return None
    return units(column_groups(data.metadata, data.group_by, data.source))[order]
