"""seewhy without a search: a whole study through its Python API, as `seewhy run` makes it.

The budget is that of `seewhy run --minutes`, which leaves time for the report. The study has one
test image per class, since no other peer's clock covers test images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.peers.driver import Clock, Task, Trained, serve
from seewhy import Classifier, load_classifier, load_config, run_study
from seewhy.data.pixels import to_input
from seewhy.training import stages
from seewhy.training.trainer import Epoch, StageResult

BATCH = 64


def study_folder(task: Task) -> Path:
    """Return a folder tree with all training and validation images and few test images."""
    root = task.work / "images"
    for split in ("train", "val"):
        (root / split).parent.mkdir(parents=True, exist_ok=True)
        (root / split).symlink_to((task.images / split).resolve(), target_is_directory=True)
    for name in task.classes:
        (root / "test" / name).mkdir(parents=True)
        first = next(path for path in task.files("test") if path.parent.name == name)
        (root / "test" / name / first.name).symlink_to(first.resolve())
    return root


@contextmanager
def watched(clock: Clock) -> Iterator[dict[str, StageResult]]:
    """Note what each epoch of fine-tuning reaches; yield what both stages were.

    The clock stops when fine-tuning has its weights.
    """
    results: dict[str, StageResult] = {}
    train_stage = stages.train_stage

    def noting(learner: Any, settings: Any, progress: Any, title: str, *rest: Any) -> StageResult:
        def on_epoch(last: Epoch) -> None:
            if settings.stage == "finetuning":
                clock.note(last.validation_accuracy)

        if not title.endswith((": adaptation", ": fine-tuning")):  # those of the folds
            return train_stage(learner, settings, progress, title, *rest)
        found = train_stage(learner, settings, progress, title, rest[0], on_epoch)
        results[settings.stage] = found
        if settings.stage == "finetuning":
            clock.stop()
        else:
            clock.note(found.best_validation_accuracy)
        return found

    with patch.object(stages, "train_stage", noting):
        yield results


@torch.inference_mode()
def probabilities(classifier: Classifier, files: list[Path]) -> NDArray[np.float32]:
    """Return the probabilities of pictures that have the network's size, (N, K)."""
    preprocess, device, found = classifier.design.preprocess, torch.device("cpu"), []
    for start in range(0, len(files), BATCH):
        pixels = np.stack([np.asarray(Image.open(path)) for path in files[start : start + BATCH]])
        given = to_input(torch.from_numpy(pixels), preprocess, device)
        found.append(classifier(given).softmax(dim=1))
    return torch.cat(found).numpy()


def train(task: Task) -> Trained:
    """Run the study; audits, faithfulness and the report come after the clock has stopped."""
    config = load_config(
        {
            "name": "peers",
            "seed": task.seed,
            "device": "cpu",
            "data": {"source": str(study_folder(task))},
            "input": {"size": task.size},
            "search": {"trials": 0},
            "minutes": task.budget / 60,
            "explanation": {"faithfulness": 0, "choice_images": 0},
            "audit": {"stages": []},
        }
    )
    clock = Clock()
    with watched(clock) as results:
        study = run_study(config, task.work / "run")
    classifier = load_classifier(study.root, device="cpu")
    assert list(classifier.classes) == task.classes
    adapted, tuned = results["adaptation"], results["finetuning"]
    return Trained(
        version=version("seewhy"),
        clock=clock,
        epochs=len(adapted.history) + len(tuned.history),
        validation_accuracy=tuned.best_validation_accuracy,
        head_accuracy=adapted.best_validation_accuracy,
        probabilities=probabilities(classifier, task.files("test")),
    )


if __name__ == "__main__":
    serve(train)
