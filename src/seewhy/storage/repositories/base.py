"""What all repositories share: the layout of the run directory, and what they own in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from seewhy.storage.layout import Layout


class Repository:
    """Writes and reads the files of one subject in a run directory.

    A subclass knows the names of its files. Files in the folders of `Layout` are deleted with these
    folders when a study starts over; those directly in the run directory are in `root_names`.
    """

    root_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, layout: Layout) -> None:
        self.layout = layout


def all_root_names() -> Iterator[str]:
    """Yield what the repositories of all subjects have directly in a run directory."""
    waiting = Repository.__subclasses__()
    while waiting:
        repository = waiting.pop(0)
        waiting += repository.__subclasses__()
        yield from repository.root_names
