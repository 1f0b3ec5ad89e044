"""Arrays that grow on the disk and end up in one ``.npz`` file, and such files read with care.

An ``.npz`` names each array's shape before its values, so a data set's arrays are collected in
unnamed files first: memory holds one batch, whatever the number of images.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# NumPy's own first bytes, for version 1.0 of its format.
_VERSION = (1, 0)


@dataclass
class _Column:
    """One growing array: where its values are, their type, the shape of a row, how many rows."""

    stream: IO[bytes]
    dtype: np.dtype[Any]
    row: tuple[int, ...]
    rows: int = 0


class GrowingArrays:
    """Arrays that grow along their first axis, on the disk."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.grown: dict[str, _Column] = {}
        self.whole: dict[str, NDArray[Any]] = {}

    def append(self, **arrays: NDArray[Any]) -> None:
        """Add a batch's rows to each of the named arrays.

        Raises
        ------
        ValueError
            Where a batch has another type or another shape of row than the ones before it.
        """
        for name, array in arrays.items():
            if name not in self.grown:
                # Nameless: a killed process leaves nothing behind.
                nameless = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
                stream = self._stack.enter_context(nameless)
                self.grown[name] = _Column(stream, array.dtype, array.shape[1:])
            column = self.grown[name]
            if (array.dtype, array.shape[1:]) != (column.dtype, column.row):
                raise ValueError(
                    f"{name}: expected rows {column.row} of {column.dtype}, but got "
                    f"{array.shape[1:]} of {array.dtype}"
                )
            column.stream.write(np.ascontiguousarray(array).tobytes())
            column.rows += len(array)

    def put(self, **arrays: NDArray[Any]) -> None:
        """Add arrays that are whole already."""
        self.whole.update(arrays)


@contextmanager
def growing_npz(path: Path) -> Iterator[GrowingArrays]:
    """Yield arrays to add to; when the context ends well, they are in the ``.npz`` at `path`.

    The file is a compressed one as ``numpy.savez_compressed`` writes it, and equal arrays give
    equal bytes. The folder of `path` exists and needs room for the uncompressed arrays meanwhile.
    """
    with ExitStack() as stack:
        columns = GrowingArrays(path.parent, stack)
        yield columns
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, column in columns.grown.items():
                column.stream.seek(0)
                shape = (column.rows, *column.row)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_header(member, column.dtype, shape)
                    shutil.copyfileobj(column.stream, member)
            for name, array in columns.whole.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_header(member, array.dtype, array.shape)
                    member.write(np.ascontiguousarray(array).tobytes())


def write_header(member: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write what precedes an array's values in NumPy's format, rows one after the other.

    The format leaves room for the first axis to grow: the header's length depends on the others.
    """
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        member, {"descr": described, "fortran_order": False, "shape": shape}
    )


@dataclass(frozen=True)
class ArraySpec:
    """What an array of a file must be before it is read.

    `dtype` is a type's name, ``str`` for text. In `shape`, None leaves an axis' length open, up to
    `most`, which also limits the length of a text.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    most: int = 4096

    def fits(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
        """Tell whether an array's header says what was expected."""
        if self.dtype == "str":
            typed = dtype.kind == "U" and dtype.itemsize <= 4 * self.most
        else:
            typed = dtype == np.dtype(self.dtype)
        return (
            typed
            and len(shape) == len(self.shape)
            and all(
                0 <= length <= self.most if wanted is None else length == wanted
                for length, wanted in zip(shape, self.shape, strict=True)
            )
        )

    def __str__(self) -> str:
        lengths = ", ".join("any" if length is None else str(length) for length in self.shape)
        return f"{self.dtype} ({lengths})"


def read_npz(path: Path, wanted: Mapping[str, ArraySpec]) -> dict[str, NDArray[Any]]:
    """Read the wanted arrays; what their headers say is checked before any value is read.

    Nothing is unpickled, and memory is bounded by what was expected, whatever the file claims.

    Raises
    ------
    KeyError
        For an array that is missing.
    ValueError
        For one that is not as expected, or a damaged file.
    OSError
        Where it cannot be read.
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name, expected in wanted.items():
                if f"{name}.npy" not in archive.namelist():
                    raise KeyError(name)
                with archive.open(f"{name}.npy") as member:
                    _check_header(member, name, expected)
                with archive.open(f"{name}.npy") as member:
                    found[name] = np.lib.format.read_array(member, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    return found


def _check_header(member: IO[bytes], name: str, expected: ArraySpec) -> None:
    version = np.lib.format.read_magic(member)
    if version != _VERSION:
        raise ValueError(f"{name}: expected NumPy's format 1.0, but got {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    if not expected.fits(dtype, shape):
        raise ValueError(f"{name}: expected {expected}, but got {dtype} {shape}")
