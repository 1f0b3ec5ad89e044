"""Run what is missing, and print the table: `make bench-peers`.

    python -m benchmarks.peers --data ../shared/data
    python -m benchmarks.peers --data ../shared/data --budgets 120 --seeds 0 --sets standin \
        --peers seewhy,fastai
    python -m benchmarks.peers --table

A run that has a record is not repeated, so the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import figure
from benchmarks.peers.driver import ARCHITECTURE, Task
from benchmarks.peers.environments import CannotInstallError, last_line, python_of
from benchmarks.peers.plan import (
    BUDGETS,
    PEERS,
    SIZES,
    WITHIN,
    Job,
    Record,
    missing,
    planned,
    read_reasons,
    read_records,
    write_reason,
    write_record,
)
from benchmarks.peers.scoring import score
from benchmarks.peers.table import table

ROOT = Path(__file__).parents[2]
# Interpreters, test predictions and what a library writes at its end take time too.
GRACE = 1800


def prepare(job: Job, data: Path, out: Path) -> tuple[Task, float]:
    """Make the images and weights where they are missing; return the task and the probe."""
    images = out / "images" / f"{job.data_set}_{job.seed}"
    weights = out / "weights" / ARCHITECTURE
    if not (images / "set.json").is_file():
        command = [sys.executable, "-m", "benchmarks.peers.images", "--set", job.data_set]
        places = {"data": data.resolve(), "out": images, "weights": weights, "seed": job.seed}
        command += [str(part) for key, value in places.items() for part in (f"--{key}", value)]
        subprocess.run(command, cwd=ROOT, check=True)
    about = json.loads((images / "set.json").read_text("utf-8"))
    work = out / "work" / job.name
    options = PEERS[job.peer].options
    task = Task(images, weights, work, about["size"], job.seed, job.budget, options)
    return task, about["probe_accuracy"]


def train(job: Job, task: Task, python: Path) -> Record:
    """Train in a process of the peer's own; return what it wrote.

    Raises
    ------
    RuntimeError
        With the last line of what the process printed where it failed, or where it did not end.
    """
    shutil.rmtree(task.work, ignore_errors=True)
    task.work.mkdir(parents=True)
    command = [str(python), "-m", f"benchmarks.peers.{PEERS[job.peer].driver}"]
    for name in ("images", "weights", "work", "size", "seed", "budget"):
        command += [f"--{name}", str(getattr(task, name))]
    command += ["--options", *task.options]
    own = {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
    if PEERS[job.peer].environment is not None:
        own["PYTHONPATH"] = str(ROOT)
    log, limit = task.work / "log.txt", task.budget + GRACE
    with log.open("w", encoding="utf-8") as stream:
        streams: dict[str, Any] = {"stdout": stream, "stderr": subprocess.STDOUT}
        environment = {**os.environ, **own}
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, timeout=limit, **streams)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"did not end within {limit} s (see {log})") from error
    if done.returncode:
        raise RuntimeError(f"{last_line(log.read_text('utf-8'))} (see {log})")
    written: Record = json.loads((task.work / "trained.json").read_text("utf-8"))
    return written


def scored(job: Job, task: Task, probe: float, trained: Record, out: Path) -> Record:
    """Score the test predictions, which are kept beside the records; return the record."""
    kept = out / "predictions" / f"{job.name}.npz"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(task.work / "test.npz", kept)
    with np.load(kept) as stored:
        scores = score(task.labels("test"), stored["probabilities"])
    head = trained["head_accuracy"]
    return {
        **{"peer": job.peer, "data_set": job.data_set, "seed": job.seed, "budget": job.budget},
        **trained,
        **scores,
        "probe_accuracy": probe,
        "within_3_points": None if head is None else head >= probe - WITHIN,
    }


def run(jobs: Sequence[Job], data: Path, out: Path, environments: Path) -> None:
    """Run jobs one after the other; a peer that fails once is left out, with its reason."""
    failed: set[str] = set()
    for number, job in enumerate(jobs, 1):
        if job.peer in failed:
            continue
        print(f"{number} of {len(jobs)}: {job.name}", flush=True)
        task, probe = prepare(job, data, out)
        try:
            python = python_of(job.peer, environments)
            record = scored(job, task, probe, train(job, task, python), out)
        except (CannotInstallError, RuntimeError, ValueError) as error:
            print(f"{job.peer}: not measured: {error}", flush=True)
            write_reason(out, job.peer, str(error))
            failed.add(job.peer)
            continue
        write_record(out, job, record)
        write_reason(out, job.peer, None)


def listed(text: str) -> list[str]:
    """Split what commas divide."""
    return [part.strip() for part in text.split(",") if part.strip()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder that holds the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-peers"))
    parser.add_argument("--environments", type=Path, default=Path("build/peers"))
    parser.add_argument("--peers", type=listed, default=list(PEERS))
    parser.add_argument("--sets", type=listed, default=list(SIZES))
    parser.add_argument("--seeds", type=listed, default=["0", "1", "2"])
    parser.add_argument("--budgets", type=listed, default=list(map(str, BUDGETS)), help="seconds")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    parser.add_argument("--figure", type=Path, help="draw accuracy over time into this file")
    given = parser.parse_args(arguments)
    out = given.out.resolve()
    if not given.table:
        if given.data is None:
            parser.error("--data is needed to train")
        seeds, budgets = (list(map(int, numbers)) for numbers in (given.seeds, given.budgets))
        jobs = missing(planned(given.peers, given.sets, seeds, budgets), out)
        run(jobs, given.data, out, given.environments.resolve())
    records = read_records(out)
    print(table(records, read_reasons(out)))
    if given.figure:
        figure.save(records, given.figure)


if __name__ == "__main__":
    main()
