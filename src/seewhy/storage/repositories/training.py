"""The training of a backbone: features.json, and one folder per stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from seewhy.storage.csv_files import CsvTable, Rows, read_parsed, write_table
from seewhy.storage.json_files import read_record, record_where_there, write_record
from seewhy.storage.predictions_csv import read_predictions, write_predictions
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.predictions import Predictions, StageMetrics
from seewhy.storage.schemas.time_plan import TimePlan
from seewhy.storage.schemas.training import Epoch, FeaturesRecord

_HISTORY = TypeAdapter(list[Epoch])


class TrainingRepository(Repository):
    """What a backbone's two stages were trained on, their classifiers, and what they score."""

    def features_path(self, slug: str) -> Path:
        """features.json, the one pass over the images."""
        return self.layout.backbone(slug) / "features.json"

    def write_features(self, slug: str, features: FeaturesRecord) -> None:
        """Write features.json."""
        write_record(self.features_path(slug), features)

    def read_features(self, slug: str) -> FeaturesRecord | None:
        """Read features.json; None where the backbone has not started."""
        return record_where_there(self.features_path(slug), FeaturesRecord)

    def plan_path(self, slug: str) -> Path:
        """plan.json, the epochs that fit into the study's minutes."""
        return self.layout.backbone(slug) / "plan.json"

    def write_plan(self, slug: str, plan: TimePlan) -> None:
        """Write plan.json."""
        write_record(self.plan_path(slug), plan)

    def read_plan(self, slug: str) -> TimePlan | None:
        """Read plan.json; None where fine-tuning has not started, or has no budget."""
        return record_where_there(self.plan_path(slug), TimePlan)

    def checkpoint_path(self, slug: str, stage: Stage) -> Path:
        """Return one stage's checkpoint; deleted when the backbone is finished."""
        return self.layout.stage(slug, stage) / "checkpoint.safetensors"

    def model_path(self, slug: str, stage: Stage) -> Path:
        """Return one stage's classifier."""
        return self.layout.stage(slug, stage) / "model.safetensors"

    def delete_checkpoints(self, slug: str) -> None:
        """Delete the checkpoints of both stages."""
        for stage in STAGES:
            self.checkpoint_path(slug, stage).unlink(missing_ok=True)

    def write_stage(
        self,
        slug: str,
        metrics: StageMetrics,
        history: Sequence[Epoch],
        predictions: Predictions,
        confusion: NDArray[np.int64],
        classes: Sequence[str],
    ) -> None:
        """Write a stage's history, predictions, confusion matrix and, last, its metrics."""
        folder = self.layout.stage(slug, metrics.stage)
        names = [field.name for field in fields(Epoch)]
        if all(epoch.validation_metric is None for epoch in history):
            names.remove("validation_metric")
        epochs = ([getattr(epoch, name) for name in names] for epoch in history)
        write_table(folder / "history.csv", CsvTable(names, epochs))
        write_predictions(folder / "predictions.csv", predictions, classes)
        # One line per true class, one column per predicted class.
        counts = ((name, *row.tolist()) for name, row in zip(classes, confusion, strict=True))
        write_table(folder / "confusion.csv", CsvTable(("label", *classes), counts))
        write_record(folder / "metrics.json", metrics)

    def read_history(self, slug: str, stage: Stage) -> list[Epoch]:
        """Read history.csv, a stage's epochs."""
        path = self.layout.stage(slug, stage) / "history.csv"
        return read_parsed(path, _HISTORY.validate_python)

    def read_predictions(self, slug: str, stage: Stage, classes: Sequence[str]) -> Predictions:
        """Read predictions.csv, a stage's predictions of the test images."""
        return read_predictions(self.layout.stage(slug, stage) / "predictions.csv", classes)

    def read_confusion(self, slug: str, stage: Stage, classes: Sequence[str]) -> NDArray[np.int64]:
        """Read confusion.csv, (K, K) test images; rows are labels, columns predictions."""
        path = self.layout.stage(slug, stage) / "confusion.csv"
        return read_parsed(path, lambda rows: _confusion(rows, classes))

    def read_metrics(self, slug: str, stage: Stage) -> StageMetrics:
        """Read metrics.json."""
        return read_record(self.layout.stage(slug, stage) / "metrics.json", StageMetrics)

    def validation_path(self, slug: str, stage: Stage) -> Path:
        """Return validation.csv: predictions of the images that chose a stage's best epoch."""
        return self.layout.stage(slug, stage) / "validation.csv"

    def write_validation(
        self, slug: str, stage: Stage, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write validation.csv."""
        write_predictions(self.validation_path(slug, stage), predictions, classes)

    def read_validation(self, slug: str, stage: Stage, classes: Sequence[str]) -> Predictions:
        """Read validation.csv."""
        return read_predictions(self.validation_path(slug, stage), classes)


def _confusion(rows: Rows, classes: Sequence[str]) -> NDArray[np.int64]:
    return np.array([[int(row[name]) for name in classes] for row in rows], np.int64)
