"""One process at a time changes a run directory, and nothing of another's is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seewhy.audit.stage_audit import audit_run
from seewhy.config import load_config
from seewhy.errors import DataError, RunError
from seewhy.inference.explain_pictures import explain_pictures
from seewhy.pipeline.comparison import compare_studies
from seewhy.pipeline.data_check import check_images
from seewhy.pipeline.mitigation import mitigate_run
from seewhy.pipeline.run_opening import opened_run
from seewhy.pipeline.study import run_study
from seewhy.report.build import redraw_report, write_as_markdown
from seewhy.storage.lock import holding
from seewhy.storage.run_directory import RunDirectory

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
RACING = Path(__file__).parents[1] / "racing.py"
CONFIG = load_config("demo")
SMALL = """
device = "cpu"
[data]
source = "{folder}/train.npz"
[[backbone]]
name = "resnet10t"
weights = "none"
[input]
size = 32
[search]
trials = 0
[adaptation]
epochs = 1
[finetuning]
epochs = 1
[explanation]
faithfulness = 0
[audit]
stages = []
"""
BUSY = (
    rf"run: another seewhy \(process {os.getpid()} on {socket.gethostname()}\) is working on it; "
    r"wait for it to end, or choose another place with --out$"
)


@contextmanager
def elsewhere(root: Path) -> Iterator[None]:
    """Hold a run directory's lock in another thread."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holding(root):
            held.set()
            done.wait(600)  # a busy machine takes minutes to start a command

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        yield
    finally:
        done.set()
        thread.join()


def race(folder: Path, rounds: int, seed: int, *config: str) -> list[int]:
    """Start processes at once, in rounds; return how many worked, were refused and failed."""
    done = subprocess.run(
        [sys.executable, str(RACING), str(folder), str(rounds), str(seed), *config],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def test_processes_that_start_at_once_take_turns(tmp_path: Path) -> None:
    worked, refused, failed = race(tmp_path, 8, 3)
    assert min(worked, refused, failed) > 0


@pytest.mark.soak
def test_a_hundred_rounds_of_processes_that_start_at_once(tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    worked, refused, failed = race(tmp_path / "short", 100, 1)
    sys.stdout.write(
        f"100 rounds: {worked} worked, {refused} refused, {failed} failed on purpose\n"
    )
    assert worked >= 100


@pytest.mark.soak
def test_whole_studies_that_start_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "train.npz", images=images, labels=np.arange(40) % 2)
    config = tmp_path / "small.toml"
    config.write_text(SMALL.format(folder=tmp_path))
    worked, refused, _ = race(tmp_path, 20, 2, str(config))
    sys.stdout.write(f"20 rounds of studies: {worked} ran or had ended, {refused} refused\n")


@pytest.fixture
def begun(tmp_path: Path) -> RunDirectory:
    """A run directory as it is once a study has ended, as far as locks are concerned."""
    root = tmp_path / "run"
    with opened_run(root, CONFIG) as run:
        (root / "data").mkdir()
        (root / "backbones" / "net" / "mitigated" / "data").mkdir(parents=True)
        (root / "backbones" / "net" / "summary.json").write_text("its numbers")
        run.fingerprint.path.write_text("{}")
        run.summary.path.write_text("{}")
    mitigated = RunDirectory(run.mitigation.folder("net"))
    mitigated.config.write(CONFIG)
    (mitigated.root / "data" / "mitigation_data.json").write_text("{}")
    mitigated.summary.path.write_text("{}")
    return run


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".lock")
    }


def take_up(root: Path, fresh: bool = False) -> None:
    with opened_run(root, CONFIG, fresh):
        pass


CHANGES: dict[str, Callable[[Path], Any]] = {
    "run": take_up,
    "fresh": lambda root: take_up(root, fresh=True),
    "report": redraw_report,
    "markdown": write_as_markdown,
    "audit": audit_run,
    "mitigate": mitigate_run,
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_a_run_directory_waits_for_no_other(
    begun: RunDirectory, change: str
) -> None:
    before = files(begun.root)
    with elsewhere(begun.root), pytest.raises(RunError, match=BUSY):
        CHANGES[change](begun.root)
    assert files(begun.root) == before
    # A mitigated study belongs to the one around it, and is held with it.
    mitigated = begun.mitigation.folder("net")
    where = BUSY.replace("run:", "mitigated:")
    if change != "mitigate":
        with elsewhere(begun.root), pytest.raises(RunError, match=where):
            CHANGES[change](mitigated)
        with elsewhere(mitigated), pytest.raises(RunError, match=BUSY):
            CHANGES[change](begun.root)
    assert files(begun.root) == before


def test_a_command_that_is_refused_ends_with_one_sentence(
    begun: RunDirectory, seewhy: CommandLine
) -> None:
    with elsewhere(begun.root):
        done = seewhy("audit", begun.root, cwd=begun.root.parent)
    assert done.returncode == 2
    assert done.stderr.startswith(f"seewhy: {begun.root}: another seewhy (process {os.getpid()} on")
    assert len(done.stderr.splitlines()) == 1


def test_reading_needs_no_lock(begun: RunDirectory) -> None:
    with elsewhere(begun.root):
        assert RunDirectory.open(begun.root).config.read() == CONFIG


def test_who_holds_a_lock_may_ask_again_and_a_forked_process_does_not_hold_it(
    begun: RunDirectory,
) -> None:
    with holding(begun.root), holding(begun.root), holding(begun.mitigation.folder("net")):
        process = os.fork()
        if not process:
            try:
                with holding(begun.root):
                    os._exit(0)
            except RunError:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 2
    assert {path.name for path in begun.root.glob(".lock*")} == {".lock"}
    with elsewhere(begun.root):
        pass


def test_a_killed_process_is_not_named(begun: RunDirectory) -> None:
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)
    with elsewhere(begun.root):
        (begun.root / ".lock.pid").write_text(f"{process} {socket.gethostname()}\n")
        with pytest.raises(RunError, match="another seewhy is working on it"):
            take_up(begun.root)
        # Of another machine nothing is known.
        (begun.root / ".lock.pid").write_text("77 far-away\n")
        with pytest.raises(RunError, match=r"another seewhy \(process 77 on far-away\) is"):
            take_up(begun.root)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_has_them_as_files(
    begun: RunDirectory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    held = begun.root / ".lock.held"
    with elsewhere(begun.root):
        assert held.is_file()
        with pytest.raises(RunError, match=rf"if that process was killed, delete {held}"):
            take_up(begun.root)
    assert not held.exists()
    take_up(begun.root)


@pytest.mark.parametrize("renames", range(7))
def test_starting_over_may_be_killed(
    begun: RunDirectory, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    left, rename = renames, Path.rename

    def counted(path: Path, target: Path) -> Path:
        nonlocal left
        if path.exists() and path.parent == begun.root and not left:
            raise KeyboardInterrupt
        left -= path.exists() and path.parent == begun.root
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", counted)
    # There are five of a study's files and folders.
    with pytest.raises(KeyboardInterrupt) if renames < 5 else nullcontext():
        take_up(begun.root, fresh=True)
    monkeypatch.undo()
    with opened_run(begun.root, CONFIG) as run:
        # The old numbers are there only with all that says what they are numbers of.
        if (run.root / "backbones").exists():
            assert run.fingerprint.path.is_file()
            assert (run.root / "data").is_dir()
        assert not list(run.root.glob("*.part"))
        assert not list(run.root.glob(".*.part"))
        run.fingerprint.path.write_text("{}")


def test_only_what_was_made_is_taken_back(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    with pytest.raises(RunError, match="no good"), opened_run(root, CONFIG) as run:
        (root / "data").mkdir()
        run.layout.log.write_text("x")
        (root / "notes.txt").write_text("somebody's")
        raise RunError("no good")
    assert {path.name for path in root.iterdir()} == {"notes.txt"}
    # Nor a folder on the way that another process put something into.
    with pytest.raises(RunError), opened_run(tmp_path / "new" / "run", CONFIG):
        (tmp_path / "new" / "other").mkdir()
        raise RunError("no good")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["other"]


def test_a_study_that_was_there_is_not_deleted_for_a_source_that_is_not(
    begun: RunDirectory,
) -> None:
    before = files(begun.root)
    with pytest.raises(DataError, match="no_such_folder: there is no such file or folder"):
        run_study(load_config("no_such_folder"), begun.root, fresh=True)
    assert files(begun.root) == before


def test_no_other_command_writes_over_a_study(begun: RunDirectory) -> None:
    before = files(begun.root)
    refused = r"belongs to the study in .*run; choose another place with --out$"
    with pytest.raises(RunError, match=refused):
        compare_studies([begun.root, begun.root], begun.root / "comparison.json")
    with pytest.raises(RunError, match=refused):
        check_images(CONFIG, begun.root / "data")
    with pytest.raises(RunError, match=refused):
        explain_pictures(None, [], begun.root / "report" / "pictures")  # type: ignore[arg-type]
    assert files(begun.root) == before


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=r"cannot be written \((Not a directory|File exists)\)"):
            take_up(root)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
