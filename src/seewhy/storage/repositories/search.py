"""The hyperparameter search: search.db of a study; trials.csv and best.json of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from seewhy.storage.csv_files import CsvTable, Rows, read_parsed, write_table
from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.finetuning_search import FinetuningSearchRecord, FinetuningTrial
from seewhy.storage.schemas.search import SearchRecord, Trial

_TRIALS = TypeAdapter(tuple[Trial, ...])
_FINETUNING_TRIALS = TypeAdapter(tuple[FinetuningTrial, ...])


class SearchRepository(Repository):
    """The trials of a study's searches, and what each search found."""

    root_names = ("search.db", "search.db-journal")

    @property
    def trials_path(self) -> Path:
        """The trials of all searches, an SQLite file."""
        return self.layout.root / "search.db"

    def folder(self, slug: str) -> Path:
        """Return the folder of one backbone's search."""
        return self.layout.backbone(slug) / "search"

    def write_trials(self, slug: str, trials: Sequence[Trial]) -> None:
        """Write trials.csv, one line per trial that has ended."""
        names = [field.name for field in fields(Trial)]
        rows = (
            ["" if value is None else _units(value) for value in astuple(trial)] for trial in trials
        )
        write_table(self.folder(slug) / "trials.csv", CsvTable(names, rows))

    def read_trials(self, slug: str) -> tuple[Trial, ...]:
        """Read trials.csv."""
        return read_parsed(self.folder(slug) / "trials.csv", _trials)

    def write(self, slug: str, search: SearchRecord) -> None:
        """Write best.json; call it when the search has ended."""
        write_record(self.folder(slug) / "best.json", search)

    def read(self, slug: str) -> SearchRecord | None:
        """Read best.json; None where there is none."""
        return record_where_there(self.folder(slug) / "best.json", SearchRecord)

    def finetuning_trials_path(self, slug: str) -> Path:
        """Return finetuning_trials.csv."""
        return self.folder(slug) / "finetuning_trials.csv"

    def write_finetuning_trials(self, slug: str, trials: Sequence[FinetuningTrial]) -> None:
        """Write finetuning_trials.csv, one line per trial that has ended."""
        names = [field.name for field in fields(FinetuningTrial)]
        rows = (["" if value is None else value for value in astuple(one)] for one in trials)
        write_table(self.finetuning_trials_path(slug), CsvTable(names, rows))

    def read_finetuning_trials(self, slug: str) -> tuple[FinetuningTrial, ...]:
        """Read finetuning_trials.csv; empty where there is none."""
        path = self.finetuning_trials_path(slug)
        return read_parsed(path, _finetuning_trials) if path.is_file() else ()

    def write_finetuning(self, slug: str, found: FinetuningSearchRecord) -> None:
        """Write finetuning.json; call it when the search for fine-tuning's settings has ended."""
        write_record(self.folder(slug) / "finetuning.json", found)

    def read_finetuning(self, slug: str) -> FinetuningSearchRecord | None:
        """Read finetuning.json; None where there is none."""
        return record_where_there(self.folder(slug) / "finetuning.json", FinetuningSearchRecord)


def _finetuning_trials(rows: Rows) -> tuple[FinetuningTrial, ...]:
    return _FINETUNING_TRIALS.validate_python(
        [{**row, "value": row["value"] or None, "loss": row["loss"] or None} for row in rows]
    )


def _trials(rows: Rows) -> tuple[Trial, ...]:
    return _TRIALS.validate_python(
        [
            {
                **row,
                "value": row["value"] or None,
                "best_validation_accuracy": row["best_validation_accuracy"] or None,
                "units": row["units"].split(" + "),
            }
            for row in rows
        ]
    )


def _units(value: Any) -> Any:
    """Return hidden units as the paper writes them, "55 + 27"; any other value as it is."""
    return " + ".join(map(str, value)) if isinstance(value, tuple) else value
