"""Likely label issues and outliers, as one backbone sees them: quality_issues.json."""

from __future__ import annotations

from pathlib import Path

from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.quality_issues import QualityIssues


class QualityRepository(Repository):
    """The label issues and outliers of one backbone."""

    def path(self, slug: str) -> Path:
        """Return one backbone's quality_issues.json."""
        return self.layout.backbone(slug) / "quality_issues.json"

    def write(self, slug: str, issues: QualityIssues) -> None:
        """Write quality_issues.json."""
        write_record(self.path(slug), issues)

    def read(self, slug: str) -> QualityIssues | None:
        """Read quality_issues.json; None where this step failed."""
        return record_where_there(self.path(slug), QualityIssues)
