"""Images decoded once into memory-mapped uint8, then made a network's input in batches.

The first half writes a listing's images at the working size; the second resizes and normalises
whole batches on the device, augmented where that is asked for. Neither knows splits, classes or
networks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from seewhy.data.decoding.fit import Fit
from seewhy.data.pixel_augmentation import augment
from seewhy.data.sources.listing import Listing
from seewhy.errors import UnreadableImageError
from seewhy.runtime.progress import Progress
from seewhy.storage.atomic_writing import writing
from seewhy.storage.npz_files import write_header
from seewhy.storage.schemas.dataset import Dataset, Preprocess, SetAside
from seewhy.storage.schemas.input_size import sides
from seewhy.wording import count, some

CHUNK = 16

Item = TypeVar("Item")


@dataclass(frozen=True)
class DecodedImages:
    """What became of a listing's images."""

    # (M, H, W, 3): the readable ones, memory-mapped, in the listing's order.
    pixels: NDArray[np.uint8]
    indices: NDArray[np.int64]  # (M,): their places in the listing
    sizes: NDArray[np.int64]  # (M, 2): their heights and widths as they were decoded, pixels
    set_aside: tuple[SetAside, ...]  # the others, and why


def keep_pixels(listing: Listing, fit: Fit, path: Path, progress: Progress) -> DecodedImages:
    """Decode every image of a listing once, in threads, and keep the readable ones on disk.

    `fit` brings each to the working size H × W. The ``.npy`` file at `path` appears when it is
    complete; raises RunError where it cannot be written.
    """
    indices: list[int] = []
    sizes: list[tuple[int, ...]] = []
    set_aside: list[SetAside] = []

    def work(index: int) -> tuple[NDArray[np.uint8], tuple[int, ...]] | UnreadableImageError:
        try:
            image = listing.load(index)
        except UnreadableImageError as error:
            return error
        return fit.picture(image), image.shape[:2]

    def readable() -> Iterator[NDArray[np.uint8]]:
        count = len(listing.paths)
        with progress.task("decode images", count) as advance:
            for index, done in enumerate(in_threads(work, count)):
                if isinstance(done, UnreadableImageError):
                    set_aside.append(SetAside(listing.paths[index], done.reason))
                else:
                    fitted, shape = done
                    indices.append(index)
                    sizes.append(shape)
                    yield fitted
                advance(1)

    _write_rows(path, readable(), (*sides(fit.size), 3), np.dtype(np.uint8))
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    return DecodedImages(
        pixels,
        np.array(indices, dtype=np.int64),
        np.array(sizes, dtype=np.int64).reshape(-1, 2),
        tuple(set_aside),
    )


@dataclass(frozen=True)
class KeptMasks:
    """What became of a listing's object masks, by the images' places among those that were kept.

    `masks` (M, H, W) are memory-mapped, all False for an image without. `refused` says why a mask
    cannot be used; `blank` mark nothing; `lost` mark nothing within the image as it is shown;
    `scaled` have another size than their picture.
    """

    masks: NDArray[np.bool_]
    refused: Mapping[int, str]
    blank: tuple[int, ...]
    lost: tuple[int, ...]
    scaled: tuple[int, ...]


def keep_masks(listing: Listing, indices: NDArray[np.int64], fit: Fit, path: Path) -> KeptMasks:
    """Write the masks of the images that were kept, fitted as their images were.

    The listing has a `load_mask`; `indices` (M,) are those of `DecodedImages`. Raises RunError
    where the ``.npy`` file at `path` cannot be written.
    """
    load_mask = listing.load_mask
    assert load_mask is not None
    refused: dict[int, str] = {}
    blank: list[int] = []
    lost: list[int] = []
    scaled: list[int] = []

    def rows() -> Iterator[NDArray[np.bool_]]:
        for place, index in enumerate(indices.tolist()):
            try:
                mask = load_mask(index)
                if mask.size > 1 and listing.mask_is_scaled(index):
                    scaled.append(place)
            except UnreadableImageError as error:
                refused[place] = error.reason
                mask = np.zeros((1, 1), dtype=bool)
            fitted = fit.mask(mask)
            if mask.size > 1 and not fitted.any():
                (lost if mask.any() else blank).append(place)
            yield fitted

    _write_rows(path, rows(), sides(fit.size), np.dtype(np.bool_))
    masks: NDArray[np.bool_] = np.load(path, mmap_mode="r", allow_pickle=False)
    return KeptMasks(masks, refused, tuple(blank), tuple(lost), tuple(scaled))


def mask_sentences(data: Dataset, kept: KeptMasks | None) -> list[str]:
    """Name the masks that cannot be used."""
    if kept is None or not kept.refused:
        return []
    reasons = [f"{data.paths[place]}: {reason}" for place, reason in kept.refused.items()]
    return [f"{count(len(reasons), 'object mask')} cannot be used: {some(reasons, 3)}."]


def mask_notes(kept: KeptMasks | None) -> list[str]:
    """Say how many images have an object mask, and how the masks were taken."""
    if kept is None:
        return []
    has_mask = sum(bool(mask.any()) for mask in kept.masks)
    parts = [f"{has_mask:,} of {count(len(kept.masks), 'image')} have an object mask"]
    for places, one, many in (
        (
            kept.scaled,
            "has another size than its picture and is scaled",
            "have another size than their pictures and are scaled",
        ),
        (kept.blank, "marks nothing", "mark nothing"),
        (
            kept.lost,
            "marks nothing that is left of the picture at the size in use",
            "mark nothing that is left of the pictures at the size in use",
        ),
    ):
        if places:
            parts.append(f"{count(len(places), 'mask')} {one if len(places) == 1 else many}")
    return [f"{'; '.join(parts)}."]


def in_threads(work: Callable[[int], Item], count: int) -> Iterator[Item]:
    """Yield ``work(0)``, ``work(1)``, … in order, with a few chunks ahead at most."""
    workers = min(16, os.cpu_count() or 1)
    pending: deque[Future[list[Item]]] = deque()

    def work_through(chunk: range) -> list[Item]:
        return [work(index) for index in chunk]

    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for start in range(0, count, CHUNK):
                chunk = range(start, min(start + CHUNK, count))
                pending.append(pool.submit(work_through, chunk))
                if len(pending) > 2 * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _write_rows(
    path: Path, rows: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Write an ``.npy`` file row by row, for a number of rows that is known at its end.

    A full disk is an error of ``write``; of a memory map it would be the end of the process.
    """
    count = 0
    with writing(path) as part, part.open("wb") as stream:
        write_header(stream, dtype, (0, *shape))
        for row in rows:
            stream.write(np.ascontiguousarray(row, dtype=dtype).data)
            count += 1
        stream.seek(0)
        # The format leaves room for the first axis to grow, so the header's length stays.
        write_header(stream, dtype, (count, *shape))


def mirror(images: Tensor) -> Tensor:
    """Exchange left and right of images (B, C, H, W), as a network takes them."""
    return images.flip(3)


def to_input(
    pixels: Tensor,
    preprocess: Preprocess,
    device: torch.device | str,
    augmentations: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Turn a batch of kept pixels into a backbone's input, on the device.

    The order is: move, scale to 0 … 1, augment (at the working size), resize antialiased, clamp
    what a bicubic filter overshoots, normalise.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, H, W, 3)
    preprocess : Preprocess
        What the backbone's weights were trained with.
    device : torch.device or str
    augmentations : sequence of str, optional
        See `seewhy.data.pixel_augmentation.augment`.
    generator : torch.Generator, optional
        Needed where there are augmentations.

    Returns
    -------
    Tensor of float32, shape (B, 3, height, width)
        In channels-last memory.
    """
    # As bytes over the bus: a quarter of the floats.
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
    if augmentations:
        if generator is None:
            raise ValueError("expected a generator with augmentations, but got None")
        images = augment(images, augmentations, generator)
    if images.shape[-2:] != preprocess.sides:
        # Channels first: the processor resizes these twice as fast as channels last.
        images = F.interpolate(
            images.contiguous(),
            size=preprocess.sides,
            mode=preprocess.interpolation,
            align_corners=False,
            antialias=True,
        ).clamp_(0, 1)
    mean = torch.tensor(preprocess.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocess.std, device=images.device).view(1, 3, 1, 1)
    return images.contiguous(memory_format=torch.channels_last).sub_(mean).div_(std)
