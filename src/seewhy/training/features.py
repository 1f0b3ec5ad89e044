"""Features computed once: an image passes a frozen layer one time.

One pass over all images runs the prefix and the tail as they came, and keeps what later stages
need: pooled trunk features for adaptation, activations at the cut for fine-tuning (where the
budget allows), the ImageNet classifier's probabilities for the baseline. Knows nothing of heads,
losses or epochs.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.config import FinetuningConfig, StudyConfig
from seewhy.data.pixels import to_input
from seewhy.files.writing import write_error
from seewhy.models.backbones import Backbone
from seewhy.models.classifier import pool
from seewhy.models.compute import Compute, finish
from seewhy.models.cut import Cut
from seewhy.progress import Progress
from seewhy.records import Dataset, Preprocess

BATCH = 64
_GIB = 2**30

# Where Linux tells a container its limit and what it uses, versions 2 and 1.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

Place = Literal["memory", "disk", "recompute"]


@dataclass(frozen=True)
class Plan:
    """Where the activations at the cut lie between epochs, and why (one sentence)."""

    place: Place
    reason: str

    def __str__(self) -> str:
        words = {
            "memory": "kept in memory",
            "disk": "kept on disk",
            "recompute": "computed anew in every epoch",
        }
        return f"{words[self.place]}: {self.reason}"


@dataclass(frozen=True)
class Budget:
    """Bytes that kept activations may take."""

    memory: int
    disk: int


def read_budget(config: FinetuningConfig, folder: Path) -> Budget:
    """Return the configured budgets; where none is set, half of what is free now."""
    memory = config.memory_gib * _GIB if config.memory_gib is not None else _free_memory() / 2
    disk = (
        config.disk_gib * _GIB
        if config.disk_gib is not None
        else shutil.disk_usage(folder).free / 2
    )
    return Budget(int(memory), int(disk))


def _free_memory() -> int:
    """Return the memory that can be had without swapping, bytes; a container's own, inside one."""
    free = _system_memory()
    for limit, used in _CGROUPS:
        try:
            left = int(Path(limit).read_text("ascii")) - int(Path(used).read_text("ascii"))
        except (OSError, ValueError):  # no such file, or "max"
            continue
        free = min(free, max(left, 0))
    return free


def _system_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * _GIB


def plan_activations(
    keep: Literal["auto", "memory", "disk", "recompute"],
    needed: int,
    budget: Budget,
    recompute_seconds: float,
    read_seconds: float,
) -> Plan:
    """Decide where the activations at the cut lie between epochs.

    Memory is taken wherever it suffices. A disk is taken where reading an epoch's activations
    from it costs less than running the prefix again; both times are measured on this machine.

    Parameters
    ----------
    keep : {"auto", "memory", "disk", "recompute"}
        Anything but ``auto`` is obeyed.
    needed : int
        Bytes of all activations to keep.
    budget : Budget
    recompute_seconds, read_seconds : float
        What an epoch's worth of either would take.
    """
    size = f"{needed / _GIB:.2f} GiB of activations at the cut"
    if keep != "auto":
        return Plan(keep, f"{size}: {keep} was asked for")
    if needed <= budget.memory:
        return Plan("memory", f"{size} fit the memory budget of {budget.memory / _GIB:.2f} GiB")
    over = f"{size} exceed the memory budget of {budget.memory / _GIB:.2f} GiB"
    if needed > budget.disk:
        return Plan("recompute", f"{over} and the disk budget of {budget.disk / _GIB:.2f} GiB")
    costs = (
        f"reading them takes {read_seconds:.1f} s an epoch, the prefix {recompute_seconds:.1f} s"
    )
    return Plan("disk" if read_seconds < recompute_seconds else "recompute", f"{over}; {costs}")


class CutInput:
    """What the tail is fed with: kept activations, or pixels sent through the prefix again.

    Parameters
    ----------
    data : Dataset
    preprocess : Preprocess
    prefix : nn.Module
        Frozen, in evaluation mode, on the device.
    compute : Compute
    plan : Plan
    augmentations : tuple of str
        Applied to training batches, whose activations are then never kept.
    """

    def __init__(
        self,
        data: Dataset,
        preprocess: Preprocess,
        prefix: nn.Module,
        compute: Compute,
        plan: Plan,
        augmentations: tuple[str, ...] = (),
    ) -> None:
        self.plan = plan
        self._data = data
        self._preprocess = preprocess
        self._prefix = prefix
        self._compute = compute
        self._augmentations = augmentations
        self._kept: Tensor | None = None
        self._rows: Tensor | None = None

    def keep_in(self, store: Tensor, rows: Tensor) -> None:
        """Take `store` (M, H, W, C) to hold the activations; `rows` (N,) gives -1 or a row."""
        self._kept, self._rows = store, rows

    def put(self, indices: NDArray[np.int64], activations: Tensor) -> None:
        """Keep the activations (B, C, H, W) of those images that are to be kept."""
        if self._kept is None or self._rows is None:
            return
        rows = self._rows[torch.from_numpy(indices)]
        chosen = rows >= 0
        if chosen.any():
            laid = activations.detach().permute(0, 2, 3, 1)[chosen.to(activations.device)]
            self._kept[rows[chosen]] = laid.to(self._kept.device, self._kept.dtype)

    @torch.no_grad()
    def batch(self, indices: NDArray[np.int64], generator: torch.Generator | None = None) -> Tensor:
        """Return activations at the cut, (B, C, H, W), which the caller may overwrite.

        With a `generator` the images are augmented, where augmentation is on.
        """
        if not (generator and self._augmentations) and self._kept is not None:
            assert self._rows is not None
            rows = self._rows[torch.from_numpy(indices)]
            if bool((rows >= 0).all()):
                return self._kept[rows].to(self._compute.device).permute(0, 3, 1, 2)
        images = self.images(indices, generator)
        with self._compute.autocast():
            activations: Tensor = self._prefix(images)
        return activations

    @torch.no_grad()
    def images(
        self, indices: NDArray[np.int64], generator: torch.Generator | None = None
    ) -> Tensor:
        """Return preprocessed images (B, 3, size, size), augmented where a generator is given."""
        pixels = torch.from_numpy(self._data.pixels[indices])
        wanted = self._augmentations if generator is not None else ()
        return to_input(pixels, self._preprocess, self._compute.device, wanted, generator)


@dataclass(frozen=True)
class Features:
    """What one pass over the images leaves behind.

    Attributes
    ----------
    pooled : Tensor, (N, C) float32, on the device
        Pooled trunk features of every image, in the data set's order.
    probabilities : ndarray of float32, (T, M), or None
        The untouched classifier's answers for the test images.
    at_cut : CutInput
    seconds : float
    """

    pooled: Tensor
    probabilities: NDArray[np.float32] | None
    at_cut: CutInput
    seconds: float


@contextmanager
def keeping_features(
    backbone: Backbone,
    cut: Cut,
    data: Dataset,
    compute: Compute,
    config: StudyConfig,
    folder: Path,
    progress: Progress,
) -> Iterator[Features]:
    """Run every image through the trunk once and keep what the stages need.

    Parameters
    ----------
    backbone, cut
        On the compute device, untrained.
    data : Dataset
    compute : Compute
    config : StudyConfig
    folder : Path
        Where activations lie if the disk is chosen; the file goes when the context ends.
    progress : Progress

    Yields
    ------
    Features
    """
    started = time.perf_counter()
    augmentations, keep = config.input.augmentations, config.finetuning.keep
    shape = (cut.shape[1], cut.shape[2], cut.shape[0])
    # Augmented training images differ in every epoch; only the others are worth keeping.
    keepable = np.asarray(data.splits) != "train" if augmentations else np.full(len(data.ids), True)
    count = int(keepable.sum())
    dtype = _dtype_at_cut(backbone, cut, compute)
    item = prod(shape) * dtype.itemsize
    folder.mkdir(parents=True, exist_ok=True)
    budget = read_budget(config.finetuning, folder)
    at_cut = CutInput(
        data, backbone.preprocess, cut.prefix, compute, Plan("recompute", ""), augmentations
    )
    recompute, read = 0.0, 0.0
    if keep == "auto" and budget.memory < count * item <= budget.disk:
        recompute, read = _measure(at_cut, count, count * item, folder, compute.device)
    plan = plan_activations(keep, count * item, budget, recompute, read)
    if augmentations:
        note = f"without the training images, which {' and '.join(augmentations)} change every time"
        plan = Plan(plan.place, f"{plan.reason}, {note}")
    at_cut.plan = plan
    spill = folder / ".activations.part"
    try:
        if at_cut.plan.place != "recompute" and count:
            store = _store(at_cut.plan.place, (count, *shape), dtype, spill)
            rows = torch.full((len(data.ids),), -1, dtype=torch.int64)
            rows[torch.from_numpy(keepable)] = torch.arange(count)
            at_cut.keep_in(store, rows)
        title = f"{folder.name}: features"
        pooled, probabilities = _pass(backbone, cut, data, compute, at_cut, progress, title)
        yield Features(pooled, probabilities, at_cut, time.perf_counter() - started)
    finally:
        spill.unlink(missing_ok=True)


@torch.no_grad()
def _pass(
    backbone: Backbone,
    cut: Cut,
    data: Dataset,
    compute: Compute,
    at_cut: CutInput,
    progress: Progress,
    title: str,
) -> tuple[Tensor, NDArray[np.float32] | None]:
    pooled: list[Tensor] = []
    answers: list[Tensor] = []
    total = len(data.ids)
    # Images of one split together, so that only test batches need the old classifier.
    order = np.concatenate([data.where(split) for split in ("train", "validation", "test")])
    is_test = np.asarray(data.splits)[order] == "test"
    with progress.task(title, total) as advance:
        for start in range(0, total, BATCH):
            indices = order[start : start + BATCH]
            with compute.autocast():
                activations = cut.prefix(at_cut.images(indices))
                at_cut.put(indices, activations)
                maps = cut.tail(activations)
                pooled.append(pool(maps))
                if backbone.wnids is not None and is_test[start : start + BATCH].any():
                    chosen = torch.from_numpy(is_test[start : start + BATCH]).to(maps.device)
                    logits = backbone.model.forward_head(maps[chosen])  # type: ignore[operator]
                    answers.append(logits.float().softmax(dim=1).cpu())
            advance(len(indices))
    back = torch.from_numpy(np.argsort(order))
    features = torch.cat(pooled)[back.to(compute.device)]
    probabilities = torch.cat(answers).numpy() if answers else None
    return features, probabilities


@torch.no_grad()
def _dtype_at_cut(backbone: Backbone, cut: Cut, compute: Compute) -> torch.dtype:
    """Return what the prefix puts out: under autocast not every layer's output is bfloat16."""
    size = backbone.preprocess.size
    with compute.autocast():
        activation: Tensor = cut.prefix(torch.zeros(1, 3, size, size, device=compute.device))
    return activation.dtype


def _store(place: Place, shape: tuple[int, ...], dtype: torch.dtype, spill: Path) -> Tensor:
    if place == "memory":
        return torch.empty(shape, dtype=dtype)
    size = prod(shape)
    try:
        with spill.open("wb") as stream:
            _reserve(stream.fileno(), size * dtype.itemsize)
    except OSError as error:
        raise write_error(spill, error) from error
    store = torch.from_file(str(spill), shared=True, size=size, dtype=dtype).view(shape)
    if os.name == "posix":
        # Mapped, it needs no name; so a killed study leaves nothing behind.
        spill.unlink()
    return store


def _reserve(descriptor: int, length: int) -> None:
    """Ask for a file's whole length at once: a full disk is an error now, not a bus error later."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, length)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    # Some network file systems reserve nothing.
    os.ftruncate(descriptor, length)


def _measure(
    at_cut: CutInput, images: int, size: int, folder: Path, device: torch.device
) -> tuple[float, float]:
    """Return the seconds an epoch takes with the prefix run again, and read from disk."""
    sample = np.arange(min(images, BATCH), dtype=np.int64)
    at_cut.batch(sample)
    finish(device)
    started = time.perf_counter()
    at_cut.batch(sample)
    finish(device)
    recompute = (time.perf_counter() - started) / len(sample) * images
    probe = folder / ".disk-speed.part"
    block = os.urandom(min(size, 32 * 2**20))
    try:
        with probe.open("wb") as stream:
            stream.write(block)
            os.fsync(stream.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started = time.perf_counter()
        probe.read_bytes()
        read = (time.perf_counter() - started) / len(block) * size
    except OSError as error:
        raise write_error(probe, error) from error
    finally:
        probe.unlink(missing_ok=True)
    return recompute, read
