"""What a training again said, kept in an ``.npz`` until the backbone's study has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import writing
from seewhy.storage.npz_files import ArraySpec, read_npz
from seewhy.storage.schemas.study import RepetitionPredictions, Stage


def write(path: Path, answers: Mapping[Stage, RepetitionPredictions]) -> None:
    """Write what a training again said, stage by stage."""
    arrays = {
        f"{stage}.{what}": array
        for stage, one in answers.items()
        for what, array in (
            ("epochs", np.array(one.epochs)),
            ("held_out", one.held_out),
            ("test", one.test),
        )
    }
    with writing(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read(
    path: Path, stages: Sequence[Stage], sizes: tuple[int, int, int]
) -> dict[Stage, RepetitionPredictions] | None:
    """Read what a training again said; None where it has not ended.

    Parameters
    ----------
    path : Path
    stages : sequence of Stage
    sizes : (int, int, int)
        Images that were held out, test images, classes.

    Raises
    ------
    RunError
        Where the file is damaged or is of another training.
    """
    if not path.is_file():
        return None
    held_out, test, classes = sizes
    try:
        found = read_npz(
            path,
            {
                f"{stage}.{what}": expected
                for stage in stages
                for what, expected in (
                    ("epochs", ArraySpec("int64")),
                    ("held_out", ArraySpec("float32", (held_out, classes))),
                    ("test", ArraySpec("float32", (test, classes))),
                )
            },
        )
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path}: cannot be taken up again ({error}); delete it to train that again"
        ) from error
    return {
        stage: RepetitionPredictions(
            int(found[f"{stage}.epochs"]), found[f"{stage}.held_out"], found[f"{stage}.test"]
        )
        for stage in stages
    }
