"""The lock of a run directory: one process at a time changes what is in it.

The lock file is stored inside the directory, so it moves with it, and is never deleted while
another process could hold it: only its holder deletes it, and a process that then locks the
deleted file tries again. Readers need no lock, since every file is replaced as a whole. A mitigated
study belongs to the study around it and has no lock of its own.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from seewhy.errors import RunError
from seewhy.runtime.arguments import run_root
from seewhy.storage.atomic_writing import write_error
from seewhy.storage.layout import Layout

LOCK, OWNER, SOFT = ".lock", ".lock.pid", ".lock.held"
LOCK_FILES = (LOCK, OWNER, SOFT)
# Long enough for a process that is just ending, too short to look like waiting.
_PATIENCE = 0.2
# What file systems without locks between processes answer.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

_Rest = ParamSpec("_Rest")
_Result = TypeVar("_Result")


class _Held(threading.local):
    """Which locks this thread holds; a forked process holds none of its parent's."""

    def __init__(self) -> None:
        self.places: set[tuple[int, Path]] = set()


_held = _Held()


def lock_folder(root: Path) -> Path:
    """Return whose lock guards a run directory: its own, or that of the study around it."""
    around = Layout(root).enclosing
    return root.resolve() if around is None else lock_folder(around.root)


@contextmanager
def holding(root: Path) -> Iterator[None]:
    """Hold the lock of an existing run directory; a thread that holds it already may ask again.

    The lock ends with the process, however that ends.

    Raises
    ------
    RunError
        Where another process or thread holds the lock; names its process id and host.
    FileNotFoundError
        Where the folder is gone.
    """
    folder = lock_folder(root)
    key = os.getpid(), folder
    if key in _held.places:
        yield
        return
    lock = _acquired(folder, root)
    _held.places.add(key)
    try:
        with suppress(OSError):  # a full disk must not forbid reading the answer
            (folder / OWNER).write_text(f"{os.getpid()} {socket.gethostname()}\n", "utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / OWNER).unlink(missing_ok=True)
        _held.places.discard(key)
        lock.release()


def forget_lock(root: Path) -> None:
    """Delete the lock files of a folder that will hold no study; this process holds the lock."""
    for name in (OWNER, LOCK):
        (root / name).unlink(missing_ok=True)


def under_lock(
    change: Callable[Concatenate[Path | str, _Rest], _Result],
) -> Callable[Concatenate[Path | str, _Rest], _Result]:
    """Have a function that changes the run directory it is given hold that directory's lock.

    Where no study is stored there is nothing to guard, and the function says what is missing.
    """

    @functools.wraps(change)
    def guarded(root: Path | str, /, *rest: _Rest.args, **named: _Rest.kwargs) -> _Result:
        with ExitStack() as stack:
            place = run_root(root)
            if Layout(place).config.is_file():
                with suppress(FileNotFoundError):
                    stack.enter_context(holding(place))
            return change(root, *rest, **named)

    return guarded


def _acquired(folder: Path, root: Path) -> BaseFileLock:
    """Take the lock: the system's, or a file's existence where the file system has no locks."""
    locks: tuple[BaseFileLock, ...] = (
        FileLock(folder / LOCK, fallback_to_soft=False),
        SoftFileLock(folder / SOFT),
    )
    for lock in locks:
        try:
            lock.acquire(timeout=_PATIENCE)
            return lock
        except Timeout:
            raise RunError(
                f"{root}: another seewhy{_owner(folder)} is working on it; wait for it to end, or "
                f"choose another place with --out{_stale(lock, folder)}"
            ) from None
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno not in _NO_LOCKS or lock is locks[-1]:
                raise write_error(folder / LOCK, error) from error
    raise AssertionError("not reached")


def _owner(folder: Path) -> str:
    """Name the holder; nothing where it is just starting or ending."""
    try:
        number, host = (folder / OWNER).read_text("utf-8").split()
        if host == socket.gethostname() and os.name == "posix":
            os.kill(int(number), 0)  # a killed process leaves its name behind
    except PermissionError:
        pass
    except (OSError, ValueError, OverflowError):
        return ""
    return f" (process {int(number)} on {host})"


def _stale(lock: BaseFileLock, folder: Path) -> str:
    """Say what helps where a lock is a file: one of a killed process on another host stays."""
    if not isinstance(lock, SoftFileLock):
        return ""
    return f" (if that process was killed, delete {folder / SOFT})"
