"""What a study's numbers depend on, and what they took: versions, machine, times, memory."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from seewhy.config import StudyConfig
from seewhy.runtime.device import Compute
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.provenance import Provenance, RunFingerprint

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "optuna")


class Clock:
    """Measures a study and its parts, wall-clock seconds."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self.started

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what happens inside under `name`."""
        started = time.perf_counter()
        yield
        self.parts[name] = time.perf_counter() - started


def provenance(
    config: StudyConfig,
    compute: Compute,
    fingerprint: RunFingerprint,
    clock: Clock,
    command: Sequence[str],
) -> Provenance:
    """Return the provenance record of a study that ends; times are of this process alone."""
    return Provenance(
        seewhy=_version("seewhy"),
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        device=compute.name,
        precision=compute.precision,
        seed=config.seed,
        versions=fingerprint.versions,
        command=list(command),
        started=fingerprint.started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        starts=fingerprint.starts,
        seconds=clock.seconds,
        seconds_by_part=clock.parts,
        peak_memory_gib=peak_memory() / 2**30,
        data_key=fingerprint.data_key,
        weights_keys=fingerprint.weights_keys,
    )


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    return {name: _version(name) for name in _PACKAGES}


def data_key(data: Dataset) -> str:
    """Return a SHA-256 over every image, label, split and weight: equal keys, equal data."""
    digest = hashlib.sha256()
    for start in range(0, len(data.pixels), 1024):
        digest.update(data.pixels[start : start + 1024].tobytes())
    digest.update(repr((data.classes, data.ids, data.labels.tolist(), data.splits)).encode())
    if data.weights is not None:
        digest.update(data.weights.tobytes())
    return digest.hexdigest()


def peak_memory() -> int:
    """Return the most memory this process has held, bytes; 0 where it is not reported."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree, or another build of the package
        return "not installed under this name"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
