"""What every stage of a study shares."""

from __future__ import annotations

from dataclasses import dataclass

from seewhy.config import StudyConfig
from seewhy.models.compute import Compute
from seewhy.progress import Progress
from seewhy.records import Dataset
from seewhy.rundir import RunDirectory


@dataclass(frozen=True)
class Work:
    """One study under way; `data_key` tells equal data."""

    config: StudyConfig
    compute: Compute
    run: RunDirectory
    data: Dataset
    data_key: str
    progress: Progress
