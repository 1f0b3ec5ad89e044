"""What the drivers of all peers share: what they are told, the clock, what they hand back.

Needs NumPy alone, since every peer's environment imports it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ARCHITECTURE = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Task:
    """What a driver is told.

    `images` is a folder with ``train/CLASS/``, ``val/CLASS/`` and ``test/CLASS/``, squares of one
    `size`; `weights` a folder in timm's layout; `work` a folder for the peer's own files.
    """

    images: Path
    weights: Path
    work: Path
    size: int
    seed: int
    budget: float
    options: tuple[str, ...]

    @property
    def weights_file(self) -> Path:
        """The weights alone, under timm's names."""
        return self.weights / "model.safetensors"

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""
        return sorted(path.name for path in (self.images / "train").iterdir())

    def files(self, split: str) -> list[Path]:
        """Return a split's images, class by class."""
        return sorted((self.images / split).glob("*/*.png"))

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return the labels of `files`."""
        classes = self.classes
        return np.array([classes.index(path.parent.name) for path in self.files(split)], np.int64)


class Clock:
    """Counts from its making until `stop`; keeps validation accuracy over time."""

    def __init__(self) -> None:
        self.began = time.time()  # since 1970, for libraries that log such times
        self._start = time.perf_counter()
        self.stopped: float | None = None
        self.peak_mib = 0.0
        self.curve: list[tuple[float, float]] = []

    @property
    def seconds(self) -> float:
        """Seconds until now, or until it was stopped."""
        return time.perf_counter() - self._start if self.stopped is None else self.stopped

    def note(self, accuracy: float) -> None:
        """Add a point to the curve."""
        self.curve.append((round(self.seconds, 2), float(accuracy)))

    def stop(self) -> None:
        """Stop, and read the process's peak memory: the weights are final."""
        self.stopped = self.seconds
        self.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class Trained:
    """What a driver hands back.

    Attributes
    ----------
    version : str
        Of the peer.
    clock : Clock
        Stopped.
    epochs : float
        Passes over the training images in which the network, or its head, was trained.
    validation_accuracy : float
        Of the final weights.
    head_accuracy : float, optional
        Validation accuracy with the trunk as it was pretrained; None where the peer has no such
        step.
    probabilities : ndarray, (N, K)
        Of the test images, in the order of `Task.files`.
    """

    version: str
    clock: Clock
    epochs: float
    validation_accuracy: float
    head_accuracy: float | None
    probabilities: NDArray[np.float32]


def serve(train: Callable[[Task], Trained]) -> None:
    """Read the task from the command line, train, and write ``trained.json`` and ``test.npz``."""
    parser = argparse.ArgumentParser()
    for name in ("images", "weights", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("size", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--budget", type=float, required=True)
    parser.add_argument("--options", nargs="*", default=())
    given = parser.parse_args()
    task = Task(**{**vars(given), "options": tuple(given.options)})
    found = train(task)
    np.savez_compressed(task.work / "test.npz", probabilities=found.probabilities)
    written = {
        "version": found.version,
        "seconds": found.clock.seconds,
        "epochs": found.epochs,
        "peak_rss_mib": found.clock.peak_mib,
        "validation_accuracy": found.validation_accuracy,
        "head_accuracy": found.head_accuracy,
        "curve": found.clock.curve,
    }
    (task.work / "trained.json").write_text(json.dumps(written), "utf-8")


def workers() -> int:
    """Return how many processes load images where a library has no default of its own."""
    return os.cpu_count() or 1


def epochs_that_fit(left: float, epoch: float, least: int = 1) -> int:
    """Return how many epochs fit in the seconds that are left."""
    return max(least, int(left / epoch))


def accuracy_of(probabilities: Sequence[Sequence[float]], labels: NDArray[np.int64]) -> float:
    """Return the share of predictions that are right."""
    return float((np.asarray(probabilities).argmax(axis=1) == labels).mean())
