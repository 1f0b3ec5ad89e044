"""Records as the lines of CSV files, and back.

For each kind of record a function that writes the file and one that reads it. What does not fit
is one sentence.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.schemas.study import Epoch, Predictions, Trial, TrialState

Rows = Sequence[Mapping[str, str]]
Value = TypeVar("Value")


class CsvTable(NamedTuple):
    """A header and the lines under it."""

    header: Sequence[str]
    rows: Iterable[Sequence[Any]]


def write_table(path: Path, table: CsvTable) -> None:
    """Write a table as a CSV file, UTF-8."""
    with writing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        # With this ending a name that holds either half of it is quoted.
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(table.header)
        writer.writerows(table.rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file's lines, by their header.

    Raises
    ------
    RunError
        Where it is missing or no CSV.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, strict=True))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error


def _parsed(path: Path, parse: Callable[[Rows], Value]) -> Value:
    """Read a CSV file and turn what does not fit into one sentence."""
    rows = read_rows(path)
    try:
        return parse(rows)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: is not as seewhy writes it ({error})") from error


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write a stage's epochs, a line each."""
    names = [field.name for field in fields(Epoch)]
    rows = ([getattr(epoch, name) for name in names] for epoch in history)
    write_table(path, CsvTable(names, rows))


def read_history(path: Path) -> list[Epoch]:
    """Read the epochs of `write_history`."""
    return _parsed(path, _history)


def _history(rows: Rows) -> list[Epoch]:
    return [
        Epoch(
            epoch=int(row["epoch"]),
            train_loss=float(row["train_loss"]),
            train_accuracy=float(row["train_accuracy"]),
            validation_loss=float(row["validation_loss"]),
            validation_accuracy=float(row["validation_accuracy"]),
            learning_rate=float(row["learning_rate"]),
            seconds=float(row["seconds"]),
        )
        for row in rows
    ]


def write_predictions(path: Path, predictions: Predictions, classes: Sequence[str]) -> None:
    """Write a line an image: id, label, predicted, confidence, a column ``p:CLASS`` each."""
    header = ("id", "label", "predicted", "confidence", *(f"p:{name}" for name in classes))
    rows = (
        (id_, classes[label], classes[best], repr(float(top)), *map(repr, row.tolist()))
        for id_, label, best, top, row in zip(
            predictions.ids,
            predictions.labels,
            predictions.predicted,
            predictions.confidence,
            predictions.probabilities,
            strict=True,
        )
    )
    write_table(path, CsvTable(header, rows))


def read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    """Read the predictions of `write_predictions`."""
    return _parsed(path, lambda rows: _predictions(rows, classes))


def predictions_where_there(path: Path, classes: Sequence[str]) -> Predictions | None:
    """Read predictions that older run directories, or backbones without them, do not have."""
    return read_predictions(path, classes) if path.is_file() else None


def _predictions(rows: Rows, classes: Sequence[str]) -> Predictions:
    number = {name: k for k, name in enumerate(classes)}
    return Predictions(
        ids=tuple(row["id"] for row in rows),
        labels=np.array([number[row["label"]] for row in rows], dtype=np.int64),
        probabilities=np.array(
            [[float(row[f"p:{name}"]) for name in classes] for row in rows], dtype=np.float32
        ).reshape(-1, len(classes)),
    )


def write_confusion(path: Path, confusion: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Write a line a true class, a column a predicted one."""
    rows = ((name, *row.tolist()) for name, row in zip(classes, confusion, strict=True))
    write_table(path, CsvTable(("label", *classes), rows))


def read_confusion(path: Path, classes: Sequence[str]) -> NDArray[np.int64]:
    """Read the matrix of `write_confusion`."""
    return _parsed(path, lambda rows: _confusion(rows, classes))


def _confusion(rows: Rows, classes: Sequence[str]) -> NDArray[np.int64]:
    return np.array([[int(row[name]) for name in classes] for row in rows], np.int64)


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write a line a trial that has ended."""
    names = [field.name for field in fields(Trial)]
    rows = (
        ["" if value is None else _units(value) for value in astuple(trial)] for trial in trials
    )
    write_table(path, CsvTable(names, rows))


def read_trials(path: Path) -> tuple[Trial, ...]:
    """Read the trials of `write_trials`."""
    return _parsed(path, _trials)


def _trials(rows: Rows) -> tuple[Trial, ...]:
    return tuple(
        Trial(
            layers=int(row["layers"]),
            number=int(row["number"]),
            state=cast(TrialState, row["state"]),
            value=float(row["value"]) if row["value"] else None,
            best_validation_accuracy=(
                float(row["best_validation_accuracy"]) if row["best_validation_accuracy"] else None
            ),
            units_p=int(row["units_p"]),
            units=tuple(int(part) for part in row["units"].split(" + ")),
            dropout=float(row["dropout"]),
            learning_rate=float(row["learning_rate"]),
            batch_size=int(row["batch_size"]),
            loss=row["loss"],
            epochs=int(row["epochs"]),
            seconds=float(row["seconds"]),
            reason=row["reason"],
        )
        for row in rows
    )


def _units(value: Any) -> Any:
    """Return hidden units as the paper writes them, "55 + 27"; anything else as it is."""
    return " + ".join(map(str, value)) if isinstance(value, tuple) else value
