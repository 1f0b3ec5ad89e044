"""Figures of folds and seeds set beside each other where they are paired, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from seewhy.data.folds import fold_repetitions
from seewhy.evaluation.ranking import corrected_t
from seewhy.evaluation.repetitions import held_out_ratio, over_repetitions
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Rates
from seewhy.storage.schemas.repetitions import (
    FoldsRecord,
    RepetitionScores,
    StageRepeats,
    StageRepetitions,
)
from seewhy.storage.schemas.training import HeadSummary

HEAD = HeadSummary(units=[8], dropout=0.1, learning_rate=1e-3, batch_size=16, loss="cross-entropy")


def _rates(accuracy: float) -> Rates:
    return Rates(accuracy=accuracy, precision=0.5, recall=0.5)


def _repeats(kind: str, accuracies: Sequence[float]) -> StageRepetitions:
    """Accuracies of the held-out images over folds, of the test images over seeds."""
    folds = kind == "fold"
    return StageRepetitions(
        repeats=[
            RepetitionScores(
                name=f"{kind} {k}",
                seed=0,
                train=60,
                validation=6,
                epochs=3,
                held_out=_rates(accuracy) if folds else None,
                test=_rates(0.01 if folds else accuracy),
            )
            for k, accuracy in enumerate(accuracies, 1)
        ],
        test={},
    )


def _record(
    folds: Sequence[float], seeds: Sequence[float] = (), division: str = "abc"
) -> FoldsRecord:
    repeated = StageRepeats(
        folds=_repeats("fold", folds) if folds else None,
        seeds=_repeats("seed", seeds) if seeds else None,
    )
    return FoldsRecord(
        folds=len(folds), seeds=[0], division=division, head=HEAD, stages={"adaptation": repeated}
    )


def test_folds_are_scored_on_held_out_images_and_seeds_on_test_images() -> None:
    records = {
        "a": _record([0.7, 0.8, 0.9], [0.6, 0.62]),
        "b": _record([0.6, 0.75, 0.8], [0.5, 0.55]),
    }
    folds, seeds = over_repetitions(records)
    assert (folds.over, folds.stage, seeds.over) == ("folds", "adaptation", "seeds")
    assert folds.repetitions == ["fold 1", "fold 2", "fold 3"]
    assert folds.backbones["a"].values == [0.7, 0.8, 0.9]
    assert seeds.backbones["b"].mean == pytest.approx(0.525)
    # Each training leaves 66 of 99 images to the folds it has, and trains on 60 of them.
    assert folds.held_out_ratio == pytest.approx(33 / 60)
    assert folds.pairs[0].p == pytest.approx(corrected_t(np.array([0.1, 0.05, 0.1]), 33 / 60)[1])
    assert seeds.pairs[0].p == pytest.approx(corrected_t(np.array([0.1, 0.07]), 0.0)[1])


def test_the_ratio_is_that_of_the_images_of_each_fold() -> None:
    """Counted by hand in the folds themselves, whose sizes differ."""
    labels = np.repeat([0, 1], [23, 18])
    data = Dataset(
        source="a test",
        classes=("a", "b"),
        ids=tuple(map(str, range(41))),
        paths=tuple(map(str, range(41))),
        labels=labels,
        splits=tuple(["train"] * 41),
        pixels=np.zeros((41, 1, 1, 3), dtype=np.uint8),
    )
    divided = fold_repetitions(data, 3, 0.2, 0)
    by_hand, repeats = [], []
    for one in divided:
        train, stop = (len(one.data.where(split)) for split in ("train", "validation"))
        by_hand.append((len(one.held_out), train))
        repeats.append(
            RepetitionScores(
                name=one.name,
                seed=0,
                train=train,
                validation=stop,
                epochs=1,
                held_out=_rates(0.5),
                test=_rates(0.5),
            )
        )
    # 23 and 18 images: folds of 8, 8, 7 and 6, 6, 6; of the 15 or 16 and 12 left a fifth stops.
    assert by_hand == [(14, 22), (14, 22), (13, 23)]
    assert held_out_ratio(repeats) == pytest.approx((14 / 22 + 14 / 22 + 13 / 23) / 3)
    assert held_out_ratio(repeats) > 1 / 2


def test_what_is_not_paired_is_left_out() -> None:
    records = {
        "a": _record([0.7, 0.8, 0.9]),
        "b": None,
        "c": _record([0.6, 0.7, 0.8], division="other images"),
        "d": _record([0.5, 0.4]),
        "e": _record([0.5, 0.6, 0.65]),
    }
    (found,) = over_repetitions(records)
    assert list(found.backbones) == ["a", "e"]
    assert over_repetitions({"b": None}) == []
    assert over_repetitions({"a": _record([])}) == []
