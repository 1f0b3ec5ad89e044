"""A run directory as a whole: what is finished, and what belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from seewhy.errors import RunError
from seewhy.storage.run_directory import RunDirectory, refuse_study_files


def test_what_is_no_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such run directory"):
        RunDirectory.open(tmp_path / "none")
    with pytest.raises(RunError, match="holds no finished study"):
        RunDirectory.open(tmp_path)


def test_clearing_deletes_the_study_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    own = [
        "summary.json", "search.db", "search.db-journal", "comparison.json", "fingerprint.json",
        "provenance.json", "study.log", "config.toml", "backbones/net/baseline.json",
        "data/index.csv", "report/index.html",
    ]  # fmt: skip
    for name in (*own, "notes.txt", ".lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    run.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "notes.txt"]


def test_files_of_a_study_are_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    refuse_study_files(tmp_path / "comparison.json")  # there is no study yet
    run.config.path.write_text("x")
    run.fingerprint.path.write_text("x")
    for name in ("comparison.json", "data/new/a.png", "report", "study.log"):
        with pytest.raises(RunError, match="belongs to the study in"):
            refuse_study_files(tmp_path / name)
    refuse_study_files(tmp_path / "notes.txt")
