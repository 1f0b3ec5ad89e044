"""The results over folds and seeds are read as they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.predictions import Rates
from seewhy.storage.schemas.repetitions import (
    FoldsRecord,
    RepetitionScores,
    Spread,
    StageRepeats,
    StageRepetitions,
)
from seewhy.storage.schemas.training import HeadSummary

Write = Callable[[RunDirectory], Any]


def test_folds_come_back(tmp_path: Path, write_backbone: Write, classes: Sequence[str]) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = write_backbone(run)
    back = run.backbones.read("net", classes)
    assert (back.folds, back.out_of_fold) == (None, None)
    rates = Rates(accuracy=0.5, precision=1 / 3, recall=0.25)
    one = RepetitionScores(
        name="fold 1", seed=0, train=4, validation=1, epochs=7, held_out=rates, test=rates
    )
    over = StageRepetitions(
        repeats=[one],
        held_out={"accuracy": Spread(mean=0.5)},
        test={"accuracy": Spread(mean=0.5, deviation=0.1)},
    )
    head = HeadSummary(units=[3], dropout=0, learning_rate=1, batch_size=2, loss="cross-entropy")
    record = FoldsRecord(
        folds=1,
        seeds=[0],
        division="0123",
        head=head,
        stages={"adaptation": StageRepeats(folds=over)},
    )
    run.repetitions.write("net", record)
    run.repetitions.write_out_of_fold("net", predictions, classes)
    back = run.backbones.read("net", classes)
    assert back.folds == record
    assert back.out_of_fold is not None
    np.testing.assert_array_equal(back.out_of_fold.probabilities, predictions.probabilities)
