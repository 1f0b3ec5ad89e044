"""One backbone's stages trained again, on other folds of the images and with other seeds.

All of it runs on the features kept of the one pass through the trunk. A finished training is kept
in the run directory until the backbone's study has ended, and is not repeated.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seewhy.config import StudyConfig
from seewhy.data.folds import (
    Repetition,
    division_key,
    fold_repetitions,
    left_out_repetitions,
    most_folds,
    seed_repetitions,
)
from seewhy.evaluation.folds import out_of_fold, own_repeat, score_repeat, spread
from seewhy.evaluation.predictions import predict_at_cut, predict_pooled
from seewhy.models.classifier import TailAndHead
from seewhy.models.cut import Cut
from seewhy.pipeline.context import StudyContext
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.repetitions import (
    FoldsRecord,
    RepetitionPredictions,
    RepetitionScores,
    StageRepeats,
)
from seewhy.storage.schemas.summary import StageSummary
from seewhy.training.feature_cache import FeatureCache
from seewhy.training.search.search import head_summary
from seewhy.training.stages import adapt, finetune, new_head

log = logging.getLogger("seewhy")


@dataclass(frozen=True)
class RepetitionResult:
    """One training again, and what its stages predicted."""

    repetition: Repetition
    answers: dict[Stage, RepetitionPredictions]


def repeat_stages(
    work: StudyContext, slug: str, cut: Cut, features: FeatureCache
) -> tuple[RepetitionResult, ...]:
    """Train on every fold and with every further seed of the configuration; folds come first.

    Where it asks for no folds, adaptation is trained on a few all the same: every study needs
    predictions of images by heads that were not trained on them. There are no folds where a class
    is too small to be divided, or would be trained on images of weight 0 alone. The tail of `cut`
    stays as it was pretrained.
    """
    started = time.perf_counter()
    config, data = work.config, work.data
    folds = config.data.folds or most_folds(data, config.data.validation, config.seed)
    planned: tuple[Repetition, ...] = ()
    if config.data.leave_out is not None:
        planned = left_out_repetitions(
            data, config.data.leave_out, config.data.validation, config.seed
        )
    elif folds:
        planned = fold_repetitions(data, folds, config.data.validation, config.seed)
    else:
        log.info(
            "%s: no out-of-fold predictions: a class has less than three different pictures to "
            "train on, or too few with a weight above 0; duplicates stay in one fold",
            slug,
        )
    stages = _stages(config)
    wanted = stages if _asked_for(config) else stages[:1]
    seeds = seed_repetitions(data, config.further_seeds)
    done = (
        *(repeat_once(work, slug, cut, features, one, wanted) for one in planned),
        *(repeat_once(work, slug, cut, features, one, stages) for one in seeds),
    )
    seconds = time.perf_counter() - started
    log.info("%s: %d folds and %d seeds in %.1f s", slug, len(planned), len(seeds), seconds)
    return done


def write_out_of_fold(work: StudyContext, slug: str, repeated: Sequence[RepetitionResult]) -> None:
    """Write the predictions of training and validation images by heads not trained on them."""
    parts = [
        (one.repetition.held_out, one.answers["adaptation"].held_out)
        for one in repeated
        if len(one.repetition.held_out)
    ]
    if parts:
        work.run.repetitions.write_out_of_fold(
            slug, out_of_fold(parts, work.data), work.data.classes
        )


def write_folds(
    work: StudyContext,
    slug: str,
    repeated: Sequence[RepetitionResult],
    own: Mapping[Stage, StageSummary],
) -> None:
    """Write folds.json, where folds or several seeds were asked for.

    `own` are the study's own stages, the results of its own seed.
    """
    config, data = work.config, work.data
    folds = [one for one in repeated if len(one.repetition.held_out) and _asked_for(config)]
    seeds = [one for one in repeated if not len(one.repetition.held_out)]
    if not (folds or seeds):
        return
    test = data.where("test")

    def scored(some: Sequence[RepetitionResult], stage: Stage) -> list[RepetitionScores]:
        return [score_repeat(one.repetition, one.answers[stage], test) for one in some]

    record = FoldsRecord(
        folds=len(folds),
        left_out=config.data.leave_out,
        seeds=[config.seed, *config.further_seeds],
        division=division_key([one.repetition for one in (*folds, *seeds)]),
        head=head_summary(config.head),
        stages={
            stage: StageRepeats(
                folds=spread(scored(folds, stage)) if folds else None,
                seeds=(
                    spread([own_repeat(config.seed, data, own[stage]), *scored(seeds, stage)])
                    if seeds
                    else None
                ),
            )
            for stage in _stages(config)
        },
    )
    work.run.repetitions.write(slug, record)


def _asked_for(config: StudyConfig) -> bool:
    """Tell whether folds are a result of the study, or only made for label issues."""
    return bool(config.data.folds) or config.data.leave_out is not None


def _stages(config: StudyConfig) -> tuple[Stage, ...]:
    return STAGES if config.data.folds_stages == "both" else ("adaptation",)


def repeat_once(
    work: StudyContext,
    slug: str,
    cut: Cut,
    features: FeatureCache,
    repetition: Repetition,
    stages: tuple[Stage, ...],
) -> RepetitionResult:
    """Train one repetition's stages with the configuration of `work`, or take them as they ended.

    What they predicted is kept under the repetition's name until the backbone's study has ended.
    """
    run, name = work.run, repetition.name
    sizes = len(repetition.held_out), len(work.data.where("test")), len(work.data.classes)
    answers = run.repetitions.read_predictions(slug, name, stages, sizes)
    if answers is None:
        answers = _train(work, slug, cut, features, repetition, stages)
        run.repetitions.write_predictions(slug, name, answers)
        for stage in stages:
            run.repetitions.checkpoint_path(slug, name, stage).unlink(missing_ok=True)
    return RepetitionResult(repetition, answers)


def _train(
    work: StudyContext,
    slug: str,
    cut: Cut,
    features: FeatureCache,
    repetition: Repetition,
    stages: tuple[Stage, ...],
) -> dict[Stage, RepetitionPredictions]:
    config = work.config.model_copy(update={"seed": repetition.seed})
    data, held_out, test = repetition.data, repetition.held_out, work.data.where("test")
    run, name, progress = work.run, repetition.name, work.progress
    pooled, at_cut, compute = features.pooled, features.at_cut, work.compute
    head = new_head(pooled, config, data.classes)
    title, path = f"{slug}: adaptation, {name}", run.repetitions.checkpoint_path
    checkpoint = path(slug, name, "adaptation")
    trained = adapt(head, pooled, data, config, progress, title, checkpoint=checkpoint)
    found: dict[Stage, RepetitionPredictions] = {
        "adaptation": RepetitionPredictions(
            len(trained.history),
            predict_pooled(head, pooled, data, held_out).probabilities,
            predict_pooled(head, pooled, data, test).probabilities,
        )
    }
    if "finetuning" in stages:
        tail_and_head = TailAndHead(copy.deepcopy(cut.tail), head)
        title, checkpoint = f"{slug}: fine-tuning, {name}", path(slug, name, "finetuning")
        trained = finetune(
            tail_and_head, at_cut, data, config, compute, progress, title, checkpoint=checkpoint
        )
        found["finetuning"] = RepetitionPredictions(
            len(trained.history),
            *(
                predict_at_cut(tail_and_head, at_cut.batch, data, which, compute).probabilities
                for which in (held_out, test)
            ),
        )
    return found
