"""Ctrl-C ends a study at its next step instead of in the middle of one.

Every stage reports its progress after each step; there it may be stopped.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from seewhy.runtime.progress import Advance, Progress


class _Stoppable:
    """Passes progress on, and ends the study where it was asked to stop."""

    def __init__(self, inner: Progress) -> None:
        self.asked = False
        self._inner = inner

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Pass a task on; each of its steps may be the last."""
        with self._inner.task(name, total) as advance:

            def step(steps: int) -> None:
                advance(steps)
                if self.asked:
                    raise KeyboardInterrupt

            yield step

    def say(self, message: str) -> None:
        """Pass a message on."""
        self._inner.say(message)


@contextmanager
def stopping_gently(progress: Progress) -> Iterator[Progress]:
    """Yield `progress` such that Ctrl-C raises KeyboardInterrupt at the study's next step.

    A second Ctrl-C raises it at once. The handler is as before afterwards. Only for the main
    thread, which alone gets signals.
    """
    stoppable = _Stoppable(progress)

    def ask(number: int, frame: FrameType | None) -> None:
        stoppable.asked = True
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
        progress.say("stopping after this step (Ctrl-C again: at once)")

    before: Callable[[int, FrameType | None], object] | int | None
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stoppable
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
