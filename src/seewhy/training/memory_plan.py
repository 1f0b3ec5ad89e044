"""Where the activations at the cut are kept between epochs: in memory, on disk, or nowhere.

The choice depends on the machine's state and on measured times, so it is made once and recorded.
It changes no number: see ``cut_activations.py``. Knows sizes and budgets, no networks.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seewhy.config import FinetuningConfig
from seewhy.storage.schemas.training import Place
from seewhy.training.free_memory import free_memory

_GIB = 2**30


@dataclass(frozen=True)
class ActivationPlan:
    """Where the activations at the cut are kept between epochs, and why (one sentence)."""

    place: Place
    reason: str

    def __str__(self) -> str:
        words = {
            "memory": "kept in memory",
            "disk": "kept on disk",
            "recompute": "recomputed in every epoch",
        }
        return f"{words[self.place]}: {self.reason}"


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that kept activations may take."""

    memory: int
    disk: int


def read_budget(config: FinetuningConfig, folder: Path) -> MemoryBudget:
    """Return the configured budgets; where none is set, half of what is free now."""
    in_memory = config.memory_gib * _GIB if config.memory_gib is not None else free_memory() / 2
    on_disk = (
        config.disk_gib * _GIB
        if config.disk_gib is not None
        else shutil.disk_usage(folder).free / 2
    )
    return MemoryBudget(int(in_memory), int(on_disk))


def plan_activations(
    keep: Literal["auto", "memory", "disk", "recompute"],
    needed: int,
    budget: MemoryBudget,
    recompute_seconds: float,
    read_seconds: float,
) -> ActivationPlan:
    """Decide where the activations at the cut are kept between epochs.

    Memory is taken wherever it suffices. A disk is taken where reading an epoch's activations
    from it costs less than running the prefix again; both times are measured on this machine.
    Anything but ``auto`` is obeyed. `needed` is the size of all activations to keep, bytes.
    """
    size = _size(needed)
    if keep != "auto":
        return ActivationPlan(keep, f"{size}: {keep} was asked for")
    if needed <= budget.memory:
        return ActivationPlan(
            "memory", f"{size} fit the memory budget of {budget.memory / _GIB:.2f} GiB"
        )
    over = f"{size} exceed the memory budget of {budget.memory / _GIB:.2f} GiB"
    if needed > budget.disk:
        return ActivationPlan(
            "recompute", f"{over} and the disk budget of {budget.disk / _GIB:.2f} GiB"
        )
    costs = (
        f"reading them takes {read_seconds:.1f} s an epoch, the prefix {recompute_seconds:.1f} s"
    )
    return ActivationPlan(
        "disk" if read_seconds < recompute_seconds else "recompute", f"{over}; {costs}"
    )


def resume_plan(recorded: Place, needed: int, budget: MemoryBudget) -> ActivationPlan:
    """Return the plan of a study that is resumed: as recorded, or what today's machine allows.

    `needed` is the size of all activations to keep, bytes; the budget is today's.
    """
    began = f"{_size(needed)}: {recorded}, as when this backbone was started"
    if recorded == "recompute":
        return ActivationPlan("recompute", began)
    room: dict[Place, int] = {"memory": budget.memory, "disk": budget.disk}
    other: Place = "disk" if recorded == "memory" else "memory"
    if needed <= room[recorded]:
        return ActivationPlan(recorded, began)
    over = (
        f"{_size(needed)} were kept in another place when this backbone was started, but exceed "
        f"today's {recorded} budget of {room[recorded] / _GIB:.2f} GiB"
    )
    return ActivationPlan(other if needed <= room[other] else "recompute", over)


def _size(needed: int) -> str:
    return f"{needed / _GIB:.2f} GiB of activations at the cut"
