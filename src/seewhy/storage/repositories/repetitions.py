"""The stages trained again on folds and with other seeds: folds.json, out_of_fold.csv.

What one training predicted is kept in ``folds/`` until the backbone is finished.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.npz_files import ArraySpec, read_npz
from seewhy.storage.predictions_csv import predictions_where_there, write_predictions
from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.schemas.repetitions import FoldsRecord, RepetitionPredictions


class RepetitionsRepository(RecordRepository[FoldsRecord]):
    """The results over folds and seeds, and what a resumed study needs of each training.

    There is no folds.json where neither folds nor several seeds were configured.
    """

    file, model = "folds.json", FoldsRecord

    def out_of_fold_path(self, slug: str) -> Path:
        """Return out_of_fold.csv: predictions of each image by a head not trained on it."""
        return self.layout.backbone(slug) / "out_of_fold.csv"

    def write_out_of_fold(
        self, slug: str, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write out_of_fold.csv."""
        write_predictions(self.out_of_fold_path(slug), predictions, classes)

    def read_out_of_fold(self, slug: str, classes: Sequence[str]) -> Predictions | None:
        """Read out_of_fold.csv; None where there were no folds."""
        return predictions_where_there(self.out_of_fold_path(slug), classes)

    def _folder(self, slug: str) -> Path:
        return self.layout.backbone(slug) / "folds"

    def checkpoint_path(self, slug: str, name: str, stage: Stage) -> Path:
        """Return the checkpoint of one stage of a training; deleted when that has ended."""
        return self._folder(slug) / f"{name}, {stage}.safetensors"

    def delete_checkpoints(self, slug: str) -> None:
        """Delete checkpoints and predictions of the trainings; only a resumed study needs them."""
        shutil.rmtree(self._folder(slug), ignore_errors=True)

    def _predictions_path(self, slug: str, name: str) -> Path:
        return self._folder(slug) / f"{name}.npz"

    def write_predictions(
        self, slug: str, name: str, predictions: Mapping[Stage, RepetitionPredictions]
    ) -> None:
        """Write what one training predicted, such as ``fold 1``, stage by stage."""
        arrays = {
            f"{stage}.{what}": array
            for stage, one in predictions.items()
            for what, array in (
                ("epochs", np.array(one.epochs)),
                ("held_out", one.held_out),
                ("test", one.test),
            )
        }
        with writing(self._predictions_path(slug, name)) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read_predictions(
        self, slug: str, name: str, stages: Sequence[Stage], sizes: tuple[int, int, int]
    ) -> dict[Stage, RepetitionPredictions] | None:
        """Read what one training predicted; None where it has not ended.

        `sizes` are the numbers of images that were held out, of test images, and of classes.

        Raises
        ------
        RunError
            Where the file is damaged or is of another training.
        """
        path = self._predictions_path(slug, name)
        if not path.is_file():
            return None
        try:
            found = read_npz(path, _wanted(stages, sizes))
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{path}: cannot be resumed ({error}); delete it to train that again"
            ) from error
        return {
            stage: RepetitionPredictions(
                int(found[f"{stage}.epochs"]), found[f"{stage}.held_out"], found[f"{stage}.test"]
            )
            for stage in stages
        }


def _wanted(stages: Sequence[Stage], sizes: tuple[int, int, int]) -> dict[str, ArraySpec]:
    """Return what each array of one training's predictions must be."""
    held_out, test, classes = sizes
    return {
        f"{stage}.{what}": expected
        for stage in stages
        for what, expected in (
            ("epochs", ArraySpec("int64")),
            ("held_out", ArraySpec("float32", (held_out, classes))),
            ("test", ArraySpec("float32", (test, classes))),
        )
    }
