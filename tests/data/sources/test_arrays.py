from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seewhy.data.sources.arrays import list_arrays
from seewhy.errors import DataError

NAMES = np.array(["cat", "apple", "dog"])


def images(count: int = 6, side: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def save(path: Path, **arrays: Any) -> Path:
    held = {"images": images(), "labels": np.arange(6) % 3, "label_names": NAMES} | arrays
    np.savez(path, **{key: value for key, value in held.items() if value is not None})
    return path


def test_one_file(tmp_path: Path) -> None:
    listing = list_arrays(save(tmp_path / "a.npz"), None)
    assert listing.classes == ("cat", "apple", "dog")  # the file's order, not the alphabet's
    assert listing.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert listing.splits == (None,) * 6
    assert listing.paths[4] == "a.npz[4]"
    assert listing.native_size == 4
    assert all((listing.load(i) == images()[i]).all() for i in range(6))


def test_two_files(tmp_path: Path) -> None:
    test = save(tmp_path / "b.npz", images=images(2, seed=1), labels=np.array([2, 0]))
    listing = list_arrays(save(tmp_path / "a.npz"), test)
    assert listing.splits == ("train",) * 6 + ("test",) * 2
    assert listing.labels.tolist()[-2:] == [2, 0]
    assert listing.paths[-1] == "b.npz[1]"
    expected = [*images(), *images(2, seed=1)]
    assert all((listing.load(i) == expected[i]).all() for i in range(8))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "u8"])
def test_labels_of_any_integer_kind_and_layout(tmp_path: Path, kind: str, compressed: bool) -> None:
    write = np.savez_compressed if compressed else np.savez
    write(tmp_path / "a.npz", images=np.asfortranarray(images()), labels=np.arange(6, dtype=kind))
    listing = list_arrays(tmp_path / "a.npz", None)
    assert listing.labels.dtype == np.int64
    assert listing.labels.tolist() == list(range(6))
    assert (listing.load(5) == images()[5]).all()


def test_names_as_bytes_or_not_at_all(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", label_names=np.array([b"a", "ü".encode(), b"\xff"]))
    assert list_arrays(path, None).classes == ("a", "ü", "\\xff")
    path = save(tmp_path / "b.npz", label_names=None)
    assert list_arrays(path, None).classes == ("0", "1", "2")


def test_pictures_of_other_shapes_have_no_native_size(tmp_path: Path) -> None:
    wide = np.zeros((6, 4, 5, 3), np.uint8)
    assert list_arrays(save(tmp_path / "a.npz", images=wide), None).native_size is None
    small = save(tmp_path / "b.npz", images=images(side=3))
    assert list_arrays(save(tmp_path / "c.npz"), small).native_size is None


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("key", ["images", "labels", "label_names"])
def test_pickled_objects_are_never_read(tmp_path: Path, key: str) -> None:
    trap = np.array([Trap(tmp_path / "sprung")] * 6, dtype=object)
    path = save(tmp_path / "a.npz", **{key: trap})
    with pytest.raises(DataError, match=f"{key} holds pickled objects"):
        list_arrays(path, None)
    assert not (tmp_path / "sprung").exists()
    # The trap is one: numpy springs it when it is told to.
    np.load(path, allow_pickle=True)[key]
    assert (tmp_path / "sprung").exists()


def test_a_pickle_in_an_arrays_place(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", pickle.dumps(Trap(tmp_path / "sprung")))
        archive.writestr("labels.npy", b"")
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        list_arrays(tmp_path / "a.npz", None)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": None}, "has no labels, only images, label_names; expected images"),
        ({"images": None, "labels": None}, "has no images and no labels"),
        ({"labels": np.arange(5)}, "holds 6 images but 5 labels"),
        ({"labels": np.zeros(6)}, r"expected labels as \(N,\) integers, but got \(6,\) float64"),
        ({"labels": np.zeros((6, 1), int)}, r"but got \(6, 1\)"),
        ({"labels": np.array([0, 1, 2, 3, 0, 0])}, "label of image 3 is 3, but there are 3"),
        ({"labels": np.array([0, 1, -1, 0, 0, 0])}, "holds the label -1"),
        ({"labels": np.array([0, 2**63, 0, 0, 0, 0], np.uint64)}, f"holds the label {2**63}"),
        ({"labels": np.array([0, 9, 0, 0, 0, 0]), "label_names": None}, "label 9 and no label_nam"),
        ({"images": np.zeros((6, 4, 4), np.uint8)}, r"but got \(6, 4, 4\) uint8"),
        ({"images": np.zeros((6, 3, 4, 4), np.uint8)}, r"but got \(6, 3, 4, 4\) uint8"),
        ({"images": np.zeros((6, 4, 4, 3), complex)}, "but got .* complex128"),
        ({"images": np.zeros((0, 4, 4, 3), np.uint8), "labels": np.zeros(0, int)}, "no images"),
        ({"images": np.zeros((6, 0, 4, 3), np.uint8)}, "holds no images"),
        ({"label_names": np.array(["a", "a", "b"])}, "one name twice"),
        ({"label_names": np.array(["a", "", "b"])}, "an empty name"),
        ({"label_names": np.array([1, 2, 3])}, r"label_names as \(K,\) text"),
        ({"label_names": np.array("abc")}, r"label_names as \(K,\) text"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        list_arrays(path, None)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_test_file_with_other_names(tmp_path: Path) -> None:
    train = save(tmp_path / "a.npz")
    for names in (NAMES[::-1], None):
        with pytest.raises(DataError, match="label_names are not those of"):
            list_arrays(train, save(tmp_path / "b.npz", label_names=names))


def test_labels_of_the_test_file_are_checked_too(tmp_path: Path) -> None:
    test = save(tmp_path / "b.npz", labels=np.array([0, 0, 0, 0, 0, 7]))
    with pytest.raises(DataError, match=r"b\.npz: the label of image 5 is 7"):
        list_arrays(save(tmp_path / "a.npz"), test)


def header(shape: str, kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("(1000000000, 32, 32, 3)"), "claims 2,861 GiB; at most 64 GiB"),
        (header("(10, 32, 32, 3)") + b"short", "images is cut short"),
        (header("(1, 1, 1, 3)") + b"longer", "images is cut short or longer"),
        (header("(1,)", "|O"), "pickled objects"),
        (header("(1, '"), "cannot be read"),
        (b"\x93NUMPY\x07\x00", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_hostile_headers(tmp_path: Path, content: bytes, message: str) -> None:
    labels = io.BytesIO()
    np.save(labels, np.arange(6))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", content)
        archive.writestr("labels.npy", labels.getvalue())
    with pytest.raises(DataError, match=message):
        list_arrays(tmp_path / "a.npz", None)


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="there is no such file"):
        list_arrays(path, None)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match=r"is no \.npz file; expected images"):
        list_arrays(path, None)
    whole = save(tmp_path / "b.npz").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is no \.npz file"):
        list_arrays(path, None)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[content.index(images().tobytes()) + 10] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read .*CRC"):
        list_arrays(path, None)


def test_the_stand_in(shared: Path) -> None:
    files = [shared / "data" / f"cifar10_standin_{part}.npz" for part in ("train", "test")]
    listing = list_arrays(*files)
    assert listing.classes[4] == "deer"
    assert listing.native_size == 32
    assert listing.splits.count("train") == 10000
    assert listing.splits.count("test") == 2000
    assert np.bincount(listing.labels).tolist() == [1200] * 10


def test_names_are_compared_in_one_normal_form(tmp_path: Path) -> None:
    composed = save(tmp_path / "a.npz", label_names=np.array(["a", "b", "\u00e9"]))
    decomposed = save(tmp_path / "b.npz", label_names=np.array(["a", "b", "e\u0301"]))
    assert list_arrays(composed, decomposed).classes == ("a", "b", "\u00e9")
    other = save(tmp_path / "c.npz", label_names=np.array(["a", "B ", "\u00e9"]))
    with pytest.raises(DataError, match="in the same order, but got 'B ' for 'b'"):
        list_arrays(composed, other)
