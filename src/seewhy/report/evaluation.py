"""The report's section on evaluation: recall of each class and what was taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.records import STAGES
from seewhy.report import pictures
from seewhy.report.drawing import MARKERS, SIGNS
from seewhy.report.figures import Series, recall_dots
from seewhy.report.reading import confusions
from seewhy.report.study import MOST_ROWS, Section, Study
from seewhy.wording import STAGE_TITLES


def evaluation_section(study: Study) -> Section:
    """Return recall a class and confusion matrices, each backbone alone and all together."""
    classes, human = study.data.classes, study.human
    recall = {
        slug: part.finetuning.per_class_recall for slug, part in study.summary.backbones.items()
    }
    order = sorted(classes, key=lambda name: -sum(found[name] for found in recall.values()))
    order = order[-MOST_ROWS:]
    people = [Series("human", human, "human")] if human else []
    parts = []
    for number, (slug, records) in enumerate(study.records.items()):
        name = study.names[slug]
        baseline = records.baseline.per_class_recall
        series = [Series("baseline", baseline, "baseline")] if baseline else []
        series += [Series(s, records.metrics[s].per_class_recall, s) for s in STAGES] + people
        alt = f"Recall of each class by {name} after each stage; the numbers are in the table below"
        parts.append(
            {
                "number": number,
                "name": name,
                "baseline": baseline,
                "skipped": records.baseline.skipped,
                "recall": {s: records.metrics[s].per_class_recall for s in STAGES},
                "precision": records.metrics["finetuning"].per_class_precision,
                "dots": recall_dots(order, series, f"recall-{number}", alt),
                "matrices": [
                    _matrix(records.confusion[s], classes, STAGE_TITLES[s]) for s in STAGES
                ],
            }
        )
    return {
        "parts": parts,
        "human": human,
        "classes": classes,
        "shown": len(order),
        "together": _together(study, order, recall, people),
    }


def _matrix(confusion: NDArray[np.int64], classes: Sequence[str], title: str) -> Section:
    if len(classes) > MOST_ROWS:
        return {
            "title": title,
            "picture": pictures.confusion_address(confusion),
            "confusions": confusions(confusion, classes, 20),
        }
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return {
        "title": title,
        "rows": [
            {
                "name": name,
                "cells": [
                    {
                        "images": int(images),
                        "title": f"{name} taken for {classes[column]}, {part:.0%}",
                        "share": f"{part:.3f}",
                        "strong": bool(part > 0.55),
                        "right": column == k,
                    }
                    for column, (images, part) in enumerate(
                        zip(confusion[k], shares[k], strict=True)
                    )
                ],
            }
            for k, name in enumerate(classes)
        ],
    }


def _together(
    study: Study,
    order: Sequence[str],
    recall: Mapping[str, Mapping[str, float]],
    people: Sequence[Series],
) -> Section | None:
    """All backbones in one figure, where there are several."""
    if len(recall) < 2:
        return None
    series = [Series(study.names[s], recall[s], str(k)) for k, s in enumerate(recall)]
    alt = "Recall of each class by each fine-tuned backbone; the numbers are in the tables below"
    return {
        "figure": recall_dots(order, [*series, *people], "recall-together", alt),
        "key": [
            {"sign": SIGNS[k % len(MARKERS)], "name": one.name, "paint": k % len(MARKERS) + 1}
            for k, one in enumerate(series)
        ],
    }
