"""What two configurations of a study say of images that folds hold out, for a search to judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seewhy.data.folds import fold_repetitions
from seewhy.data.groups import column_groups, units
from seewhy.models.cut import Cut
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.repetitions import repeat_once
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training.feature_cache import FeatureCache
from seewhy.training.search.acceptance import FOLDS, HeldOut
from seewhy.training.stages import degrees


def compare_on_folds(
    works: tuple[StudyContext, StudyContext],
    slug: str,
    cut: Cut,
    features: FeatureCache,
    stages: tuple[Stage, ...],
    of: str = "",
) -> HeldOut:
    """Train with two configurations, the configured one first, on each fold.

    The last of `stages` answers. `of` tells this comparison's folds from another's.

    Raises
    ------
    DataError
        Where the images cannot be divided into folds.
    """
    config, data = works[0].config, works[0].data
    folds = fold_repetitions(data, FOLDS, config.data.validation, config.seed)
    order = np.concatenate([one.held_out for one in folds])

    def answers(name: str, work: StudyContext) -> NDArray[np.float64]:
        parts = [
            repeat_once(
                work, slug, cut, features, replace(fold, name=f"{name}, {fold.name}"), stages
            )
            for fold in folds
        ]
        held_out = [part.answers[stages[-1]].held_out for part in parts]
        return np.concatenate(held_out).astype(np.float64)

    return HeldOut(
        labels=data.labels[order],
        configured=answers(f"configured{of}", works[0]),
        best=answers(f"best{of}", works[1]),
        clusters=_clusters(data, order),
        degrees=degrees(config, data),
    )


def _clusters(data: Dataset, order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return which images depend on each other, by the groups of ``data.group``."""
    if not data.group_by:
        return None
    return units(column_groups(data.metadata, data.group_by, data.source))[order]
