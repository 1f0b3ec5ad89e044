"""A search is read as it was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seewhy.errors import RunError
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.search import LayerSearch, SearchRecord, Trial
from seewhy.storage.schemas.training import HeadSummary

Write = Callable[[RunDirectory], Any]


def _search() -> tuple[SearchRecord, tuple[Trial, ...]]:
    head = HeadSummary(
        units=[55, 27], dropout=1 / 3, learning_rate=1e-5, batch_size=16, loss="kl-divergence"
    )
    count = LayerSearch(
        layers=2, trials=2, complete=1, pruned=0, failed=1, best_trial=0, best_value=0.75,
        head=head, importance={"dropout": 1 / 3}, seconds=2.5,
    )  # fmt: skip
    record = SearchRecord(
        sampler="gp", pruner="none", objective="both", layer_counts=[count], head=head,
        stopped="it had to", seconds=2.5,
    )  # fmt: skip
    trial = Trial(
        2, 0, "complete", 0.1 + 0.2, 0.75, 55, (55, 27), 1 / 3, 1e-5, 16, "kl-divergence", 7, 1.5
    )
    failed = replace(
        trial, number=1, state="failed", value=None, best_validation_accuracy=None,
        reason='out of "memory",\nsaid <b>PyTorch</b>',
    )  # fmt: skip
    return record, (trial, failed)


def test_a_search_comes_back_to_the_last_bit(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
    record, trials = _search()
    run.search.write_trials("net", trials)
    run.search.write("net", record)
    back = run.backbones.read("net", classes)
    assert back.search == record
    assert back.trials == trials
    assert record.best is record.layer_counts[0]
    (run.search.folder("net") / "trials.csv").write_text("layers,number\n1,x\n", "utf-8")
    with pytest.raises(RunError, match=r"trials\.csv: is not as seewhy writes it"):
        run.backbones.read("net", classes)
