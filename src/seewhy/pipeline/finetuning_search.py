"""One backbone's search for fine-tuning's settings: its trials are fine-tuning itself.

Each trial starts from the adapted head and a copy of the tail as it was pretrained. The best
candidate meets the configured settings on folds, where both stages are trained again.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from seewhy.config import FinetuningConfig
from seewhy.models.classifier import Head, TailAndHead
from seewhy.models.cut import Cut
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.fold_comparison import compare_on_folds
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.finetuning_search import FinetuningSearchRecord
from seewhy.training.feature_cache import FeatureCache
from seewhy.training.search.finetuning_search import search_finetuning
from seewhy.training.stages import finetune, with_finetuning_rate
from seewhy.training.trainer import StageResult


def with_searched_settings(
    work: StudyContext, slug: str, cut: Cut, features: FeatureCache, head: Head
) -> StudyContext:
    """Return the study with the settings of fine-tuning that the search found, if it is on.

    `head` is the adapted one; it and the tail of `cut` stay as they are.
    """
    if work.config.search.finetuning_trials < 2:
        return work
    work = replace(work, config=with_finetuning_rate(work.config, cut.tail))
    found = work.run.search.read_finetuning(slug)
    if found is None:
        found = search_finetuning(
            work.config,
            lambda settings: _run(work, cut, features, head, settings),
            lambda configured, best: compare_on_folds(
                (_with(work, configured), _with(work, best)), slug, cut, features, STAGES
            ),
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
