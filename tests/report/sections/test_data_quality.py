"""What the checks found, with pictures; names stay text, and what was not looked for is said."""

from __future__ import annotations

import re
from collections.abc import Callable

from seewhy.report.build import build_report
from seewhy.storage.schemas.data_checks import (
    ClassBalance,
    DataFindings,
    DuplicateGroup,
    DuplicateImage,
    DuplicatesRecord,
    FlaggedImage,
    ImageFault,
)
from seewhy.storage.schemas.quality_issues import QualityIssue, QualityIssueList, QualityIssues

EVIL = "<script>alert(1)</script>.jpg"


def _findings() -> DataFindings:
    copies = [
        DuplicateImage(id="id000", path=EVIL, label="cat", split="train"),
        DuplicateImage(id="id009", path="b.jpg", label="dog", split="test"),
    ]
    group = DuplicateGroup(
        kind="exact",
        size=2,
        similarity=1.0,
        labels=["cat", "dog"],
        splits=["train", "test"],
        images=copies,
    )
    flagged = FlaggedImage(
        id="id001", path=EVIL, label="dog", split="train", value=3.0, reason="is dark (12 of 255)"
    )
    return DataFindings(
        images=17,
        faults=[ImageFault(fault="dark", rule="Below 20 of 255.", count=1, first=[flagged])],
        duplicates=DuplicatesRecord(
            threshold=0.95,
            images=2,
            groups=1,
            exact=1,
            near=0,
            leaking=1,
            conflicting=1,
            seen={"validation": 0, "test": 1},
            kept_together=0,
            first=[group],
        ),
        balance=ClassBalance(largest="cat", smallest="frog", ratio=1.0, few_below=5, few=[]),
        sentences=["1 test image is among the training images too."],
    )


def _issues() -> QualityIssues:
    errors = [
        QualityIssue(
            id="id014",
            path="photo14.jpg",
            split="test",
            label="dog",
            suggested="cat",
            score=0.9,
            reason="cat has 0.95, dog 0.03",
        ),
        QualityIssue(
            id="id002",
            path=EVIL,
            split="train",
            label="frog",
            suggested="dog",
            score=0.7,
            reason="dog has 0.8",
        ),
    ]
    return QualityIssues(
        label_issues=QualityIssueList(
            rule="Confident learning.", looked_at=17, count=2, first=errors
        ),
        outliers=QualityIssueList(skipped="too few images"),
    )


def test_faults_duplicates_and_quality_issues_are_shown(make_run: Callable) -> None:
    run, summary = make_run()
    run.data.write(run.data.read(), _findings())
    run.quality.write("net_a", _issues())
    page = build_report(run, summary).read_text("utf-8")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for expected in (
        "1 test image is among the training images too.",
        "Dark: 1 image",
        "is dark (12 of 255)",
        "Exact copies in training and test, labelled cat and dog (2 images)",
        "Likely label issues: 2 of 17 images",
        "cat? cat has 0.95, dog 0.03",
        "Not searched: too few images",
        "Missing: there is no quality_issues.json of net_b",
    ):
        assert expected in words, expected
    assert "<script>alert" not in page
    issues = page[page.index('class="issues many"') :]
    # The test image with both backbones' maps, the training image alone.
    assert issues.index('data-id="id014"') < issues.index('class="thumb"')
    assert '#photo-2"' in issues
    for name in ("faulty-images", "duplicates", "label-issues-net_a"):
        assert (run.root / "report" / "tables" / f"{name}.csv").is_file()


def test_nothing_found_is_said(make_run: Callable) -> None:
    run, summary = make_run()
    nothing = _findings().model_copy(
        update={
            "sentences": [],
            "faults": [],
            "duplicates": _findings().duplicates.model_copy(update={"groups": 0, "first": []}),
        }
    )
    run.data.write(run.data.read(), nothing)
    page = build_report(run, summary).read_text("utf-8")
    assert "No problems: no image is blank" in page
    assert not (run.root / "report" / "tables" / "duplicates.csv").exists()


def test_a_list_begins_with_what_chance_explains_and_is_folded_by_it(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_a"])
    issues = _issues()
    chance = {"expected": 2.4, "expectation": "Expected by chance: about 2 of 17 images."}
    far = [one.model_copy(update={"suggested": None}) for one in issues.label_issues.first]
    few = issues.label_issues.model_copy(update={**chance, "rule": "Far away.", "first": far})
    run.quality.write("net_a", issues.model_copy(update={"outliers": few}))
    page = build_report(run, summary).read_text("utf-8")
    section = page[page.index("Outliers: 2 of 17 images") :]
    assert section.index("Expected by chance: about 2") < section.index("Far away.")
    assert section.index('<details class="by-chance">') < section.index('class="issues many"')
    more = few.model_copy(update={"expected": 0.1})
    # Which label issues are chance is estimated under an assumption: they are never folded.
    errors = issues.label_issues.model_copy(update=chance)
    run.quality.write("net_a", QualityIssues(label_issues=errors, outliers=more))
    assert '<details class="by-chance">' not in build_report(run, summary).read_text("utf-8")


def test_a_list_mostly_of_one_label_says_so(make_run: Callable) -> None:
    run, summary = make_run(backbones=["net_a"])
    issues = _issues()
    dog, frog = issues.label_issues.first
    found = issues.label_issues.model_copy(update={"count": 4, "first": [dog, frog, frog, frog]})
    run.quality.write("net_a", issues.model_copy(update={"label_issues": found}))
    page = build_report(run, summary).read_text("utf-8")
    assert "3 of the 4 listed images have the label frog:" in page
    assert "The number to expect by chance was not recorded." in page
