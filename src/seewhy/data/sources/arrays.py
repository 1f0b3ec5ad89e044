"""``.npz`` files in CIFAR-10.2's format as a listing, never unpickled.

A file holds ``images`` (N, H, W, 3), ``labels`` (N,) integers and, where classes have names,
``label_names`` (K,). Images are uint8, or other integers and floats, whose black and white
`seewhy.data.decoding.value_levels` decides over both files. Headers are judged before anything is
allocated. This module does not know where the files come from.
"""

from __future__ import annotations

import math
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.data.decoding.high_bit_depth import kind_of_values, span_of_values, values_to_8_bit
from seewhy.data.decoding.value_levels import ValueRange
from seewhy.data.sources.listing import Listing
from seewhy.errors import DataError, UnreadableImageError
from seewhy.storage.schemas.dataset import Split
from seewhy.storage.schemas.levels import Levels

MAX_BYTES = 64 * 2**30
EXPECTED = "expected images (N, H, W, 3) of numbers, labels (N,) integers and label_names (K,)"


@dataclass(frozen=True)
class _Arrays:
    """What one file holds; `names` is None where it has no label_names."""

    images: NDArray[Any]
    labels: NDArray[np.int64]
    names: tuple[str, ...] | None


def list_arrays(train: Path, test: Path | None) -> Listing:
    """List the images of one ``.npz`` file for training and, where given, one for the test.

    Parameters
    ----------
    train : Path
    test : Path, optional
        Its ``label_names`` must be those of `train`.

    Returns
    -------
    Listing
        Splits are None without `test`, else "train" and "test"; classes are called ``0``, ``1``, …
        where there are no label_names.

    Raises
    ------
    DataError
        For a file that is missing, no ``.npz``, pickled, cut short, too large, without one of the
        arrays, or whose arrays do not fit each other.
    """
    files = [train] if test is None else [train, test]
    parts = [_read(file) for file in files]
    first, last = parts[0], parts[-1]
    if last.names != first.names:
        raise DataError(
            f"{test}: its label_names are not those of {train}; expected the same names in the "
            f"same order{_first_difference(first.names, last.names)}"
        )
    images = _Images(tuple(part.images for part in parts))
    names = first.names or _numbers(first.labels, train)
    for part, file in zip(parts, files, strict=True):
        _check_labels(part.labels, len(names), file)
    given: tuple[Split | None, ...] = (None,) if test is None else ("train", "test")
    return Listing(
        source=" and ".join(str(file) for file in files),
        classes=names,
        paths=tuple(
            f"{file.name}[{i}]"
            for part, file in zip(parts, files, strict=True)
            for i in range(len(part.labels))
        ),
        labels=np.concatenate([part.labels for part in parts]),
        splits=tuple(split for split, part in zip(given, parts, strict=True) for _ in part.labels),
        load=images.loader(Levels()),
        native_size=_native_size(parts),
        deep=images,
    )


@dataclass(frozen=True)
class _Images:
    """The images of one file or two, one after the other; see `listing.DeepValues`."""

    parts: tuple[NDArray[Any], ...]

    def _image(self, index: int) -> NDArray[Any]:
        image: NDArray[Any]
        first, last = self.parts[0], self.parts[-1]
        image = first[index] if index < len(first) else last[index - len(first)]
        return image

    def is_deep(self, index: int) -> bool:
        """Tell whether image `index` has more than 8 bits a value."""
        return self._image(index).dtype != np.uint8

    def measure(self, index: int) -> ValueRange | None:
        """Return the range of image `index`'s values; None where none of them is finite."""
        image = self._image(index)
        kind = kind_of_values(image.dtype)
        try:
            return span_of_values(image, kind) if kind else None
        except UnreadableImageError:
            return None

    def loader(self, levels: Levels) -> Callable[[int], NDArray[np.uint8]]:
        """Return what loads an image, with what is black and white in all of them."""

        def load(index: int) -> NDArray[np.uint8]:
            image = self._image(index)
            kind = kind_of_values(image.dtype)
            return values_to_8_bit(image, kind, levels) if kind else image

        return load


def _native_size(parts: list[_Arrays]) -> int | None:
    sides = {side for part in parts for side in part.images.shape[1:3]}
    return int(sides.pop()) if len(sides) == 1 else None


def _read(path: Path) -> _Arrays:
    try:
        if not zipfile.is_zipfile(path):
            # Opening tells a missing or forbidden file from one of another kind.
            path.open("rb").close()
            raise DataError(f"{path}: is no .npz file; {EXPECTED}")
        with zipfile.ZipFile(path) as archive:
            arrays = {key: _read_array(archive, key, path) for key in _keys(archive, path)}
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except MemoryError as error:
        raise DataError(f"{path}: does not fit the memory") from error
    # A damaged archive, a wrong checksum, an encrypted member, an unknown compression.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error
    return _Arrays(
        images=_images(arrays["images"], path),
        labels=_labels(arrays["labels"], len(arrays["images"]), path),
        names=_names(arrays["label_names"], path) if "label_names" in arrays else None,
    )


def _keys(archive: zipfile.ZipFile, path: Path) -> list[str]:
    held = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    missing = [key for key in ("images", "labels") if key not in held]
    if missing:
        raise DataError(
            f"{path}: has no {' and no '.join(missing)}, only "
            f"{', '.join(sorted(held)) or 'nothing'}; {EXPECTED}"
        )
    return [key for key in ("images", "labels", "label_names") if key in held]


def _read_array(archive: zipfile.ZipFile, key: str, path: Path) -> NDArray[Any]:
    """Judge an array by its header, and read it if that is sound."""
    member = archive.getinfo(f"{key}.npy")
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
        if dtype.hasobject:
            raise DataError(
                f"{path}: {key} holds pickled objects, which could run any code and are never "
                f"read; save it as a plain array"
            )
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_BYTES:
            raise DataError(
                f"{path}: {key} claims {size / 2**30:,.0f} GiB; at most {MAX_BYTES // 2**30} GiB "
                f"are read"
            )
        if stream.tell() + size != member.file_size:
            raise DataError(f"{path}: {key} is cut short or longer than its header says")
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown version {version} of the .npy format")
    read = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    # NumPy reads the header as Python text, and lets out whatever the tokeniser raises over it.
    except Exception as error:
        raise ValueError(f"a header is damaged: {error}") from error
    return shape, dtype


def _images(images: NDArray[Any], path: Path) -> NDArray[Any]:
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype.kind not in "uif":
        raise DataError(
            f"{path}: expected images as (N, H, W, 3) integers or floats, but got {images.shape} "
            f"{images.dtype}"
        )
    if 0 in images.shape:
        raise DataError(f"{path}: holds no images, its images array is {images.shape}")
    return images


def _labels(labels: NDArray[Any], count: int, path: Path) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected labels as (N,) integers, but got {labels.shape} {labels.dtype}"
        )
    if len(labels) != count:
        raise DataError(f"{path}: holds {count} images but {len(labels)} labels")
    lowest, highest = int(labels.min()), int(labels.max())
    # Judged before the cast, which would wrap.
    if lowest < 0 or highest > np.iinfo(np.int32).max:
        wrong = lowest if lowest < 0 else highest
        raise DataError(f"{path}: holds the label {wrong}; expected 0, 1, 2, …")
    return labels.astype(np.int64)


def _numbers(labels: NDArray[np.int64], path: Path) -> tuple[str, ...]:
    highest = int(labels.max())
    if highest >= len(labels):
        raise DataError(
            f"{path}: holds the label {highest} and no label_names, but only {len(labels)} images; "
            f"expected labels 0, 1, 2, … without gaps"
        )
    return tuple(str(label) for label in range(highest + 1))


def _names(names: NDArray[Any], path: Path) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "SU":
        raise DataError(
            f"{path}: expected label_names as (K,) text, but got {names.shape} {names.dtype}"
        )
    texts = tuple(
        unicodedata.normalize(
            "NFC", name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
        )
        for name in names.tolist()
    )
    if len(set(texts)) != len(texts) or "" in texts:
        raise DataError(f"{path}: label_names holds an empty name or one name twice")
    return texts


def _first_difference(names: tuple[str, ...] | None, others: tuple[str, ...] | None) -> str:
    pairs = zip(names or (), others or (), strict=False)
    differing = next(((one, other) for one, other in pairs if one != other), None)
    return "" if differing is None else f", but got {differing[1]!r} for {differing[0]!r}"


def _check_labels(labels: NDArray[np.int64], classes: int, path: Path) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise DataError(
            f"{path}: the label of image {wrong[0]} is {labels[wrong[0]]}, but there are "
            f"{classes} classes (0 … {classes - 1})"
        )
