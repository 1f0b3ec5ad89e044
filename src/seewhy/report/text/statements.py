"""Plain sentences and tables made from the numbers of a study.

They state only what the records hold: nothing is estimated here, and a missing result is shown as
missing, with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.evaluation.published_results import PublishedScores, has_cifar10_classes, paper_scores
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.ensemble import Ensemble
from seewhy.storage.schemas.evaluation import StageEvaluation
from seewhy.storage.schemas.mirror import Mirror
from seewhy.storage.schemas.summary import BackboneSummary, Skipped, Summary
from seewhy.storage.titles import ENSEMBLE_TITLE, MIRRORED_TITLE, STAGE_TITLES, display_names
from seewhy.wording import count, listing, sentence, share, two_shares


@dataclass(frozen=True)
class ScoreRow:
    """One row of the table: a stage of a backbone, with the paper's figures."""

    stage: str
    paint: str
    accuracy: float | None
    precision: float | None
    recall: float | None
    skipped: str | None
    paper: PublishedScores | None


@dataclass(frozen=True)
class ScoreGroup:
    """The rows of a backbone, or the one of the ensemble."""

    name: str
    paper_name: str | None
    rows: tuple[ScoreRow, ...]


@dataclass(frozen=True)
class Confusion:
    """One type of error: how many images of a class were predicted as another class.

    `row` and `column` are its place in the confusion matrix.
    """

    label: str
    taken_for: str
    images: int
    of: int
    row: int
    column: int


def best_backbone(summary: Summary) -> str:
    """Return the slug of the backbone with the highest accuracy after fine-tuning."""
    return max(summary.backbones, key=lambda slug: summary.backbones[slug].finetuning.accuracy)


def score_groups(
    summary: Summary,
    mirrors: Mapping[str, Mirror | None] | None = None,
    ensemble: Ensemble | None = None,
) -> list[ScoreGroup]:
    """Return the table of baseline, adaptation and fine-tuning, one group per backbone.

    A backbone in `mirrors` has a further row, and the `ensemble` is a further group.
    """
    names = display_names(summary)
    cifar = has_cifar10_classes(summary.data.classes)
    groups = []
    for slug, part in summary.backbones.items():
        paper = paper_scores(part.backbone) if cifar else None
        lines = (
            ("Baseline", "baseline", part.baseline, paper.baseline if paper else None),
            ("Adaptation", "adaptation", part.adaptation, paper.adaptation if paper else None),
            ("Fine-tuning", "finetuning", part.finetuning, paper.finetuning if paper else None),
        )
        rows = [
            ScoreRow(stage, paint, None, None, None, ours.skipped, theirs)
            if isinstance(ours, Skipped)
            else ScoreRow(stage, paint, ours.accuracy, ours.precision, ours.recall, None, theirs)
            for stage, paint, ours, theirs in lines
        ]
        mirror = (mirrors or {}).get(slug)
        if mirror is not None:
            rows.append(_average_row(MIRRORED_TITLE, mirror.scores))
        groups.append(ScoreGroup(names[slug], paper.name if paper else None, tuple(rows)))
    if ensemble is not None:
        row = _average_row(STAGE_TITLES["finetuning"], ensemble.scores)
        groups.append(ScoreGroup(ENSEMBLE_TITLE, None, (row,)))
    return groups


def _average_row(stage: str, scores: StageEvaluation) -> ScoreRow:
    values = (scores.accuracy.value, scores.precision.value, scores.recall.value)
    return ScoreRow(stage, "finetuning", *values, None, None)


def headline(summary: Summary, records: Mapping[str, BackboneRecords]) -> list[str]:
    """Return the few sentences at the top of the report."""
    names, best = display_names(summary), best_backbone(summary)
    part, name = summary.backbones[best], names[best]
    images = count(summary.data.test, "test image")
    classes = count(len(summary.data.classes), "class", "classes")
    sentences = []
    if len(names) == 1:
        sentences.append(_course(part, name, f" on {images} of {classes}"))
    else:
        sentences += [_ranking(summary, names, images), _course(part, name, "")]
    sentences.append(_weakest(part, summary.data.classes, records[best].confusion["finetuning"]))
    sentences.append(_start(part))
    return sentences


def confusions(confusion: NDArray[np.int64], classes: Sequence[str], most: int) -> list[Confusion]:
    """Return the most frequent errors, most frequent first."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = (divmod(int(place), len(classes)) for place in order)
    return [
        Confusion(
            label=classes[row],
            taken_for=classes[column],
            images=int(wrong[row, column]),
            of=int(confusion[row].sum()),
            row=row,
            column=column,
        )
        for row, column in pairs
        if wrong[row, column]
    ]


def _course(part: BackboneSummary, name: str, where: str) -> str:
    before, after = part.adaptation.accuracy, part.finetuning.accuracy
    first, second = two_shares(before, after)
    if first == second:
        return f"Fine-tuning left the accuracy of {name} at {second}{where}."
    verb = "improved" if after > before else "reduced"
    return f"Fine-tuning {verb} the accuracy of {name} from {first} to {second}{where}."


def _ranking(summary: Summary, names: Mapping[str, str], images: str) -> str:
    order = sorted(summary.backbones, key=lambda slug: -summary.backbones[slug].finetuning.accuracy)
    scores = [summary.backbones[slug].finetuning.accuracy for slug in order]
    others = [
        f"{names[slug]} ({share(summary.backbones[slug].finetuning.accuracy)})"
        for slug in order[1:]
    ]
    relation = "level with" if scores[0] == scores[1] else "ahead of"
    return (
        f"After fine-tuning {names[order[0]]} reaches an accuracy of {share(scores[0])} "
        f"on {images}, {relation} {listing(others)}."
    )


def _weakest(part: BackboneSummary, classes: Sequence[str], confusion: NDArray[np.int64]) -> str:
    # A class without test images has no recall.
    tested = [name for name, images in zip(classes, confusion.sum(axis=1), strict=True) if images]
    recall = {name: part.finetuning.per_class_recall[name] for name in tested}
    lowest = min(recall.values())
    if lowest == 1.0:
        return "All test images are classified correctly."
    weakest = [name for name in tested if recall[name] == lowest]
    if len(weakest) > 3:
        return f"Recall is lowest for {len(weakest)} classes ({share(lowest)} each)."
    if len(weakest) > 1:
        return f"Recall is lowest for {listing(weakest)} ({share(lowest)} each)."
    row = classes.index(weakest[0])
    wrong = confusion[row].copy()
    wrong[row] = 0
    most = f"{wrong.max()} of {confusion[row].sum()} predicted as {classes[int(wrong.argmax())]}"
    return f"Recall is lowest for {weakest[0]} ({share(lowest)}; {most})."


def _start(part: BackboneSummary) -> str:
    if isinstance(part.baseline, Skipped):
        return sentence(f"There is no baseline: {part.baseline.skipped}")
    return (
        "The baseline, the ImageNet classifier before any training, has an accuracy of "
        f"{share(part.baseline.accuracy)}."
    )
