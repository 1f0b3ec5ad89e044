"""The report's section on performance and errors: recall per class and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.evaluation.calibration import BINS
from seewhy.evaluation.published_results import PaperScores, has_cifar10_classes, paper_scores
from seewhy.report.figures import photographs as pictures
from seewhy.report.figures.svg import key_entry
from seewhy.report.figures.training_figures import DotSeries, confusion_matrix, recall_dots
from seewhy.report.sections.abstention import abstention_section
from seewhy.report.sections.averages import averages_section
from seewhy.report.sections.breakdown import breakdown_section
from seewhy.report.sections.imbalance import imbalance_section
from seewhy.report.sections.performance import performance_section
from seewhy.report.sections.section import MOST_ROWS, ReportInput, Section
from seewhy.report.text.statements import confusions
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.titles import STAGE_TITLES


def evaluation_section(study: ReportInput) -> Section:
    """Return recall per class and confusion matrices, per backbone and all together."""
    classes, human = study.data.classes, study.human
    recall = {
        slug: part.finetuning.per_class_recall for slug, part in study.summary.backbones.items()
    }
    order = sorted(classes, key=lambda name: -sum(found[name] for found in recall.values()))
    order = order[-MOST_ROWS:]
    people = [DotSeries("human", human, "human")] if human else []
    parts = []
    for number, (slug, records) in enumerate(study.records.items()):
        name = study.names[slug]
        baseline = records.baseline.per_class_recall
        series = [DotSeries("baseline", baseline, "baseline")] if baseline else []
        series += [DotSeries(s, records.metrics[s].per_class_recall, s) for s in STAGES] + people
        alt = f"Recall per class of {name} after each stage; the table below has the numbers"
        parts.append(
            {
                "number": number,
                "name": name,
                "baseline": baseline,
                "skipped": records.baseline.skipped,
                "recall": {s: records.metrics[s].per_class_recall for s in STAGES},
                "precision": records.metrics["finetuning"].per_class_precision,
                "dots": recall_dots(order, series, f"recall-of-each-class-{slug}", alt),
                "matrices": [_matrix(records.confusion[s], classes, name, slug, s) for s in STAGES],
            }
        )
    return {
        "performance": performance_section(study),
        "averages": averages_section(study),
        "imbalance": imbalance_section(study),
        "abstention": abstention_section(study),
        "breakdowns": breakdown_section(study),
        "bins": BINS,
        "parts": parts,
        "tables": {"classes": _class_table(study), "baseline": _baseline_table(study)},
        "groups": _groups(study),
        "human": human,
        "paper": any(_paper(study, slug) for slug in study.records),
        "classes": classes,
        "shown": len(order),
        "together": _together(study, order, recall, people),
    }


def _matrix(
    confusion: NDArray[np.int64], classes: Sequence[str], name: str, slug: str, stage: Stage
) -> Section:
    title = STAGE_TITLES[stage]
    file, words = f"confusion-{slug}-{stage}", f"Confusion matrix of {name} after {title.lower()}"
    rows = tuple((one, *row) for one, row in zip(classes, confusion.tolist(), strict=True))
    table = ReportTable(file, words, ("Class", *classes), rows)
    if len(classes) > MOST_ROWS:
        return {
            "title": title,
            "table": table,
            "picture": pictures.confusion_address(confusion),
            "confusions": confusions(confusion, classes, 20),
        }
    return {
        "title": title,
        "table": table,
        # The page has the table; this is for the file.
        "drawing": confusion_matrix(confusion, classes, file, words),
        "rows": _cells(confusion, classes),
    }


def _cells(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[Section]:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return [
        {
            "name": name,
            "cells": [
                {
                    "images": int(images),
                    "title": f"{name} predicted as {classes[column]}, {part:.0%}",
                    "share": f"{part:.3f}",
                    "strong": bool(part > 0.55),
                    "right": column == k,
                }
                for column, (images, part) in enumerate(zip(confusion[k], shares[k], strict=True))
            ],
        }
        for k, name in enumerate(classes)
    ]


def _together(
    study: ReportInput,
    order: Sequence[str],
    recall: Mapping[str, Mapping[str, float]],
    people: Sequence[DotSeries],
) -> Section | None:
    """Return one figure of all backbones, where there are several."""
    if len(recall) < 2:
        return None
    series = [DotSeries(study.names[s], recall[s], str(k)) for k, s in enumerate(recall)]
    alt = "Recall per class of each fine-tuned backbone; the tables below have the numbers"
    return {
        "figure": recall_dots(order, [*series, *people], "recall-of-each-class", alt),
        "key": [key_entry(k, one.name) for k, one in enumerate(series)],
    }


def _paper(study: ReportInput, slug: str) -> PaperScores | None:
    """Return the paper's figures for a backbone, where the classes are the paper's too."""
    cifar = has_cifar10_classes(study.data.classes)
    return paper_scores(study.summary.backbones[slug].backbone) if cifar else None


def _baseline_table(study: ReportInput) -> ReportTable:
    """Return the scores of the ImageNet classifiers before any training."""
    paper = any(_paper(study, slug) for slug in study.records)
    measures = ("Accuracy", "Precision", "Recall")
    columns = ("Backbone", *measures, *(f"{name}, paper" for name in measures if paper), "Missing")
    rows: list[tuple[Value, ...]] = []
    for slug, records in study.records.items():
        ours, theirs = records.baseline, _paper(study, slug)
        line: list[Value] = [study.names[slug], ours.accuracy, ours.precision, ours.recall]
        if paper:
            scores = theirs.baseline if theirs else None
            line += [scores.accuracy, scores.precision, scores.recall] if scores else [None] * 3
        rows.append((*line, ours.skipped or ""))
    if not any(records.baseline.skipped for records in study.records.values()):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return ReportTable(
        "baseline", "Baseline: the ImageNet classifier before any training", columns, tuple(rows)
    )


def _groups(study: ReportInput) -> list[Section]:
    """Return the ImageNet classes that stand for each class; equal backbones share a part."""
    parts: dict[str, Section] = {}
    for slug, records in study.records.items():
        groups = records.baseline.groups
        if not groups:
            continue
        rows = [
            {"name": name, "word": group.word, "members": group.members}
            for name, group in groups.items()
        ]
        part = parts.setdefault(repr(rows), {"rows": rows, "names": []})
        part["names"].append(study.names[slug])
    return list(parts.values())


def _class_table(study: ReportInput) -> ReportTable:
    """Return the accuracy per class, which is its recall, with human accuracy."""
    columns: list[str] = ["Class"]
    values: list[Mapping[str, float]] = []
    if study.human:
        columns.append("Human")
        values.append(study.human)
    for slug, records in study.records.items():
        whose, paper = f"{study.names[slug]}, " * (len(study.records) > 1), _paper(study, slug)
        if records.baseline.per_class_recall:
            columns.append(f"{whose}baseline" if whose else "Baseline")
            values.append(records.baseline.per_class_recall)
        for stage in STAGES:
            title = STAGE_TITLES[stage]
            columns.append(f"{whose}{title.lower()}" if whose else title)
            values.append(records.metrics[stage].per_class_recall)
        if paper:
            columns.append(f"{paper.name}, paper")
            values.append(paper.recall)
    rows = tuple((name, *(one.get(name) for one in values)) for name in study.data.classes)
    beside = " with human accuracy" if study.human else ""
    return ReportTable(
        "accuracy-of-each-class", f"Accuracy per class{beside}", tuple(columns), rows
    )
