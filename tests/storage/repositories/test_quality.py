"""Label issues and outliers are read as they were written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.quality_issues import QualityIssue, QualityIssueList, QualityIssues

Write = Callable[[RunDirectory], Any]


def test_quality_issues_come_back(
    tmp_path: Path, write_backbone: Write, classes: Sequence[str]
) -> None:
    run = RunDirectory(tmp_path)
    write_backbone(run)
    assert run.backbones.read("net", classes).issues is None
    one = QualityIssue(
        id="b", path="b.png", split="train", label="cat", suggested="<b>", score=0.5, reason="so"
    )
    issues = QualityIssues(
        label_issues=QualityIssueList(rule="a rule", looked_at=9, count=1, first=[one]),
        outliers=QualityIssueList(skipped="nothing to compare with"),
    )
    run.quality.write("net", issues)
    assert run.backbones.read("net", classes).issues == issues
