"""Files that appear whole or not at all: written beside their place, flushed and renamed."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seewhy.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, then put it in its place.

    Raises
    ------
    RunError
        Where the disk is full or the place cannot be written; `path` is then as it was before.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("r+b") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> RunError:
    """Put an operating system's refusal to write `path` into one sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"{path}: no space left on the disk; free some, or choose another place with --out"
        )
    return RunError(f"{path}: cannot be written ({error.strerror or error})")


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8."""
    with writing(path) as part:
        part.write_text(text, "utf-8")
