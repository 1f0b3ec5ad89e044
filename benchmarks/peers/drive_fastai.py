"""fastai as its README shows it: `vision_learner`, then `fine_tune`.

With the option ``bnfreeze`` the trunk's batch normalisation keeps its running statistics while the
trunk is frozen: `train_bn=False` and the callback `BnFreeze`.
"""

from __future__ import annotations

import time

import fastai
from fastai.vision.all import (
    BnFreeze,
    Callback,
    CancelFitException,
    ImageDataLoaders,
    Learner,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)

from benchmarks.peers.driver import ARCHITECTURE, Clock, Task, Trained, epochs_that_fit, serve

MEASURED_STEPS = 20


class Curve(Callback):
    """Notes the validation accuracy after each epoch; after the `Recorder`, which has it."""

    order = 60

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def after_epoch(self) -> None:
        """Note the last metric."""
        self.clock.note(self.learn.recorder.values[-1][-1])


class Timing(Callback):
    """Ends a fit after some steps and keeps when each ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_batch(self) -> None:
        """Keep the time."""
        self.ends.append(time.perf_counter())
        if len(self.ends) == MEASURED_STEPS:
            raise CancelFitException


def epoch_seconds(learn: Learner) -> float:
    """Measure some steps of a throw-away learner; return what an epoch with validation takes."""
    learn.unfreeze()
    timing, started = Timing(), time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, cbs=timing)
    if len(timing.ends) < MEASURED_STEPS:
        return time.perf_counter() - started
    # The first step waits for the loader; validation is a forward pass alone.
    step = (timing.ends[-1] - timing.ends[0]) / (len(timing.ends) - 1)
    images = len(learn.dls.train_ds) + len(learn.dls.valid_ds) / 3
    return step * images / learn.dls.train.bs


def new_learner(task: Task, clock: Clock) -> Learner:
    """Return a learner with loaders of its own: each one adds its normalisation to them."""
    freeze = "bnfreeze" in task.options
    dls = ImageDataLoaders.from_folder(
        task.images, train="train", valid="val", batch_tfms=aug_transforms()
    )
    return vision_learner(
        dls,
        ARCHITECTURE,
        metrics=accuracy,
        # With True, BnFreeze finds no layer to freeze: norms are trained in the frozen trunk.
        train_bn=not freeze,
        cbs=[Curve(clock), *([BnFreeze()] if freeze else [])],
        pretrained_cfg_overlay={"file": str(task.weights_file)},
    )


def train(task: Task) -> Trained:
    """Train as many epochs as fit after the frozen one."""
    set_seed(task.seed)
    clock = Clock()
    epoch = epoch_seconds(new_learner(task, clock))
    clock.curve.clear()
    learn = new_learner(task, clock)
    # One epoch is the frozen one.
    epochs = epochs_that_fit(task.budget - clock.seconds - epoch, epoch)
    learn.fine_tune(epochs)
    clock.stop()
    assert list(learn.dls.vocab) == task.classes
    learn.remove_cbs(Curve)  # predictions are an epoch, too
    tested, _ = learn.get_preds(dl=learn.dls.test_dl(task.files("test")))
    return Trained(
        version=fastai.__version__,
        clock=clock,
        epochs=epochs + 1,
        validation_accuracy=clock.curve[-1][1],
        head_accuracy=clock.curve[0][1],
        probabilities=tested.numpy(),
    )


if __name__ == "__main__":
    serve(train)
