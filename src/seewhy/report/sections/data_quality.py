"""Findings about the images, with pictures: faults, duplicates, label issues, outliers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from seewhy.report.figures.photographs import PictureStore
from seewhy.report.sections.failed_steps import MissingResults
from seewhy.report.sections.gallery import GalleryBuilder
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.data_checks import DataFindings, DuplicateImage, FlaggedImage
from seewhy.storage.schemas.quality_issues import QualityIssue, QualityIssueList
from seewhy.wording import count, listing, some

# Pictures shown of each fault; groups of duplicates, and images of each; issues of each kind.
MOST_FAULTS, MOST_GROUPS, MOST_COPIES, MOST_ISSUES = 8, 12, 4, 12
# Labels of one group that its title names.
MOST_LABELS = 4
SPLIT_WORDS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Thumbnail:
    """One picture with its class, its split, and a remark."""

    id: str
    photo: str
    label: str
    split: str
    file: str
    remark: str


def findings_section(study: ReportInput, store: PictureStore) -> Section:
    """Return the problems found in the images and their pictures; empty if nothing was checked."""
    found = study.findings
    if found is None:
        return {}
    place = {id_: index for index, id_ in enumerate(study.data.ids)}

    def thumb(image: DuplicateImage | FlaggedImage, remark: str = "") -> Thumbnail:
        return _thumbnail(store.photo(place[image.id]), image, remark)

    faults = [
        {
            "fault": one.fault,
            "rule": one.rule,
            "count": one.count,
            "thumbs": [thumb(image, image.reason) for image in one.first[:MOST_FAULTS]],
        }
        for one in found.faults
        if one.count
    ]
    groups = [
        {
            "title": _group_title(group.kind, group.splits, group.labels),
            "size": group.size,
            "leaks": len(group.splits) > 1,
            "thumbs": [thumb(image) for image in group.images[:MOST_COPIES]],
        }
        for group in found.duplicates.first[:MOST_GROUPS]
    ]
    return {
        "notes": found.notes,
        "sentences": found.sentences,
        "other_files": found.other_files,
        "faults": faults,
        "duplicates": found.duplicates,
        "groups": groups,
        "balance": found.balance,
        "tables": [table for table in (_fault_table(found), _duplicate_table(found)) if table.rows],
    }


def quality_issues_section(study: ReportInput, gallery: GalleryBuilder) -> list[Section]:
    """Return, per backbone, the images that may be mislabelled or belong to no class."""
    parts: list[Section] = []
    for number, (slug, records) in enumerate(study.records.items()):
        found = records.issues
        kinds = (
            ("Likely label issues", "label-issues", found.label_issues if found else None),
            ("Outliers", "outliers", found.outliers if found else None),
        )
        parts.append(
            {
                "name": study.names[slug],
                "missing": found is None,
                "why": MissingResults(study).of("label issues", slug),
                "kinds": [
                    _issues(study, gallery, number, title, f"{file}-{slug}", one)
                    for title, file, one in kinds
                    if one is not None
                ],
            }
        )
    return parts


def _issues(
    study: ReportInput,
    gallery: GalleryBuilder,
    number: int,
    title: str,
    file: str,
    found: QualityIssueList,
) -> Section:
    name = list(study.names.values())[number]
    return {
        "title": title,
        "rule": found.rule,
        "expectation": found.expectation,
        "by_chance": _by_chance(found),
        "most": _most_frequent_label(found),
        "skipped": found.skipped,
        "count": found.count,
        "looked_at": found.looked_at,
        "shots": [_issue(study, gallery, number, one) for one in found.first[:MOST_ISSUES]],
        "table": ReportTable(
            file,
            f"{title} found with {name}",
            ("Image", "Split", "Class", "Suggested", "Score", "Reason"),
            tuple(
                (one.path, SPLIT_WORDS[one.split], one.label, one.suggested, one.score, one.reason)
                for one in found.first
            ),
        ),
    }


def _by_chance(found: QualityIssueList) -> bool:
    """Whether chance explains the length of a list: at most two deviations of a count above it.

    Never of label issues: which of them are chance is estimated under an assumption.
    """
    expected = found.expected
    suggests = any(one.suggested for one in found.first)
    return (
        not suggests
        and expected is not None
        and 0 < found.count <= expected + 2 * math.sqrt(expected)
    )


def _most_frequent_label(found: QualityIssueList) -> str:
    """Name the label of most of a list, which may show a systematic confusion."""
    labels = Counter(one.label for one in found.first)
    if len(labels) < 2 or not found.first[0].suggested:
        return ""
    label, images = labels.most_common(1)[0]
    if images <= len(found.first) / 2:
        return ""
    return (
        f"{images} of the {len(found.first)} listed images have the label {label}: they may be "
        "confusions of the classifier and not wrong labels."
    )


def _issue(study: ReportInput, gallery: GalleryBuilder, number: int, one: QualityIssue) -> Section:
    """Return the picture of an issue, with every backbone's map where it is a test image."""
    """Return the picture of an issue, with every backbone's map where it is a test image."""
    photo = gallery.store.photo(gallery.place_of(one.id))
    return {
        "shot": gallery.shot_of(number, one.id) if one.split == "test" else None,
        "thumb": _thumbnail(photo, one, ""),
        "suggested": one.suggested,
        "reason": one.reason,
    }


def _thumbnail(
    photo: str, image: DuplicateImage | FlaggedImage | QualityIssue, remark: str
) -> Thumbnail:
    file, split = PurePath(image.path).name, SPLIT_WORDS[image.split]
    return Thumbnail(image.id, photo, image.label, split, file, remark)


def _group_title(kind: str, splits: Sequence[str], labels: Sequence[str]) -> str:
    title = "Exact copies" if kind == "exact" else "Near duplicates"
    if len(splits) > 1:
        title += f" in {listing([SPLIT_WORDS[split] for split in splits])}"
    if len(labels) > 1:
        title += f", labelled {some(labels) if len(labels) > MOST_LABELS else listing(labels)}"
    return title


def _fault_table(found: DataFindings) -> ReportTable:
    rows: list[tuple[Value, ...]] = [
        (one.fault, image.path, image.label, SPLIT_WORDS[image.split], image.value, image.reason)
        for one in found.faults
        for image in one.first
    ]
    columns = ("Fault", "Image", "Class", "Split", "Value", "Reason")
    return ReportTable("faulty-images", "Images with faults", columns, tuple(rows))


def _duplicate_table(found: DataFindings) -> ReportTable:
    rows: list[tuple[Value, ...]] = [
        (
            *(number, group.kind, group.similarity, image.path, image.label),
            SPLIT_WORDS[image.split],
        )
        for number, group in enumerate(found.duplicates.first, 1)
        for image in group.images
    ]
    title = f"Duplicates: the first of {count(found.duplicates.groups, 'group')}"
    return ReportTable(
        "duplicates", title, ("Group", "Kind", "Similarity", "Image", "Class", "Split"), tuple(rows)
    )
