"""The example of docs/extending.md: a new result needs a schema and a repository, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from seewhy.errors import RunError
from seewhy.statistics.bootstrap import Interval
from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.run_directory import RunDirectory, refuse_study_files
from seewhy.storage.schemas.base import FrozenRecord, Stage


class BrierScores(FrozenRecord):
    images: int
    stages: dict[Stage, Interval]


class BrierRepository(RecordRepository[BrierScores]):
    root_names = ("brier_table.csv",)
    file, model = "brier.json", BrierScores

    @property
    def table_path(self) -> Path:
        return self.layout.root / "brier_table.csv"


SCORES = BrierScores(images=2, stages={"finetuning": Interval(value=0.125, low=0, high=0.25)})


def test_a_new_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    brier = BrierRepository(RunDirectory(tmp_path).layout)
    assert brier.read("net") is None
    brier.write("net", SCORES)
    assert brier.read("net") == SCORES
    brier.path("net").write_text('{"images": "many"}')
    with pytest.raises(RunError, match=r"brier\.json: is not as seewhy writes it \(images: "):
        brier.read("net")


def test_a_new_result_belongs_to_the_study(tmp_path: Path) -> None:
    """Starting over deletes it, and no other command may overwrite it."""
    run = RunDirectory(tmp_path)
    brier = BrierRepository(run.layout)
    brier.write("net", SCORES)
    brier.table_path.write_text("x")
    run.config.path.write_text("x")
    run.fingerprint.path.write_text("x")
    for path in (brier.path("net"), brier.table_path):
        with pytest.raises(RunError, match="belongs to the study in"):
            refuse_study_files(path)
    (tmp_path / "notes.txt").write_text("x")
    run.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
