"""What the tail is fed with: activations at the cut, kept or computed again.

Both are equal to the last bit. Processors and GPUs add up an image's products in an order that
depends on the size of its batch, so the prefix always runs on batches of one size, filled up with
zeros; which images share a batch, and at which place, then makes no difference. Knows nothing of
heads, losses or epochs.
"""

from __future__ import annotations

import errno
import os
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.data.pixels import to_input
from seewhy.runtime.device import Compute
from seewhy.runtime.seeding import seed_of
from seewhy.storage.atomic_writing import write_error
from seewhy.storage.schemas.dataset import Dataset, Preprocess
from seewhy.storage.schemas.training import Place
from seewhy.training.memory_plan import ActivationPlan

# Images that pass the prefix at once. No training batch is smaller on the processor, where larger
# batches are no quicker; a GPU takes a filled-up batch as fast as a small one.
CPU_BATCH, GPU_BATCH = 16, 64


def through_prefix(prefix: nn.Module, images: Tensor, compute: Compute) -> Tensor:
    """Run images (B, 3, size, size) through the prefix; each result is independent of the others.

    The activations (B, C, H, W) have the channels last in memory.
    """
    size = CPU_BATCH if compute.device.type == "cpu" else GPU_BATCH
    found = []
    for start in range(0, len(images), size):
        part = filled = images[start : start + size]
        if len(part) < size:
            filled = images.new_zeros(size, *images.shape[1:])
            filled = filled.contiguous(memory_format=torch.channels_last)
            filled[: len(part)] = part
        with compute.autocast():
            activations: Tensor = prefix(filled)
        found.append(activations[: len(part)].permute(0, 2, 3, 1))
    return torch.cat(found).contiguous().permute(0, 3, 1, 2)


class CutInput:
    """What the tail is fed with: kept activations, or pixels sent through the prefix again.

    Parameters
    ----------
    data : Dataset
    preprocess : Preprocess
    prefix : nn.Module
        Frozen, in evaluation mode, on the device.
    compute : Compute
    plan : ActivationPlan
    augmentations : tuple of str
        Applied to training batches.
    views : int, default 0
        How many versions of a training image there are, itself and augmented ones, of which each
        batch takes one by chance: few enough to be kept. 0: a new one every time, never kept.
    seed : int, default 0
        Of the augmented versions.
    """

    def __init__(
        self,
        data: Dataset,
        preprocess: Preprocess,
        prefix: nn.Module,
        compute: Compute,
        plan: ActivationPlan,
        augmentations: tuple[str, ...] = (),
        views: int = 0,
        seed: int = 0,
    ) -> None:
        self.plan = plan
        self._data = data
        self._preprocess = preprocess
        self._prefix = prefix
        self._compute = compute
        self._augmentations = augmentations
        self.views, self._seed = views, seed
        self._kept: Tensor | None = None
        self._rows: Tensor | None = None

    @property
    def images_there(self) -> int:
        """How many images the data set has."""
        return len(self._data.ids)

    def keep_in(self, store: Tensor, rows: Tensor) -> None:
        """Take `store` (M, H, W, C) to hold the activations; `rows` (N, V) gives -1 or a row.

        Column 0 is for the images as they are, the others are for their augmented versions.
        """
        self._kept, self._rows = store, rows

    def put(self, indices: NDArray[np.int64], activations: Tensor, view: int = 0) -> None:
        """Keep the activations (B, C, H, W) of a version of those images that are to be kept."""
        if self._kept is None or self._rows is None:
            return
        rows = self._rows[torch.from_numpy(indices), view]
        chosen = rows >= 0
        if chosen.any():
            laid = activations.detach().permute(0, 2, 3, 1)[chosen.to(activations.device)]
            self._kept[rows[chosen]] = laid.to(self._kept.device, self._kept.dtype)

    @torch.no_grad()
    def batch(
        self,
        indices: NDArray[np.int64],
        generator: torch.Generator | None = None,
        views: int | None = None,
    ) -> Tensor:
        """Return activations at the cut, (B, C, H, W), which the caller may overwrite.

        With a `generator` the images are augmented, where augmentation is on: where versions are
        kept, by one of the first `views` of them, default all; the first is the image itself.
        """
        if generator is None or not self._augmentations:
            return self._version(indices, np.zeros(len(indices), dtype=np.int64))
        if not self.views:
            return self.activations(self.images(indices, generator))
        most = self.views if views is None else min(views, self.views)
        drawn = torch.randint(most, (len(indices),), generator=generator)
        return self._version(indices, drawn.numpy())

    def _version(self, indices: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Return the activations of a version of each image, kept or computed again."""
        if self._kept is not None and self._rows is not None:
            rows = self._rows[torch.from_numpy(indices), torch.from_numpy(views)]
            if bool((rows >= 0).all()):
                return self._kept[rows].to(self._compute.device).permute(0, 3, 1, 2)
        return self.activations(self.versions(indices, views))

    @torch.no_grad()
    def activations(self, images: Tensor) -> Tensor:
        """Return what the prefix makes of preprocessed images, (B, C, H, W)."""
        return through_prefix(self._prefix, images, self._compute)

    @torch.no_grad()
    def images(
        self, indices: NDArray[np.int64], generator: torch.Generator | None = None
    ) -> Tensor:
        """Return preprocessed images (B, 3, size, size), augmented where a generator is given."""
        pixels = torch.from_numpy(self._data.pixels[indices])
        wanted = self._augmentations if generator is not None else ()
        return to_input(pixels, self._preprocess, self._compute.device, wanted, generator)

    @torch.no_grad()
    def versions(self, indices: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Return a version of each image, preprocessed: 0 is the image itself.

        An augmented one depends on the seed, the image and the version alone: whichever images
        share a batch, it is the same.
        """
        if not views.any():
            return self.images(indices)
        parts = zip(indices.tolist(), views.tolist(), strict=True)
        return torch.cat([self._one_version(index, view) for index, view in parts])

    def _one_version(self, index: int, view: int) -> Tensor:
        seed = seed_of(self._seed, "view", view, index)
        chance = torch.Generator().manual_seed(seed) if view else None
        return self.images(np.array([index]), chance)

    def is_repeatable(self) -> bool:
        """Tell whether activations computed again in another order are equal to the last bit."""
        count = min(CPU_BATCH, len(self._data.ids))
        order = np.arange(count, dtype=np.int64)
        turned = np.roll(order, count // 2)
        first, second = (self.activations(self.images(rows)) for rows in (order, turned))
        return torch.equal(first[torch.from_numpy(turned).to(first.device)], second)


def make_store(place: Place, shape: tuple[int, ...], dtype: torch.dtype, spill: Path) -> Tensor:
    """Make room for activations, in memory or in the file `spill`.

    Raises RunError where the disk is full or the place cannot be written.
    """
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
