"""Damaged and hostile .npz files: their very arrays or one sentence, quickly; nothing unpickled.

``make soak`` tries 2,000 of them, ``make test`` a few.
"""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seewhy.data.sources.arrays import list_arrays
from seewhy.errors import DataError, UnreadableImageError

Mutate = Callable[[bytes, random.Random], bytes]
Within = Callable[[float], AbstractContextManager[None]]
DTYPES = ("u1", "u2", ">i2", "i4", "i8", "u8", "f2", "f4", ">f8", "b1", "c8", "S3", "U2", "O", "V3")
SHAPES = ((6, 4, 4, 3), (6, 4, 4), (6, 3, 4, 4), (0, 4, 4, 3), (6, 4, 4, 4), (6,), (), (6, 0, 4, 3))
CLAIMS = ("(1000000000, 999, 999, 3)", "(-1, 4, 4, 3)", "(6, 4, 4, 3.0)", "(6, 4, 4, 3", "(True,)")
SPRUNG: list[str] = []


class Trap:
    """Tells that it was unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return SPRUNG.append, ("sprung",)


def _array(rng: random.Random, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "O":
        return np.full(shape, Trap(), dtype=object)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    values = np.frombuffer(rng.randbytes(size), dtype).reshape(shape)
    if dtype in ("f2", "f4", ">f8") and rng.random() < 0.7:
        values = np.nan_to_num(values, posinf=1, neginf=0)
    return values.astype(dtype)


def _archive(rng: random.Random) -> bytes:
    """A file that is right, or odd in one of its arrays, or claims what it does not hold."""
    held: dict[str, Any] = {
        "images": _array(rng, rng.choice(("u1", "u2", "f4", ">f8", "i4")), SHAPES[0]),
        "labels": np.arange(6, dtype=rng.choice(("u1", "i8", ">i4"))) % 3,
        "label_names": np.array(["cat", "dog", "fox"]),
    }
    if rng.random() < 0.6:
        odd = rng.choice(tuple(held))
        held[odd] = _array(rng, rng.choice(DTYPES), rng.choice(SHAPES))
    if rng.random() < 0.2:
        del held[rng.choice(tuple(held))]
    stream = io.BytesIO()
    if rng.random() < 0.5:
        np.savez(stream, **held)
    else:
        np.savez_compressed(stream, **held)
    if rng.random() < 0.15:
        return _claiming(rng)
    return stream.getvalue()


def _claiming(rng: random.Random) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {rng.choice(CLAIMS)}, }}"
    text = text.ljust(117) + "\n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    labels = io.BytesIO()
    np.save(labels, np.arange(6))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        # A megabyte of zeros is a kilobyte here: what is unpacked is what the header says.
        archive.writestr("images.npy", header + bytes(1_000_000))
        archive.writestr("labels.npy", labels.getvalue())
    return stream.getvalue()


def check(path: Path) -> str:
    """Read one file as a study does; tell what came of it."""
    try:
        listing = list_arrays(path, None)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return "refused"
    with np.load(path, allow_pickle=False) as held:
        images, labels = held["images"], held["labels"]
    assert listing.labels.tolist() == labels.tolist()
    assert listing.deep is not None
    for index in range(len(listing.paths)):
        span = listing.deep.measure(index)
        try:
            image = listing.load(index)
        except UnreadableImageError:
            assert not np.isfinite(images[index]).any()
            continue
        assert image.dtype == np.uint8
        assert image.shape == images[index].shape
        if images.dtype == np.uint8:
            assert np.array_equal(image, images[index])
        else:
            # Brighter stays brighter, or becomes equal.
            finite = np.isfinite(images[index])
            order = np.argsort(images[index][finite].ravel(), kind="stable")
            assert (np.diff(image[finite].ravel()[order].astype(int)) >= 0).all()
            assert span is not None
    return "read"


def fuzz(folder: Path, count: int, seed: int, mutate: Mutate, within: Within) -> Counter[str]:
    """Try `count` files, half of them damaged too; count what came of them."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    path = folder / "a.npz"
    for number in range(count):
        content = _archive(rng)
        path.write_bytes(mutate(content, rng) if number % 2 else content)
        with within(10):
            found[check(path)] += 1
    assert not SPRUNG
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")
def test_damaged_arrays_are_read_or_one_sentence(
    tmp_path: Path, mutate: Mutate, within: Within
) -> None:
    found = fuzz(tmp_path, 150, 1, mutate, within)
    assert min(found["read"], found["refused"]) > 20


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_two_thousand_damaged_arrays(
    tmp_path: Path,
    mutate: Mutate,
    within: Within,
    seewhy: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    found = fuzz(tmp_path, 2_000, 0, mutate, within)
    sys.stdout.write(f"npz files: {dict(found)}\n")
    rng = random.Random(3)
    for number in range(10):
        (tmp_path / "a.npz").write_bytes(mutate(_archive(rng), rng))
        done = seewhy("check", "a.npz", "--quiet", cwd=tmp_path)
        assert done.returncode in (0, 2), (number, done.stderr)
        assert "Traceback" not in done.stderr
