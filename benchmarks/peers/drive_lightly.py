"""LightlyTrain's `train_image_classification`, from the given weights.

It counts steps, not seconds: two short runs inside the budget measure a step. In float32, since
its default, mixed bfloat16, is slow on processors without matrix units for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightly_train
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.peers.driver import ARCHITECTURE, Clock, Task, Trained, accuracy_of, serve

SHORT, LONG = 5, 25  # steps of the runs that measure
BATCH = 16  # LightlyTrain's default
MEAN = STD = (0.5, 0.5, 0.5)  # what these weights were trained with


def fit(task: Task, out: Path, steps: int) -> None:
    """Train so many steps."""
    size, normalize = (task.size, task.size), {"mean": MEAN, "std": STD}
    lightly_train.train_image_classification(
        out=out,
        data={
            "train": str(task.images / "train"),
            "val": str(task.images / "val"),
            "classes": dict(enumerate(task.classes)),
        },
        model=f"timm/{ARCHITECTURE}",
        steps=steps,
        batch_size=BATCH,
        seed=task.seed,
        accelerator="cpu",
        precision="32-true",
        model_args={"backbone_weights": str(task.weights / "pytorch_model.bin")},
        # Images have their final size: validation crops nothing.
        transform_args={
            "image_size": size,
            "normalize": normalize,
            "val": {"resize_scale": None},
        },
        logger_args={"val_every_num_steps": max(1, len(task.files("train")) // BATCH)},
    )


def steps_that_fit(task: Task, clock: Clock) -> int:
    """Measure two short runs; their difference is the cost of steps alone."""
    seconds: list[float] = []
    for steps in (SHORT, LONG):
        before = clock.seconds
        fit(task, task.work / f"measured_{steps}", steps)
        seconds.append(clock.seconds - before)
    step = (seconds[1] - seconds[0]) / (LONG - SHORT)
    start = max(0.0, seconds[0] - SHORT * step)
    # One validation per epoch, each a forward pass, a third of a step per batch.
    share = 1 + len(task.files("val")) / 3 / len(task.files("train"))
    return max(LONG, int((task.budget - clock.seconds - start) / (step * share)))


@torch.inference_mode()
def probabilities(model: Any, files: list[Path]) -> NDArray[np.float32]:
    """Return the probabilities of all classes, (N, K)."""
    model.eval()
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    found = []
    for start in range(0, len(files), BATCH):
        pixels = np.stack([np.asarray(Image.open(path)) for path in files[start : start + BATCH]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        found.append(model.forward_backend((images - mean) / std).softmax(dim=1))
    return torch.cat(found).numpy()


def train(task: Task) -> Trained:
    """Train the steps that fit, and take the best checkpoint."""
    run = task.work / "lightly"
    clock = Clock()
    steps = steps_that_fit(task, clock)
    fit(task, run, steps)
    clock.stop()
    model = lightly_train.load_model(run / "exported_models" / "exported_best.pt")
    validation = accuracy_of(probabilities(model, task.files("val")), task.labels("val"))
    clock.note(validation)
    return Trained(
        version=lightly_train.__version__,
        clock=clock,
        epochs=(steps + SHORT + LONG) * BATCH / len(task.files("train")),
        validation_accuracy=validation,
        head_accuracy=None,
        probabilities=probabilities(model, task.files("test")),
    )


if __name__ == "__main__":
    serve(train)
