"""How much memory is available: the machine's, or less inside a container or a job.

What the system keeps of files while nothing else needs the space (page cache) counts as free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GIB = 2**30
_MEMINFO, _GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class _MemoryController:
    """Where one version of Linux' control groups tells limits, use, and what can be reclaimed."""

    folder: Path
    limits: tuple[str, ...]
    used: str
    reclaimable: tuple[str, ...]


_VERSION_1 = _MemoryController(
    Path("/sys/fs/cgroup/memory"),
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file",),
)
_VERSION_2 = _MemoryController(
    Path("/sys/fs/cgroup"),
    ("memory.max", "memory.high"),
    "memory.current",
    ("inactive_file", "slab_reclaimable"),
)


def free_memory() -> int:
    """Return the memory that is available without swapping, bytes.

    The least of what the machine has available and of what each control group leaves that this
    process is in.
    """
    return max(min([system_memory(), *_left_by_groups()]), 0)


def system_memory() -> int:
    """Return the memory that the whole machine has available, bytes."""
    try:
        for line in _MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * _GIB


def _left_by_groups() -> Iterator[int]:
    """Yield what each limit leaves: of the process' own groups, and of all those around them."""
    for controller, group in _groups():
        place = controller.folder / group.lstrip("/")
        # Inside a container its groups may be named as they are outside; what is not there is
        # passed over, and the mount's root is the container's own.
        while True:
            used = _number(place / controller.used)
            for name in controller.limits:
                limit = _number(place / name)
                if limit is not None and used is not None:
                    yield limit - used + _reclaimable(place, controller)
            if place == controller.folder or controller.folder not in place.parents:
                break
            place = place.parent


def _groups() -> Iterator[tuple[_MemoryController, str]]:
    """Yield the groups that limit this process' memory, by their controller."""
    try:
        lines = _GROUPS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, group = [*line.split(":", 2), "", ""][:3]
        if ".." in Path(group).parts:  # of a process outside the namespace that we see
            group = "/"
        if number == "0" and not controllers:
            yield _VERSION_2, group
        elif "memory" in controllers.split(","):
            yield _VERSION_1, group


def _reclaimable(place: Path, controller: _MemoryController) -> int:
    try:
        lines = (place / "memory.stat").read_text("ascii").splitlines()
        fields = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
    except (OSError, ValueError):
        return 0
    return sum(fields.get(name, 0) for name in controller.reclaimable)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
