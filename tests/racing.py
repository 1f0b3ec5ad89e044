"""Starts several processes at once on one run directory, round after round, and watches them.

    python tests/racing.py FOLDER ROUNDS SEED
    python tests/racing.py FOLDER ROUNDS SEED CONFIG

Without CONFIG, each process takes the directory up, starts over in it or changes it under its lock,
and does next to nothing there, so that rounds are short and collisions many. With CONFIG, each runs
that study. Writes how many processes worked, were refused and failed on purpose; ends with 1 where
two worked at the same time, or something was lost.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

from seewhy.config import StudyConfig, load_config
from seewhy.errors import RunError
from seewhy.pipeline.run_opening import opened_run
from seewhy.storage.lock import under_lock

WORKED, REFUSED, FAILED, WRONG = 0, 2, 3, 1


class Watch:
    """What the processes leave beside the run directory: whether one works, and what is kept."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "runs" / "raced"
        self._busy, self._kept = folder / "busy", folder / "kept"

    @property
    def kept(self) -> str:
        """What must be found in the run directory; empty: no study."""
        return self._kept.read_text() if self._kept.is_file() else ""

    @kept.setter
    def kept(self, token: str) -> None:
        self._kept.write_text(token)

    @property
    def found(self) -> str:
        """What is found there."""
        place = self.root / "backbones" / "token"
        return place.read_text() if place.is_file() else ""

    @contextmanager
    def working(self) -> object:
        """Tell the others that one works; fails where another one does."""
        os.close(os.open(self._busy, os.O_CREAT | os.O_EXCL))
        try:
            yield
        finally:
            self._busy.unlink()


def take_up(watch: Watch, config: StudyConfig, chance: random.Random, fresh: bool) -> None:
    """Take the directory up, write a few files as a study does, and end or fail."""
    with opened_run(watch.root, config, fresh) as run, watch.working():
        if fresh:
            watch.kept = ""
        assert watch.found == watch.kept, "what was kept is gone"
        token = watch.kept or f"{os.getpid()} {time.monotonic_ns()}"
        for number in range(3):
            (run.root / "data").mkdir(exist_ok=True)
            (run.root / "data" / f"{number}").write_text(token)
            time.sleep(chance.uniform(0, 0.01))
        if not watch.kept and chance.random() < 0.5:
            raise RunError("on purpose")
        (run.root / "backbones").mkdir(exist_ok=True)
        (run.root / "backbones" / "token").write_text(token)
        run.fingerprint.path.write_text("{}")
        for number in range(3):
            assert (run.root / "data" / f"{number}").read_text() == token, "changed meanwhile"
        watch.kept = token


@under_lock
def change(root: Path | str, watch: Watch) -> None:
    """Change what is there, as an audit or a report does."""
    if not (Path(root) / "fingerprint.json").is_file():
        return
    with watch.working():
        assert watch.found == watch.kept, "what was kept is gone"
        (Path(root) / "report").mkdir(exist_ok=True)
        time.sleep(0.002)
        (Path(root) / "report" / "index.html").write_text("changed")


def action(
    watch: Watch, config: StudyConfig, chance: random.Random, real: bool
) -> Callable[[], object]:
    """Choose what one process does."""
    if real:
        from seewhy.pipeline.study import run_study  # imports PyTorch, which makes forking slow

        return lambda: run_study(config, watch.root)
    kind = chance.choice(("run", "run", "run", "fresh", "change"))
    if kind == "change":
        return lambda: change(watch.root, watch)
    return lambda: take_up(watch, config, chance, kind == "fresh")


def start(work: Callable[[], object], gate: int) -> int:
    """Fork a process that works once `gate` is opened; return its id."""
    process = os.fork()
    if process:
        return process
    code = WRONG
    try:
        os.read(gate, 1)
        work()
        code = WORKED
    except RunError as error:
        if str(error) == "on purpose":
            code = FAILED
        elif "another seewhy" in str(error):
            code = REFUSED
        else:
            traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def race(watch: Watch, config: StudyConfig, chance: random.Random, real: bool) -> Counter[int]:
    """Start 2 to 8 processes at the same moment; return how they ended."""
    inner, outer = os.pipe()
    count = chance.randrange(2, 9)
    processes = []
    for _ in range(count):
        own = random.Random(chance.random())
        processes.append(start(action(watch, config, own, real), inner))
    os.close(inner)
    time.sleep(0.01)
    os.write(outer, b"x" * count)
    os.close(outer)
    ends = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    return Counter(ends)


def check(watch: Watch, ends: Counter[int], real: bool) -> None:
    """Look at what a round left behind."""
    assert not ends.keys() - {WORKED, REFUSED, FAILED}, ends
    if real:
        assert ends[WORKED] >= 1, ends
        assert (watch.root / "summary.json").is_file()
    else:
        assert watch.found == watch.kept, "what was kept is gone"
        # A directory without a study has none of its files.
        left = {path.name for path in watch.root.iterdir()} if watch.root.is_dir() else set()
        assert watch.kept or left <= {".lock"}, left
    assert not list(watch.root.rglob("*.part"))


def main() -> None:
    """Race, and count."""
    folder, rounds, seed, *named = sys.argv[1:]
    config = load_config(named[0] if named else "demo")
    chance, total = random.Random(int(seed)), Counter[int]()
    watch = Watch(Path(folder))
    for _ in range(int(rounds)):
        # Mostly from nothing, where most can go wrong.
        if named or chance.random() < 0.7:
            shutil.rmtree(watch.root.parent, ignore_errors=True)
            watch.kept = ""
        ends = race(watch, config, chance, bool(named))
        check(watch, ends, bool(named))
        total += ends
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{total[WORKED]} {total[REFUSED]} {total[FAILED]}\n")


if __name__ == "__main__":
    main()
