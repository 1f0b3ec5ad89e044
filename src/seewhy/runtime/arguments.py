"""What a caller hands to the public functions: paths, and who receives the progress."""

from __future__ import annotations

import os
from pathlib import Path

from seewhy.errors import ConfigError
from seewhy.runtime.progress import Progress, Silent


def path_text(value: object, name: str) -> str:
    """Return a path as the text it was named by; `name` is the parameter, for the message.

    Raises
    ------
    ConfigError
        For anything but a str, bytes or os.PathLike.
    """
    try:
        return os.fsdecode(os.fspath(value))  # type: ignore[call-overload]
    except TypeError as error:
        raise ConfigError(f"{name}: expected a path, but got {type(value).__name__}") from error


def run_root(value: object) -> Path:
    """Return the run directory that is meant: a path, or a finished `seewhy.Study`.

    Raises
    ------
    ConfigError
        For anything else.
    """
    root = getattr(value, "root", None)
    if isinstance(root, Path) and not isinstance(value, os.PathLike):
        return root
    return Path(path_text(value, "run directory"))


def listener(progress: object) -> Progress:
    """Return who receives the progress; for None one that drops it.

    Raises
    ------
    ConfigError
        For an object without ``task`` and ``say``.
    """
    if progress is None:
        return Silent()
    if isinstance(progress, Progress):
        return progress
    raise ConfigError(
        "progress: expected an object with task(name, total) and say(message) as in "
        f"seewhy.runtime.progress, or None, but got {type(progress).__name__}"
    )
