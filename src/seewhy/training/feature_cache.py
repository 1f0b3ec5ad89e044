"""Features computed once: an image passes a frozen layer one time.

One pass over all images runs the prefix and the tail as they came, and keeps what later stages
need: pooled trunk features for adaptation, activations at the cut for fine-tuning (where the
budget allows), the ImageNet classifier's probabilities for the baseline. Knows nothing of heads,
losses or epochs.
"""

from __future__ import annotations

import os
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
from torch import Tensor

from seewhy.config import StudyConfig
from seewhy.errors import RunError
from seewhy.models.backbones import Backbone
from seewhy.models.classifier import pool
from seewhy.models.cut import Cut
from seewhy.runtime.device import Compute, finish
from seewhy.runtime.progress import Progress
from seewhy.storage.atomic_writing import write_error
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.training import Place
from seewhy.training.cut_activations import CutInput, make_store
from seewhy.training.memory_plan import (
    ActivationPlan,
    MemoryBudget,
    plan_activations,
    read_budget,
    resume_plan,
)

BATCH = 64


@dataclass(frozen=True)
class FeatureCache:
    """What one pass over the images leaves behind."""

    # (N, C) float32, on the device: pooled trunk features of every image, in the data set's
    # order.
    pooled: Tensor
    # (T, M): the untouched classifier's answers for the test images.
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
    recorded: Place | None = None,
) -> Iterator[FeatureCache]:
    """Run every image through the trunk once and keep what the stages need.

    Parameters
    ----------
    backbone, cut
        On the compute device, untrained.
    data : Dataset
    compute : Compute
    config : StudyConfig
    folder : Path
        Where activations are stored if the disk is chosen; the file goes when the context ends.
    progress : Progress
    recorded : {"memory", "disk", "recompute"}, optional
        Where activations were kept when the backbone was started; default: it has not been.

    Raises
    ------
    RunError
        Where the disk is full, or a study that is resumed has not the room that it needs.
    """
    started = time.perf_counter()
    augmentations, views = config.input.augmentations, config.finetuning.views
    shape = (cut.shape[1], cut.shape[2], cut.shape[0])
    keepable = _keepable(data, views if augmentations else 1)
    count = int(keepable.sum())
    dtype = _dtype_at_cut(backbone, cut, compute)
    item = prod(shape) * dtype.itemsize
    folder.mkdir(parents=True, exist_ok=True)
    at_cut = CutInput(
        data,
        backbone.preprocess,
        cut.prefix,
        compute,
        ActivationPlan("recompute", ""),
        augmentations,
        views,
        config.seed,
    )
    budget = read_budget(config.finetuning, folder)
    plan = _plan(at_cut, config.finetuning.keep, count, item, budget, folder, compute, recorded)
    if augmentations:
        plan = ActivationPlan(plan.place, f"{plan.reason}, {_views_note(augmentations, views)}")
    at_cut.plan = plan
    spill = folder / ".activations.part"
    try:
        if at_cut.plan.place != "recompute" and count:
            store = make_store(at_cut.plan.place, (count, *shape), dtype, spill)
            rows = torch.full(keepable.shape, -1, dtype=torch.int64)
            rows[torch.from_numpy(keepable)] = torch.arange(count)
            at_cut.keep_in(store, rows)
            _keep_views(at_cut, keepable, progress, f"{folder.name}: augmented versions")
        title = f"{folder.name}: features"
        pooled, probabilities = _pass(backbone, cut, data, compute, at_cut, progress, title)
        yield FeatureCache(pooled, probabilities, at_cut, time.perf_counter() - started)
    finally:
        spill.unlink(missing_ok=True)


def _keepable(data: Dataset, views: int) -> NDArray[np.bool_]:
    """Return which versions of which images are worth keeping, (N, at least 1).

    Column 0 is for images as they are, the others are for augmented versions: of validation images
    too, since they are trained on in other folds. Without a fixed number of versions (0) training
    images are new every time.
    """
    splits = np.asarray(data.splits)
    if not views:
        return np.asarray(splits != "train")[:, None]
    keepable: NDArray[np.bool_] = np.repeat((splits != "test")[:, None], views, axis=1)
    keepable[:, 0] = True
    return keepable


def _views_note(augmentations: tuple[str, ...], views: int) -> str:
    names = " and ".join(augmentations)
    if not views:
        return f"without the training images, which {names} change every time"
    return f"with {views} versions of each training image by {names}"


def _keep_views(
    at_cut: CutInput, keepable: NDArray[np.bool_], progress: Progress, title: str
) -> None:
    """Run the augmented versions of the images through the prefix and keep them."""
    total = int(keepable[:, 1:].sum())
    if not total:
        return
    with progress.task(title, total) as advance:
        for view in range(1, keepable.shape[1]):
            every = np.flatnonzero(keepable[:, view])
            for start in range(0, len(every), BATCH):
                indices = every[start : start + BATCH]
                versions = at_cut.versions(indices, np.full(len(indices), view))
                at_cut.put(indices, at_cut.activations(versions), view)
                advance(len(indices))


def _plan(
    at_cut: CutInput,
    keep: Literal["auto", "memory", "disk", "recompute"],
    images: int,
    item: int,
    budget: MemoryBudget,
    folder: Path,
    compute: Compute,
    recorded: Place | None,
) -> ActivationPlan:
    """Decide where `images` activations of `item` bytes are kept; what was recorded stays."""
    needed = images * item
    if recorded is not None and keep == "auto":
        plan = resume_plan(recorded, needed, budget)
    else:
        recompute, read = 0.0, 0.0
        if keep == "auto" and budget.memory < needed <= budget.disk:
            recompute, read = _measure(at_cut, images, needed, folder, compute.device)
        plan = plan_activations(keep, needed, budget, recompute, read)
    was_kept = recorded is not None and recorded != "recompute"
    is_other = recorded is not None and was_kept != (plan.place != "recompute")
    if is_other and not at_cut.is_repeatable():
        advice = "leave finetuning.keep out"
        if was_kept:
            size = f"{needed / 2**30:.2f} GiB"
            advice = f"free {size} of memory or disk space, or raise finetuning.memory_gib"
        raise RunError(
            f"{folder.name}: was started with activations at the cut "
            f"{'kept' if was_kept else 'recomputed'}, and on this device they would now be "
            f"{plan}, with other last digits; {advice}"
        )
    return plan


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
            activations = at_cut.activations(at_cut.images(indices))
            at_cut.put(indices, activations)
            with compute.autocast():
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
    with compute.autocast():
        activation: Tensor = cut.prefix(
            torch.zeros(1, 3, *backbone.preprocess.sides, device=compute.device)
        )
    return activation.dtype


def _measure(
    at_cut: CutInput, images: int, size: int, folder: Path, device: torch.device
) -> tuple[float, float]:
    """Return the seconds an epoch takes with the prefix run again, and read from disk."""
    # An image may have several versions: `images` counts these, indices only images.
    sample = np.arange(min(at_cut.images_there, BATCH), dtype=np.int64)
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
