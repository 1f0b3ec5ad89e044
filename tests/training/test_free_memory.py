"""How much memory is free: of the machine, of a container, of a job inside one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seewhy.config import FinetuningConfig
from seewhy.training import free_memory as memory
from seewhy.training.memory_plan import read_budget

GIB = 2**30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that is written down in files, with 8 GiB available."""
    (tmp_path / "meminfo").write_text(
        f"MemTotal: {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {8 * 2**20} kB\n"
    )
    (tmp_path / "cgroup").write_text("0::/\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
    for name in ("_VERSION_1", "_VERSION_2"):
        one = getattr(memory, name)
        monkeypatch.setattr(memory, name, replace(one, folder=tmp_path / "none" / one.folder.name))
    return tmp_path


def write_group(folder: Path, limit: object, used: object, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nslab_reclaimable 0\n")


def test_without_groups_what_the_machine_has_available_counts(machine: Path) -> None:
    assert memory.free_memory() == 8 * GIB
    assert read_budget(FinetuningConfig(disk_gib=1), machine).memory == 4 * GIB
    (machine / "cgroup").unlink()
    assert memory.free_memory() == 8 * GIB


def test_page_cache_that_can_be_reclaimed_is_free(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_VERSION_2", replace(memory._VERSION_2, folder=machine / "two"))
    # All of the limit is used; three of four GiB are files that were read once.
    write_group(machine / "two", 4 * GIB, 4 * GIB, cached=3 * GIB)
    assert memory.free_memory() == 3 * GIB
    write_group(machine / "two", "max", 4 * GIB)
    assert memory.free_memory() == 8 * GIB
    write_group(machine / "two", GIB, 2 * GIB)  # above its limit: nothing, not less than nothing
    assert memory.free_memory() == 0


def test_the_tightest_of_the_groups_around_a_process_counts(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_VERSION_2", replace(memory._VERSION_2, folder=machine / "two"))
    (machine / "cgroup").write_text("0::/slurm/job_7/step_0\n")
    write_group(machine / "two" / "slurm", 64 * GIB, GIB)
    write_group(machine / "two" / "slurm" / "job_7", 3 * GIB, GIB)
    write_group(machine / "two" / "slurm" / "job_7" / "step_0", "max", GIB)
    assert memory.free_memory() == 2 * GIB
    (machine / "two" / "slurm" / "job_7" / "memory.high").write_text(f"{2 * GIB}\n")
    assert memory.free_memory() == GIB
    # Inside a container the file system may start below the group's own name.
    (machine / "cgroup").write_text("0::/docker/0123\n")
    write_group(machine / "two", 5 * GIB, GIB)
    assert memory.free_memory() == 4 * GIB


def test_control_groups_of_version_1_count_too(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_VERSION_1", replace(memory._VERSION_1, folder=machine / "one"))
    (machine / "cgroup").write_text("5:cpu:/\n4:memory:/api/42\n0::/\n")
    group = machine / "one" / "api" / "42"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{4 * GIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{3 * GIB}\n")
    (group / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {GIB}\n")
    (machine / "one" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (machine / "one" / "memory.usage_in_bytes").write_text(f"{9 * GIB}\n")
    assert memory.free_memory() == 2 * GIB
