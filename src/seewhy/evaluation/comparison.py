"""Backbones, stages and folds side by side: records in, `Comparison` out.

This module decides what is compared with what; how is in ``significance.py``, ``agreement.py`` and
``ranking.py``, and the sentences are in ``conclusions.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from seewhy.evaluation.agreement import MapPair, agreement, movement
from seewhy.evaluation.conclusions import read
from seewhy.evaluation.significance import compare_pair, equal_errors, holm
from seewhy.evaluation.statements import EvaluationResults
from seewhy.statistics.bootstrap import DRAWS, Interval, mean_interval
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.comparison import (
    ClassifierPair,
    Comparison,
    FoldComparison,
    StageChange,
)
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.predictions import Predictions


def compare(
    records: Mapping[str, BackboneRecords],
    evaluations: Mapping[str, Evaluation],
    names: Mapping[str, str],
    classes: Sequence[str],
    folds: Sequence[FoldComparison] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> Comparison:
    """Compare backbones with each other, and each one's stages.

    Parameters
    ----------
    records : mapping of str to BackboneRecords
        By slug; all of the same test images in the same order.
    evaluations : mapping of str to Evaluation
        By slug.
    names : mapping of str to str
        What each backbone is called, by slug.
    classes : sequence of str
    folds : sequence of FoldComparison, optional
    seed, draws : int
        Of the bootstrap.
    """
    pairs = [
        pair for stage in STAGES for pair in compare_stage(stage, records, classes, seed, draws)
    ]
    changes = {slug: stage_change(one, classes, seed, draws) for slug, one in records.items()}
    found = EvaluationResults(
        names=names,
        classes=classes,
        records=records,
        evaluations=evaluations,
        pairs=pairs,
        changes=changes,
        folds=folds,
    )
    return Comparison(
        names=dict(names),
        images=found.images,
        pairs=pairs,
        changes=changes,
        folds=list(folds),
        sentences=read(found),
    )


def compare_stage(
    stage: Stage,
    records: Mapping[str, BackboneRecords],
    classes: Sequence[str],
    seed: int = 0,
    draws: int = DRAWS,
) -> list[ClassifierPair]:
    """Compare every pair of backbones after one stage; p-values are corrected after Holm."""
    pairs = []
    for (one, first), (two, second) in combinations(records.items(), 2):
        answers = first.predictions[stage], second.predictions[stage]
        pair = compare_pair(stage, (one, two), answers, classes, seed, draws)
        maps = _map_pair(answers[0], first.maps.get(stage), second.maps.get(stage))
        found = agreement(maps, classes, seed, draws) if maps else None
        pairs.append(pair.model_copy(update={"maps": found}))
    corrected = holm([pair.p for pair in pairs])
    return [pair.model_copy(update={"p_holm": p}) for pair, p in zip(pairs, corrected, strict=True)]


def stage_change(
    records: BackboneRecords, classes: Sequence[str], seed: int = 0, draws: int = DRAWS
) -> StageChange:
    """Say what fine-tuning changed in one backbone after adaptation."""
    before, after = (records.predictions[stage] for stage in STAGES)
    labels = before.labels
    was, is_ = (found.predicted == labels for found in (before, after))
    gained = is_.astype(np.float64) - was
    tested = equal_errors(was, is_, before.groups, seed)
    recall: dict[str, Interval] = {}
    for k, name in enumerate(classes):
        own = labels == k
        if own.any():
            groups = None if before.groups is None else before.groups[own]
            recall[name] = mean_interval(gained[own], None, draws, seed, groups)
    maps = _map_pair(before, *(records.maps.get(stage) for stage in STAGES))
    return StageChange(
        accuracy=mean_interval(gained, labels, draws, seed, before.groups),
        recall=recall,
        first_only=int((was & ~is_).sum()),
        second_only=int((is_ & ~was).sum()),
        test=tested.test,
        p=tested.p,
        maps=movement(maps, classes, seed, draws) if maps else None,
    )


def _map_pair(answers: Predictions, first: Maps | None, second: Maps | None) -> MapPair | None:
    if first is None or second is None:
        return None
    return MapPair(answers.ids, answers.labels, first.label_maps, second.label_maps, answers.groups)
