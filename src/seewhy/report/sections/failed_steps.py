"""What failed while a study ran, in sentences: in place of its result, and at the top."""

from __future__ import annotations

from collections.abc import Mapping

from seewhy.report.sections.section import ReportInput
from seewhy.storage.schemas.summary import FailedStep, Step
from seewhy.storage.titles import failure, remedy
from seewhy.wording import listing


class MissingResults:
    """Why results are missing, by step and backbone.

    Parameters
    ----------
    study : ReportInput
    """

    def __init__(self, study: ReportInput) -> None:
        self._failed = study.summary.failed
        self._names: Mapping[str, str] = study.names

    def of(self, step: Step, slug: str | None = None) -> list[str]:
        """Return a sentence for each failure of a step, of all backbones or of one."""
        return [
            self._said(one)
            for one in self._failed
            if one.step == step and slug in (None, one.backbone)
        ]

    def opening(self) -> list[str]:
        """Return the sentence at the top of the report; none where nothing failed."""
        if not self._failed:
            return []
        said = (failure(self._named(one, "")) for one in self._failed)
        named = dict.fromkeys(text.removesuffix(" failed: ") for text in said)
        return [f"This study is incomplete: {listing(list(named))} failed."]

    def _said(self, one: FailedStep) -> str:
        again = remedy(one)  # With the slug, which the command takes.
        how = f" `{again}` repeats it." if again else ""
        return f"Missing, because {failure(self._named(one, one.reason)).rstrip('.')}.{how}"

    def _named(self, one: FailedStep, reason: str) -> FailedStep:
        """Use the display name of the backbone."""
        name = self._names.get(one.backbone, one.backbone) if one.backbone else None
        return one.model_copy(update={"backbone": name, "reason": reason})
