"""How long work reports its progress, without knowing who listens.

The command line passes a Rich bar, a notebook or a test nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

Advance = Callable[[int], None]


@runtime_checkable
class Progress(Protocol):
    """Something that can show one task at a time."""

    def task(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Open a task of `total` steps; call what it yields with the number of steps done."""

    def say(self, message: str) -> None:
        """Show one line that stays."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Open a task that is not shown."""
        yield lambda steps: None

    def say(self, message: str) -> None:
        """Drop the line."""
