"""Which runs there are, and where their records are; imports nothing that trains."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUDGETS = (120, 300, 600)  # seconds
SIZES = {"standin": 96, "imagenette": 160, "pacs": 160, "tiles": 160}
# Classes of very unequal sizes: accuracy would say little.
METRICS = {"tiles": "macro_recall"}
WITHIN = 0.03

Record = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A library as one kind of its users would run it.

    Attributes
    ----------
    title : str
        Its name in the table.
    driver : str
        The module of this package that trains with it.
    environment : str, optional
        The virtual environment it needs, and the file of requirements; None: seewhy's own.
    options : tuple of str, default ()
        Given to the driver.
    """

    title: str
    driver: str
    environment: str | None
    options: tuple[str, ...] = ()


PEERS = {
    "seewhy": Peer("seewhy", "drive_seewhy", None),
    "fastai": Peer("fastai", "drive_fastai", "fastai"),
    "fastai-bnfreeze": Peer("fastai, BnFreeze", "drive_fastai", "fastai", ("bnfreeze",)),
    "timm": Peer("timm", "drive_timm", "timm"),
    "lightly": Peer("LightlyTrain", "drive_lightly", "lightly"),
    "autogluon": Peer("AutoGluon", "drive_autogluon", "autogluon"),
}


@dataclass(frozen=True)
class Job:
    """One training: a peer, a data set divided by a seed, and the seconds it may take."""

    peer: str
    data_set: str
    seed: int
    budget: int

    @property
    def name(self) -> str:
        """Its name in file names."""
        return f"{self.peer}_{self.data_set}_{self.seed}_{self.budget}"


def planned(
    peers: Sequence[str], sets: Sequence[str], seeds: Iterable[int], budgets: Iterable[int]
) -> list[Job]:
    """Return all jobs; the peers take turns, so that a slow hour of the machine slows all of them.

    Raises
    ------
    ValueError
        For a peer or a data set that is not known.
    """
    for kind, wanted, known in (("peer", peers, PEERS), ("data set", sets, SIZES)):
        for name in wanted:
            if name not in known:
                raise ValueError(f"no {kind} is called {name!r}; expected {', '.join(known)}")
    turns = itertools.product(budgets, seeds, sets, peers)
    return [Job(peer, name, seed, budget) for budget, seed, name, peer in turns]


def record_path(out: Path, job: Job) -> Path:
    """Return where a job's record is."""
    return out / "records" / f"{job.name}.json"


def missing(jobs: Iterable[Job], out: Path) -> list[Job]:
    """Return the jobs without a record."""
    return [job for job in jobs if not record_path(out, job).is_file()]


def write_record(out: Path, job: Job, record: Record) -> None:
    """Write a record; it is there whole or not at all."""
    path = record_path(out, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    part.replace(path)


def read_records(out: Path) -> list[Record]:
    """Return all records."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("records/*.json"))]


def write_reason(out: Path, peer: str, reason: str | None) -> None:
    """Note why a peer was not measured; None: it was."""
    path = out / "not_measured" / f"{peer}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if reason is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(" ".join(reason.split()) + "\n", "utf-8")


def read_reasons(out: Path) -> dict[str, str]:
    """Return why peers were not measured."""
    found = sorted(out.glob("not_measured/*.txt"))
    return {path.stem: path.read_text("utf-8").strip() for path in found}
