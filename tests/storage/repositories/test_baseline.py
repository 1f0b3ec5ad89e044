"""The baseline's predictions are read as they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seewhy.storage.run_directory import RunDirectory

Write = Callable[[RunDirectory], Any]


def test_the_baselines_shares_come_back(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    predictions, _, _ = write_backbone(run)
    assert run.backbones.read("net", classes).baseline_predictions is None
    run.baseline.write_predictions("net", predictions, classes)
    back = run.backbones.read("net", classes).baseline_predictions
    assert back is not None
    assert back.ids == predictions.ids
    np.testing.assert_array_equal(back.probabilities, predictions.probabilities)
