"""Likely label issues and outliers, as one backbone sees them: quality_issues.json."""

from __future__ import annotations

from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.quality_issues import QualityIssues


class QualityRepository(RecordRepository[QualityIssues]):
    """The label issues and outliers of each backbone; missing where this step failed."""

    file, model = "quality_issues.json", QualityIssues
