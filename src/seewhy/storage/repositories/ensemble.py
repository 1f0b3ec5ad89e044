"""The average of a study's backbones: ensemble.json and ensemble.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.predictions_csv import predictions_where_there, write_predictions
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.ensemble import Ensemble
from seewhy.storage.schemas.predictions import Predictions


class EnsembleRepository(Repository):
    """The average of all fine-tuned backbones; none where the study has one backbone."""

    root_names = ("ensemble.json", "ensemble.csv")

    @property
    def path(self) -> Path:
        """ensemble.json; there is an ensemble where there is this file."""
        return self.layout.root / "ensemble.json"

    @property
    def predictions_path(self) -> Path:
        """ensemble.csv: the averaged predictions of the test images."""
        return self.layout.root / "ensemble.csv"

    def write(self, record: Ensemble, predictions: Predictions, classes: Sequence[str]) -> None:
        """Write ensemble.csv and, last, ensemble.json."""
        write_predictions(self.predictions_path, predictions, classes)
        write_record(self.path, record)

    def read(self) -> Ensemble | None:
        """Read ensemble.json; None where there is no ensemble."""
        return record_where_there(self.path, Ensemble)

    def read_predictions(self, classes: Sequence[str]) -> Predictions | None:
        """Read ensemble.csv; None where there is no ensemble."""
        return predictions_where_there(self.predictions_path, classes)

    def delete(self) -> None:
        """Delete an ensemble that is out of date."""
        self.path.unlink(missing_ok=True)
        self.predictions_path.unlink(missing_ok=True)
