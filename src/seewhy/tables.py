"""Records as the lines of a table, and back; what the run directory's CSV files hold.

Knows no files: ``rundir.py`` writes and reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from seewhy.records import Epoch, Predictions, Trial, TrialState

Rows = Sequence[Mapping[str, str]]


class Table(NamedTuple):
    """A header and the lines under it."""

    header: Sequence[str]
    rows: Iterable[Sequence[Any]]


def history_table(history: Sequence[Epoch]) -> Table:
    """Return a stage's epochs, a line each."""
    names = [field.name for field in fields(Epoch)]
    return Table(names, ([getattr(epoch, name) for name in names] for epoch in history))


def parse_history(rows: Rows) -> list[Epoch]:
    """Return the epochs of `history_table`."""
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


def predictions_table(predictions: Predictions, classes: Sequence[str]) -> Table:
    """Return a line an image: id, label, predicted, confidence, a column ``p:CLASS`` each."""
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
    return Table(header, rows)


def parse_predictions(rows: Rows, classes: Sequence[str]) -> Predictions:
    """Return the predictions of `predictions_table`."""
    number = {name: k for k, name in enumerate(classes)}
    return Predictions(
        ids=tuple(row["id"] for row in rows),
        labels=np.array([number[row["label"]] for row in rows], dtype=np.int64),
        probabilities=np.array(
            [[float(row[f"p:{name}"]) for name in classes] for row in rows], dtype=np.float32
        ).reshape(-1, len(classes)),
    )


def confusion_table(confusion: NDArray[np.int64], classes: Sequence[str]) -> Table:
    """Return a line a true class, a column a predicted one."""
    rows = ((name, *row.tolist()) for name, row in zip(classes, confusion, strict=True))
    return Table(("label", *classes), rows)


def parse_confusion(rows: Rows, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the matrix of `confusion_table`."""
    return np.array([[int(row[name]) for name in classes] for row in rows], np.int64)


def trials_table(trials: Sequence[Trial]) -> Table:
    """Return a line a trial that has ended."""
    names = [field.name for field in fields(Trial)]
    rows = (
        ["" if value is None else _units(value) for value in astuple(trial)] for trial in trials
    )
    return Table(names, rows)


def parse_trials(rows: Rows) -> tuple[Trial, ...]:
    """Return the trials of `trials_table`."""
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
