"""What every stage of a study shares."""

from __future__ import annotations

from dataclasses import dataclass

from seewhy.config import StudyConfig
from seewhy.pipeline.time_plan import TimeBudget
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Progress
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.dataset import Dataset


@dataclass(frozen=True)
class StudyContext:
    """One study while it runs.

    `data_key` identifies the data. `audited` are the images that audits use: those of `data`, but
    for a mitigated study those before mitigation, which still have what was mitigated. `budget`
    is None where the study may take as long as it takes.
    """

    config: StudyConfig
    compute: Compute
    run: RunDirectory
    data: Dataset
    audited: Dataset
    data_key: str
    progress: Progress
    failures: Failures
    budget: TimeBudget | None = None
