"""Opening a run directory: a new one, or one whose study was interrupted.

One process at a time works on a run directory, under one configuration; everything here happens
under its lock. Only what this process made is deleted, unless the caller asks for more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from seewhy.config import StudyConfig
from seewhy.errors import RunError
from seewhy.pipeline.run_fingerprint import refuse_another
from seewhy.storage.atomic_writing import write_error
from seewhy.storage.lock import LOCK, LOCK_FILES, forget_lock, holding, lock_folder
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.run_version import refuse_other_version

# How often a folder may vanish between being made and being locked: the process that made it first
# has removed it. Each time another process has ended.
_MOST_VANISHED = 100


@contextmanager
def opened_run(root: Path, config: StudyConfig, fresh: bool = False) -> Iterator[RunDirectory]:
    """Hold a run directory for this process while the context is open.

    The folder is new, empty, or holds a study that the same configuration started; `fresh` deletes
    that study, finished or not, and leaves other files. If this process started the study and an
    error passes before there are data, what it made is removed.

    Raises
    ------
    RunError
        Where `root` holds something else, a study of another configuration (OtherStudyError), one
        that another version of seewhy wrote or, with `fresh`, a mitigated one; where another
        process holds it, or it cannot be made.
    """
    run, made = RunDirectory(root), list[Path]()
    if not fresh:
        refuse_other_version(root)
    try:
        with _holding_new(root, made):
            ours = False
            try:
                _refuse_foreign(run)
                _delete_parts(root)
                if fresh:
                    _refuse_mitigated(run)
                    run.clear()
                ours = not run.is_study
                if ours:
                    run.config.write(config)
                else:
                    refuse_another(run, config)
                yield run
            except Exception:
                if ours and not run.fingerprint.path.is_file():
                    run.clear()
                if lock_folder(root) == root.resolve() and not run.is_study:
                    forget_lock(root)
                raise
    except Exception:
        for place in reversed(made):
            with suppress(OSError):  # somebody else has put something there meanwhile
                place.rmdir()
        raise


@contextmanager
def _holding_new(root: Path, made: list[Path]) -> Iterator[None]:
    """Hold the lock of a folder that need not be there; `made` gets the folders made for it."""
    with ExitStack() as stack:
        for _ in range(_MOST_VANISHED):
            try:
                # A folder without a trace of seewhy is somebody else's and is left as it is.
                if not (root / LOCK).exists():
                    _refuse_foreign(RunDirectory(root))
                _make(root, made)
                stack.enter_context(holding(root))
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                raise write_error(root, error) from error
        else:
            raise RunError(f"{root}: vanishes while it is being made; choose another place")
        yield


def _make(root: Path, made: list[Path]) -> None:
    """Make a folder and those above it, each at most once; remember which were made here."""
    for place in reversed((root, *root.parents)):
        with suppress(FileExistsError):
            if not place.exists():
                place.mkdir()
                made.append(place)
    if not root.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(root))


def _delete_parts(root: Path) -> None:
    """Delete what a killed process was writing, or deleting."""
    for part in sorted(root.rglob(".*.part")):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _refuse_foreign(run: RunDirectory) -> None:
    """Refuse a folder that holds files, but no study."""
    if not run.root.is_dir() or run.is_study:
        return
    others = [
        entry
        for entry in run.root.iterdir()
        if entry.name not in LOCK_FILES and not (entry.name[0] == "." and entry.suffix == ".part")
    ]
    # Another process may have started a study meanwhile.
    if others and not run.is_study:
        raise RunError(
            f"{run.root}: already holds files that are no study ({others[0].name}); choose another "
            "place with --out"
        )


def _refuse_mitigated(run: RunDirectory) -> None:
    """Refuse to start a mitigated study over: its images come from the study around it."""
    if run.is_mitigated:
        raise RunError(
            f"{run.root}: is the mitigated study of the one around it and cannot be started over "
            "with --fresh; delete that folder and mitigate the study around it again"
        )
