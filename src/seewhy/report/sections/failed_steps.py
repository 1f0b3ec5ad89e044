"""What failed while a study ran, in sentences: in place of its result, and at the top."""

from __future__ import annotations

from seewhy.report.sections.section import ReportInput
from seewhy.storage.schemas.summary import FailedStep, Step
from seewhy.storage.titles import failure, remedy
from seewhy.wording import listing


class MissingResults:
    """Why results are missing, by step and backbone."""

    def __init__(self, study: ReportInput) -> None:
        self._failed = study.summary.failed
        self._names = study.names

    def of(self, step: Step, slug: str | None = None) -> list[str]:
        """Return a sentence for each failure of a step, of all backbones or of one."""
        return [
            self._sentence(one)
            for one in self._failed
            if one.step == step and slug in (None, one.backbone)
        ]

    def opening(self) -> list[str]:
        """Return the sentence at the top of the report; none where nothing failed."""
        if not self._failed:
            return []
        parts = (failure(self._named(one, "")).removesuffix(" failed: ") for one in self._failed)
        return [f"This study is incomplete: {listing(list(dict.fromkeys(parts)))} failed."]

    def _sentence(self, one: FailedStep) -> str:
        command = remedy(one)  # with the slug, which the command takes
        how = f" `{command}` repeats it." if command else ""
        return f"Missing, because {failure(self._named(one, one.reason)).rstrip('.')}.{how}"

    def _named(self, one: FailedStep, reason: str) -> FailedStep:
        """Use the display name of the backbone."""
        name = self._names.get(one.backbone, one.backbone) if one.backbone else None
        return one.model_copy(update={"backbone": name, "reason": reason})
