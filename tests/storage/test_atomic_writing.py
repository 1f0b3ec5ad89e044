"""What is written is there whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from seewhy.errors import RunError
from seewhy.storage.atomic_writing import write_error, writing


def test_a_broken_writer_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), writing(path) as part:
        part.write_text("half of the n")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(RunError, match="no space left on the disk") as caught, writing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(path) in str(caught.value)
    assert "cannot be written" in str(write_error(path, PermissionError(errno.EACCES, "denied")))
