"""Where activations are kept, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from seewhy.config import FinetuningConfig
from seewhy.training.memory_plan import MemoryBudget, plan_activations, read_budget

GIB = 2**30


@pytest.mark.parametrize(
    ("keep", "needed", "recompute", "read", "place", "words"),
    [
        ("auto", 3 * GIB, 9, 1, "memory", "fit the memory budget of 4.00 GiB"),
        ("auto", 5 * GIB, 9, 1, "disk", "reading them takes 1.0 s an epoch, the prefix 9.0 s"),
        ("auto", 5 * GIB, 1, 9, "recompute", "reading them takes 9.0 s an epoch"),
        ("auto", 9 * GIB, 9, 1, "recompute", "exceed the memory budget of 4.00 GiB and the disk"),
        ("disk", 1 * GIB, 0, 0, "disk", "disk was asked for"),
        ("recompute", 1, 0, 0, "recompute", "recompute was asked for"),
    ],
)
def test_the_plan_says_where_and_why(
    keep: str, needed: int, recompute: float, read: float, place: str, words: str
) -> None:
    plan = plan_activations(keep, needed, MemoryBudget(4 * GIB, 8 * GIB), recompute, read)
    assert plan.place == place
    assert words in plan.reason


def test_budgets_are_what_was_set_or_half_of_what_is_free(tmp_path: Path) -> None:
    budget = read_budget(FinetuningConfig(memory_gib=0.5, disk_gib=2), tmp_path)
    assert (budget.memory, budget.disk) == (GIB // 2, 2 * GIB)
    free = read_budget(FinetuningConfig(), tmp_path)
    assert 0 < free.memory < 2**50
    assert 0 < free.disk < 2**60
