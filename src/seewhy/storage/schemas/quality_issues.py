"""Likely label issues and outliers, as one backbone sees them: quality_issues.json.

Plain values. How they are found is in ``data/quality/label_issues.py`` and ``audit/``.
"""

from __future__ import annotations

from pydantic import Field

from seewhy.storage.schemas.base import Rate, Record
from seewhy.storage.schemas.dataset import Split


class QualityIssue(Record):
    """One image that may be mislabelled, or may belong to no class.

    `suggested` is the class the classifier would give it, None for an outlier. `score` is the
    higher the more likely; comparable within one list only. `reason` says why, with the numbers.
    """

    id: str
    path: str
    split: Split
    label: str
    suggested: str | None = None
    score: Rate
    reason: str


class QualityIssueList(Record):
    """Quality issues of one kind, the most likely first.

    `looked_at` images were judged, `count` of them pass the rule that `rule` says in a sentence;
    `first` are the most likely of these. `expected` is how many pass it by chance where nothing
    is wrong, None where that cannot be estimated; `expectation` says it in a sentence. Where
    nothing could be judged, `skipped` says why.
    """

    rule: str = ""
    looked_at: int = 0
    count: int = 0
    first: list[QualityIssue] = Field(default_factory=list)
    expected: float | None = None
    expectation: str = ""
    skipped: str | None = None


class QualityIssues(Record):
    """quality_issues.json: likely label issues and outliers, as one backbone sees them.

    Nothing is trained, chosen or left out because of them. Each image was judged by a classifier
    that was not trained on it.
    """

    label_issues: QualityIssueList
    outliers: QualityIssueList
