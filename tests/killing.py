"""Runs one study again and again in forked processes and kills them, until it has ended.

    python tests/killing.py CONFIG OUT SEED MOST_KILLS SECONDS

Writes how often it killed. Each process is killed after a random part of SECONDS; after MOST_KILLS
the next one may end by itself. Each finds other room for activations: in memory, on disk alone, or
nowhere. Forking spares each of them the imports.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from seewhy.config import load_config
from seewhy.pipeline.study import run_study
from seewhy.training import feature_cache as features
from seewhy.training.memory_plan import MemoryBudget

BUDGETS = (MemoryBudget(10**12, 10**12), MemoryBudget(0, 10**12), MemoryBudget(0, 0))


def attempt(config: str, out: str, budget: MemoryBudget) -> int:
    """Start a process that runs or continues the study; return its id."""
    process = os.fork()
    if process == 0:
        features.read_budget = lambda *_: budget
        try:
            run_study(load_config(config), out)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return process


def main() -> None:
    """Kill and continue until the study has ended."""
    config, out, seed, most, seconds = sys.argv[1:]
    chance, kills = random.Random(int(seed)), 0
    while True:
        process = attempt(config, out, chance.choice(BUDGETS))
        if kills < int(most):
            time.sleep(chance.uniform(0, float(seconds)))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            kills += 1
            continue
        sys.stdout.write(f"{kills}\n")
        sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
