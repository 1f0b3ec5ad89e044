"""What every stage of a study shares."""

from __future__ import annotations

from dataclasses import dataclass

from seewhy.config import StudyConfig
from seewhy.failures import Failures
from seewhy.models.compute import Compute
from seewhy.progress import Progress
from seewhy.records import Dataset
from seewhy.rundir import RunDirectory


@dataclass(frozen=True)
class Work:
    """One study under way.

    `data_key` tells equal data. `audited` are the images that audits ask about: those of `data`,
    but for a mended study those before mending, which have what was mended. `failures` takes the
    optional steps that fail.
    """

    config: StudyConfig
    compute: Compute
    run: RunDirectory
    data: Dataset
    audited: Dataset
    data_key: str
    progress: Progress
    failures: Failures
