"""Arrays that grow batch by batch are what they would have been at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seewhy.storage.npz_files import ArraySpec, growing_npz, read_npz


def test_grown_arrays_are_those_that_numpy_reads(tmp_path: Path) -> None:
    path = tmp_path / "grown.npz"
    values = np.arange(24, dtype=np.float16).reshape(6, 2, 2)
    with growing_npz(path) as columns:
        for rows in (values[:1], values[1:1], values[1:5:1], values[5:]):
            columns.append(values=rows, transposed=rows.transpose(0, 2, 1))
        columns.put(names=np.array(["a", "Ω"]), word=np.array("w"))
    with np.load(path, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["values"], values)
        np.testing.assert_array_equal(stored["transposed"], values.transpose(0, 2, 1))
        assert stored["names"].tolist() == ["a", "Ω"]
        assert str(stored["word"]) == "w"
    # Nothing is beside it, and the same arrays give the same bytes.
    assert [one.name for one in tmp_path.iterdir()] == ["grown.npz"]
    again = tmp_path / "again.npz"
    with growing_npz(again) as columns:
        columns.append(values=values, transposed=values.transpose(0, 2, 1))
        columns.put(names=np.array(["a", "Ω"]), word=np.array("w"))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("second", [np.zeros((1, 3)), np.zeros((1, 2), np.float32)])
def test_a_batch_of_another_kind_is_refused_and_no_file_appears(
    tmp_path: Path, second: np.ndarray
) -> None:
    with (
        pytest.raises(ValueError, match=r"values: expected rows \(2,\) of float64, but got"),
        growing_npz(tmp_path / "x.npz") as columns,
    ):
        columns.append(values=np.zeros((1, 2)))
        columns.append(values=second)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 10, 60, 150])
def test_a_damaged_file_is_a_value_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    with growing_npz(path) as columns:
        columns.append(values=rng.random((50, 4)))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    wanted = {"values": ArraySpec("float64", (50, None))}
    with pytest.raises(ValueError, match=r"."):
        read_npz(path, wanted)
    # A bit that turned over in the middle.
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 8]) + whole[301:])
    with pytest.raises(ValueError, match=r"."):
        read_npz(path, wanted)
