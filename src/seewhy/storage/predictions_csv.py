"""A classifier's predictions as a CSV file: predictions.csv, validation.csv and their like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seewhy.storage.csv_files import CsvTable, Rows, read_parsed, write_table
from seewhy.storage.schemas.predictions import Predictions


def write_predictions(path: Path, predictions: Predictions, classes: Sequence[str]) -> None:
    """Write a line per image: id, label, predicted, confidence, ``p:CLASS``, ``data.COLUMN``."""
    header = ("id", "label", "predicted", "confidence", *(f"p:{name}" for name in classes))
    header += tuple(f"data.{name}" for name in predictions.metadata)
    rows = (
        (id_, classes[label], classes[best], repr(float(top)), *map(repr, row.tolist()), *cells)
        for id_, label, best, top, row, *cells in zip(
            predictions.ids,
            predictions.labels,
            predictions.predicted,
            predictions.confidence,
            predictions.probabilities,
            *predictions.metadata.values(),
            strict=True,
        )
    )
    write_table(path, CsvTable(header, rows))


def read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    """Read the predictions of `write_predictions`."""
    return read_parsed(path, lambda rows: _predictions(rows, classes))


def predictions_where_there(path: Path, classes: Sequence[str]) -> Predictions | None:
    """Read predictions that a study may lack; None where there is no such file."""
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
