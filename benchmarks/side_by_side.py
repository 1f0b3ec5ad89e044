"""Two ways to do the same work, timed in turn in one run, each in a process of its own.

The processes take turns (A B A B …), so that a machine that slows down slows both, and each has
its own peak memory: what the process held at most while it worked, its model and libraries
included, or, where it used a CUDA device, what lay there. Medians are printed, with the least and
the most, and what the processors spent: where other work shares them, that says more than the
clock, if every process has a single thread (OMP_NUM_THREADS=1; several threads wait busily).
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

# Builds what one way needs and returns the work of one round.
Setup = Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class Measurement:
    """One way's seconds, by the clock and on the processors, and its peak memory in GiB."""

    name: str
    seconds: tuple[float, ...]
    spent: tuple[float, ...]
    peak_gib: float

    @property
    def median(self) -> float:
        """The median time by the clock."""
        return statistics.median(self.seconds)


def ratio(seconds: tuple[float, ...], first: tuple[float, ...]) -> float:
    """Return the median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(seconds, first, strict=True))


def measure(ways: dict[str, Setup], rounds: int) -> list[Measurement]:
    """Time every way `rounds` times in turn, after one round each that is not counted."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name, setup in ways.items():
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(setup, there), daemon=True)
        process.start()
        pipes[name] = here
        processes.append(process)
    for pipe in pipes.values():
        assert pipe.recv() == "ready"
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send("round")
            took = pipe.recv()
            if number:
                rows[name].append(took)
    found = []
    for name, pipe in pipes.items():
        pipe.send("end")
        seconds, spent = zip(*rows[name], strict=True)
        found.append(Measurement(name, seconds, spent, pipe.recv()))
    for process in processes:
        process.join()
    return found


def show(title: str, found: list[Measurement]) -> None:
    """Print a table; ratios are to the first way, round by round."""
    print(f"\n{title}")
    print(
        f"  {'':36} {'median':>9} {'least':>9} {'most':>9} {'ratio':>6} {'spent':>9} {'ratio':>6}"
        f" {'peak':>9}"
    )
    first = found[0]
    for way in found:
        print(
            f"  {way.name:36} {way.median:8.3f}s {min(way.seconds):8.3f}s {max(way.seconds):8.3f}s"
            f" {ratio(way.seconds, first.seconds):6.2f} {statistics.median(way.spent):8.3f}s"
            f" {ratio(way.spent, first.spent):6.2f} {way.peak_gib:5.2f} GiB"
        )


def _serve(setup: Setup, pipe: Connection) -> None:
    work = setup()
    _forget_peak()
    pipe.send("ready")
    while pipe.recv() == "round":
        started, spent = time.perf_counter(), time.process_time()
        work()
        pipe.send((time.perf_counter() - started, time.process_time() - spent))
    pipe.send(_peak_gib())


def _forget_peak() -> None:
    """Count from now on: making a network may have taken more than using it."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    # Writing 5 makes Linux set the peak to what is held now.
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _peak_gib() -> float:
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    return float("nan")
