"""What all repositories share: the layout of the run directory, and what they own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.layout import Layout
from seewhy.storage.schemas.base import Record

Model = TypeVar("Model", bound=Record)


class Repository:
    """Writes and reads the files of one subject in a run directory.

    A subclass knows the names of its files. Files in the folders of `Layout` are deleted with these
    folders when a study starts over; those directly in the run directory are in `root_names`.
    """

    root_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, layout: Layout) -> None:
        self.layout = layout


class RecordRepository(Repository, Generic[Model]):
    """One record of each backbone, the JSON file `file` in its folder."""

    file: ClassVar[str]
    model: type[Model]

    def path(self, slug: str) -> Path:
        """Return the file of one backbone."""
        return self.layout.backbone(slug) / self.file

    def write(self, slug: str, record: Model) -> None:
        """Write the record of one backbone."""
        write_record(self.path(slug), record)

    def read(self, slug: str) -> Model | None:
        """Read the record of one backbone; None where there is none."""
        return record_where_there(self.path(slug), self.model)

    def delete(self, slug: str) -> bool:
        """Delete the record of one backbone, which is out of date; return whether there was one."""
        path = self.path(slug)
        there = path.is_file()
        path.unlink(missing_ok=True)
        return there


def all_root_names() -> Iterator[str]:
    """Yield what the repositories of all subjects have directly in a run directory."""
    waiting = Repository.__subclasses__()
    while waiting:
        repository = waiting.pop(0)
        waiting += repository.__subclasses__()
        yield from repository.root_names
