"""What every stage of a study shares."""

from __future__ import annotations

from dataclasses import dataclass

from seewhy.config import StudyConfig
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Progress
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.dataset import Dataset


@dataclass(frozen=True)
class StudyContext:
    """One study under way.

    `data_key` tells equal data. `audited` are the images that audits ask about: those of `data`,
    but for a mitigated study those before mitigation, which have what was mitigated. `failures`
    takes the optional steps that fail.
    """

    config: StudyConfig
    compute: Compute
    run: RunDirectory
    data: Dataset
    audited: Dataset
    data_key: str
    progress: Progress
    failures: Failures
