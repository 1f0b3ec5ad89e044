"""Optional steps: one that fails costs its own result and never the study.

Training, predictions and maps are what a study is for: an error there ends it. The checks of the
data, folds, label issues, the choice of maps, faithfulness, audits, the evaluation, mitigation and
the report add to it: an error there is recorded, and the study continues. Ctrl-C and a kill always
end it.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from seewhy.errors import SeewhyError, first_line
from seewhy.runtime.progress import Progress
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.summary import FailedStep, Step
from seewhy.storage.titles import failure


class Failures:
    """The optional steps of one study that failed, in this order: `found`.

    The `study.log` of `run` gets the tracebacks, and `progress` shows each failure.
    """

    def __init__(self, run: RunDirectory, progress: Progress) -> None:
        self.found: list[FailedStep] = []
        self._run = run
        self._progress = progress

    @contextmanager
    def optional(
        self,
        step: Step,
        backbone: str | None = None,
        stage: Stage | None = None,
        part: str = "",
        refusals: bool = True,
    ) -> Iterator[None]:
        """Record what goes wrong inside, and continue after it.

        `backbone` is a slug, where the step is one backbone's; `part` is the part of the step, such
        as a section of the report, for the reason. With `refusals` a SeewhyError is recorded too;
        else it is raised.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, SeewhyError) and not refusals:
                raise
            reason = f"{part}: {_reason(error)}" if part else _reason(error)
            self._add(
                FailedStep(step=step, reason=reason, backbone=backbone, stage=stage),
                traceback.format_exc(),
            )

    def of(self, backbone: str) -> list[FailedStep]:
        """Return what failed of one backbone."""
        return [one for one in self.found if one.backbone == backbone]

    def _add(self, failed: FailedStep, details: str) -> None:
        self.found.append(failed)
        now = datetime.now().isoformat(" ", "seconds")
        # A full disk or a missing folder must not turn an optional step into the end of the study.
        with suppress(OSError), self._run.layout.log.open("a", encoding="utf-8") as log:
            log.write(f"{now} ERROR {failure(failed)}\n{details}")
        self._progress.say(f"{failure(failed)}; the study continues, study.log has the details")


def _reason(error: Exception) -> str:
    """Return in one line why a step failed."""
    if isinstance(error, SeewhyError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk"
    message, kind = first_line(error), type(error).__name__
    return message if message == kind else f"{kind}: {message}"
