"""AutoGluon's `MultiModalPredictor` with the given network and weights, and its `time_limit`."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor
from autogluon.multimodal import __version__ as version
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.peers.driver import Clock, Task, Trained, accuracy_of, serve

CHECKS_PER_EPOCH = 2  # AutoGluon validates twice per epoch


def table_of(task: Task, split: str) -> pd.DataFrame:
    """Return paths and class names."""
    files = task.files(split)
    names = [path.parent.name for path in files]
    return pd.DataFrame({"image": list(map(str, files)), "label": names})


def validations(folder: Path) -> list[tuple[float, float]]:
    """Return when each validation ended, in seconds since 1970, and its accuracy."""
    for file in folder.rglob("events.out.tfevents*"):
        events = EventAccumulator(str(file)).Reload()
        if "val_accuracy" in events.Tags()["scalars"]:
            return [(one.wall_time, one.value) for one in events.Scalars("val_accuracy")]
    return []


def train(task: Task) -> Trained:
    """Fit within the time limit; AutoGluon averages its best checkpoints at the end."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    run = task.work / "autogluon"
    clock = Clock()
    predictor = MultiModalPredictor(
        label="label", problem_type="multiclass", eval_metric="accuracy", path=str(run), verbosity=2
    )
    predictor.fit(
        train_data=table_of(task, "train"),
        tuning_data=table_of(task, "val"),
        time_limit=task.budget,
        seed=task.seed,
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": str(task.weights),
            "model.timm_image.image_size": task.size,
        },
    )
    clock.stop()
    found = validations(run)
    clock.curve = [(round(when - clock.began, 2), accuracy) for when, accuracy in found]
    shares = {
        split: predictor.predict_proba(table_of(task, split), as_pandas=True)[task.classes]
        for split in ("val", "test")
    }
    return Trained(
        version=version,
        clock=clock,
        epochs=len(found) / CHECKS_PER_EPOCH,
        validation_accuracy=accuracy_of(shares["val"].to_numpy(), task.labels("val")),
        head_accuracy=None,
        probabilities=shares["test"].to_numpy(),
    )


if __name__ == "__main__":
    serve(train)
