"""Taking up a run directory: a new one, or one whose study was interrupted.

One process at a time works on a run directory, under one configuration. Nothing in it is deleted
unless that is asked for. Knows no stages.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seewhy.config import StudyConfig
from seewhy.errors import OtherStudyError, RunError
from seewhy.files.writing import write_error
from seewhy.rundir import RunDirectory

LOCK, OWNER = ".lock", ".lock.pid"
MOST_KEYS = 5


@contextmanager
def taking_up(root: Path, config: StudyConfig, fresh: bool = False) -> Iterator[RunDirectory]:
    """Hold a run directory for this process while the context is open.

    Parameters
    ----------
    root : Path
        New, empty, or holding a study that the same configuration began.
    config : StudyConfig
        Written where there is none yet.
    fresh : bool, default False
        Delete the study that is there, finished or not; other files stay.

    Yields
    ------
    RunDirectory
        Where nothing was begun in it and an error passes, all is as before.

    Raises
    ------
    RunError
        Where `root` holds something else, a study of another configuration (OtherStudyError) or,
        with `fresh`, a mended one; is in another process's hands, or cannot be made.
    """
    run = RunDirectory(root)
    made = [place for place in (root, *root.parents) if not place.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(run)
    except OSError as error:
        raise write_error(root, error) from error
    began = run.config_path.is_file()
    try:
        with _holding(root):
            for part in root.rglob(".*.part"):  # what a killed process was writing
                part.unlink(missing_ok=True)
            if fresh:
                _refuse_mended(run)
                run.clear()
            if run.config_path.is_file():
                _refuse_another(run, config)
            else:
                run.write_config(config)
            yield run
    except Exception:
        if not began and not run.begun_path.is_file():
            _take_back(run, made)
        raise


@contextmanager
def _holding(root: Path) -> Iterator[None]:
    """Hold the lock, which goes with the process however that ends; say whose it is."""
    lock, owner = FileLock(root / LOCK), root / OWNER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{root}: another seewhy{_named(owner)} is working on it; wait for it to end, or "
            "choose another place with --out"
        ) from None
    try:
        owner.write_text(str(os.getpid()), "ascii")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _named(owner: Path) -> str:
    try:
        return f" (process {int(owner.read_text('ascii'))})"
    except (OSError, ValueError):  # it has only just begun, or is just ending
        return ""


def _refuse_foreign(run: RunDirectory) -> None:
    """Refuse a folder that holds files, but no study."""
    ours = (LOCK, OWNER)
    others = [
        entry
        for entry in run.root.iterdir()
        if entry.name not in ours and not (entry.name[0] == "." and entry.suffix == ".part")
    ]
    if others and not run.config_path.is_file():
        raise RunError(
            f"{run.root}: already holds files that are no study ({others[0].name}); choose another "
            "place with --out"
        )


def _refuse_mended(run: RunDirectory) -> None:
    """Refuse to start a mended study over: its images come of the study around it."""
    if run.is_mended:
        raise RunError(
            f"{run.root}: is the mended study of the one around it and cannot be started over "
            "with --fresh; delete that folder and mend the study around it again"
        )


def _refuse_another(run: RunDirectory, config: StudyConfig) -> None:
    """Refuse to go on with another configuration; name the keys that differ."""
    there, now = _flat(run.read_config().model_dump()), _flat(config.model_dump())
    differing = [key for key in {**there, **now} if there.get(key) != now.get(key)]
    if not differing:
        return
    named = [f"{key}: {there.get(key)!r} there, {now.get(key)!r} now" for key in differing]
    more = f" and {len(named) - MOST_KEYS} more" if len(named) > MOST_KEYS else ""
    raise OtherStudyError(
        f"{run.root}: holds a study with another configuration "
        f"({'; '.join(named[:MOST_KEYS])}{more})"
    )


def _flat(values: Any, key: str = "") -> dict[str, object]:
    """Return a tree's leaves by their dotted keys."""
    if isinstance(values, dict) and values:
        parts = values.items()
    elif isinstance(values, (tuple, list)) and values and isinstance(values[0], dict):
        parts = enumerate(values)  # type: ignore[assignment]
    else:
        return {key: values}
    found: dict[str, object] = {}
    for name, value in parts:
        found |= _flat(value, f"{key}.{name}" if key else str(name))
    return found


def _take_back(run: RunDirectory, made: list[Path]) -> None:
    """Take back what was made and all that was written since; nothing else."""
    for entry in run.root.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    for place in made:
        with suppress(OSError):  # somebody else may have put something there meanwhile
            place.rmdir()
