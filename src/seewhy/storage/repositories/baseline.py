"""The baseline of a backbone: baseline.json and baseline.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seewhy.storage.json_files import read_record, write_record
from seewhy.storage.predictions_csv import predictions_where_there, write_predictions
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.predictions import Baseline, Predictions


class BaselineRepository(Repository):
    """The untouched ImageNet classifier on the test images."""

    def path(self, slug: str) -> Path:
        """Return one backbone's baseline.json."""
        return self.layout.backbone(slug) / "baseline.json"

    def write(self, slug: str, baseline: Baseline) -> None:
        """Write baseline.json."""
        write_record(self.path(slug), baseline)

    def read(self, slug: str) -> Baseline:
        """Read baseline.json."""
        return read_record(self.path(slug), Baseline)

    def predictions_path(self, slug: str) -> Path:
        """Return one backbone's baseline.csv: the test images' scores of the grouped classes."""
        return self.layout.backbone(slug) / "baseline.csv"

    def write_predictions(
        self, slug: str, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write baseline.csv."""
        write_predictions(self.predictions_path(slug), predictions, classes)

    def read_predictions(self, slug: str, classes: Sequence[str]) -> Predictions | None:
        """Read baseline.csv; None where there is no baseline."""
        return predictions_where_there(self.predictions_path(slug), classes)
