"""The files that a study is made of: images, arrays and weights on this machine, and what changed.

Files are equal where their sizes and times are; where only the time differs, their contents
decide. What is built in or downloaded is not looked at: the demo is drawn from its settings, and
downloads are verified when they come.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from seewhy.config import StudyConfig
from seewhy.data.sources.open_source import CIFAR102, find_images
from seewhy.runtime.progress import Progress, Silent
from seewhy.storage.schemas.provenance import SourceFile

LOCAL = "local-dir:"
# Files between two signs of progress.
_STEP = 64
Item = TypeVar("Item")
Result = TypeVar("Result")
DATA = "data"


@dataclass(frozen=True)
class FileChanges:
    """How files differ from those that a study was made of; lists of their names."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        counted = (
            (self.added, "added"),
            (self.removed, "removed"),
            (self.changed, "changed"),
        )
        parts = ", ".join(f"{len(names):,} {what}" for names, what in counted if names)
        first = min((*self.added, *self.removed, *self.changed), default="")
        return f"{parts}; the first: {first}"


@dataclass(frozen=True)
class _File:
    """One file as it is there now."""

    part: str
    name: str
    label: str
    split: str
    path: Path


def named_places(config: StudyConfig) -> dict[str, Path]:
    """Return the absolute path, links resolved, of what a configuration names on this machine.

    By the configuration's key, ``data.source`` or ``backbone.0.name``.
    """
    named: dict[str, str] = {}
    if config.data.source not in ("demo", CIFAR102):
        named["data.source"] = config.data.source
    if config.data.test is not None:
        named["data.test"] = config.data.test
    for key in ("root", "corrections"):
        if getattr(config.data, key) is not None:
            named[f"data.{key}"] = getattr(config.data, key)
    for number, backbone in enumerate(config.backbone):
        for key in ("name", "weights"):
            text: str = getattr(backbone, key)
            if text.startswith(LOCAL):
                named[f"backbone.{number}.{key}"] = text.removeprefix(LOCAL)
    return {key: Path(text).expanduser().resolve() for key, text in named.items()}


def source_files(config: StudyConfig, progress: Progress) -> tuple[SourceFile, ...]:
    """Describe all files that a study is made of: names, sizes, times, contents.

    Raises DataError where the images cannot be listed.
    """
    files = list(_files(config, ()))
    if not files:
        return ()
    found: list[SourceFile] = []
    with progress.task("source files", len(files)) as advance:
        for start in range(0, len(files), _STEP):
            part = files[start : start + _STEP]
            found += _in_threads(_described, part)
            advance(len(part))
    return tuple(found)


def changes(
    config: StudyConfig,
    before: Sequence[SourceFile],
    moved: bool = False,
    without: Collection[str] = (),
) -> dict[str, FileChanges]:
    """Compare the files that a configuration names with those that a study was made of, by part.

    `moved`: they are stored elsewhere now, so equal sizes and times are not enough. Parts in
    `without` are not compared; parts without changes are left out of the result. Raises DataError
    where the images cannot be listed.
    """
    there = {(one.part, one.name): one for one in before}
    now = {(one.part, one.name): one for one in _files(config, without)}
    both = [(there[key], file) for key, file in now.items() if key in there]
    differing = _in_threads(lambda pair: _is_changed(*pair, moved), both)
    changed = [file for (_, file), differs in zip(both, differing, strict=True) if differs]
    found: dict[str, FileChanges] = {}
    for part in dict.fromkeys(part for part, _ in (*there, *now)):
        one = FileChanges(
            added=tuple(key[1] for key in now if key[0] == part and key not in there),
            removed=tuple(key[1] for key in there if key[0] == part and key not in now),
            changed=tuple(file.name for file in changed if file.part == part),
        )
        if one:
            found[part] = one
    return found


def _files(config: StudyConfig, without: Collection[str]) -> Iterator[_File]:
    places = named_places(config)
    source = None if DATA in without else places.get("data.source")
    if source is not None and (source.is_dir() or source.suffix.lower() != ".npz"):
        listing = find_images(config, Silent())
        for file in listing.other_sources:
            yield _File(DATA, Path(os.path.relpath(file, source)).as_posix(), "", "", file)
        for name, file, label, split in zip(
            listing.paths, listing.files, listing.labels, listing.splits, strict=True
        ):
            yield _File(DATA, name, listing.classes[label], split or "", file)
    elif source is not None:
        for key in ("data.source", "data.test"):
            if key in places:
                yield _File(DATA, places[key].name, "", "", places[key])
    for key, place in places.items():
        section, _, rest = key.partition(".")
        if section == "backbone":
            part = f"{section}.{rest.partition('.')[0]}"
            for name in () if part in without else ("config.json", "model.safetensors"):
                yield _File(part, name, "", "", place / name)


def _described(file: _File) -> SourceFile:
    size, modified = _status(file.path)
    parts = (file.part, file.name, file.label, file.split)
    return SourceFile(*parts, size, modified, _digest(file.path))


def _is_changed(there: SourceFile, now: _File, moved: bool) -> bool:
    size, modified = _status(now.path)
    if (there.label, there.split, there.size) != (now.label, now.split, size):
        return True
    if modified == there.modified and not moved:
        return False
    return _digest(now.path) != there.sha256


def _status(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `work` makes of each item, in order; reading waits for the disk."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="files") as pool:
        return list(pool.map(work, items))
