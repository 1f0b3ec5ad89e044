"""Progress on standard error: bars in a terminal, one line per task in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from seewhy.cli.console import err
from seewhy.runtime.progress import Advance, Progress, Silent


def choose_progress(quiet: bool) -> Progress:
    """Return what shows progress: nothing with ``--quiet``, else bars."""
    return Silent() if quiet else ProgressBars()


class ProgressBars:
    """Shows the running task and its remaining time."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Show a task of `total` steps; in a file, only its name and time at its end."""
        if not err.is_terminal:
            started = time.monotonic()
            yield lambda steps: None
            self.say(f"{name}: {time.monotonic() - started:.0f} s")
            return
        bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
        )
        with bars:
            task = bars.add_task(escape(name), total=total)
            yield lambda steps: bars.advance(task, steps)

    def say(self, message: str) -> None:
        """Print a line that stays."""
        err.print(escape(message))
