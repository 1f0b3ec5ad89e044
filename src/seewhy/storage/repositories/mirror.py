"""Predictions averaged over images and their mirror images: mirror.json, mirrored.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seewhy.storage.predictions_csv import predictions_where_there, write_predictions
from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.mirror import Mirror
from seewhy.storage.schemas.predictions import Predictions


class MirrorRepository(RecordRepository[Mirror]):
    """Of each fine-tuned backbone; none where ``evaluation.mirror`` is off."""

    file, model = "mirror.json", Mirror

    def predictions_path(self, slug: str) -> Path:
        """Return mirrored.csv: averaged predictions of the test images."""
        return self.layout.stage(slug, "finetuning") / "mirrored.csv"

    def validation_path(self, slug: str) -> Path:
        """Return mirrored_validation.csv: averaged predictions of the validation images."""
        return self.layout.stage(slug, "finetuning") / "mirrored_validation.csv"

    def write_predictions(
        self, slug: str, test: Predictions, validation: Predictions, classes: Sequence[str]
    ) -> None:
        """Write mirrored_validation.csv and, last, mirrored.csv."""
        write_predictions(self.validation_path(slug), validation, classes)
        write_predictions(self.predictions_path(slug), test, classes)

    def read_predictions(
        self, slug: str, classes: Sequence[str]
    ) -> tuple[Predictions, Predictions] | None:
        """Read the averages of the test and of the validation images; None where there are none."""
        test = predictions_where_there(self.predictions_path(slug), classes)
        validation = predictions_where_there(self.validation_path(slug), classes)
        return None if test is None or validation is None else (test, validation)
