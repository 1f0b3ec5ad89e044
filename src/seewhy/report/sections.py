"""The report's sections as values for the templates: what is shown, not how it looks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.records import (
    STAGES,
    BackboneRecords,
    Dataset,
    HeadSummary,
    Provenance,
    Stage,
    Summary,
)
from seewhy.reference import HUMAN_ACCURACY, has_cifar10_classes
from seewhy.report import pictures
from seewhy.report.drawing import MARKERS, SIGNS
from seewhy.report.figures import Series, curves, recall_dots
from seewhy.report.gallery import Gallery, gallery_bounds
from seewhy.report.reading import (
    best_backbone,
    confusions,
    display_names,
    headline,
    score_groups,
)
from seewhy.wording import (
    STAGE_TITLES,
    count,
    duration,
    listing,
    millions,
    share,
)

Section = dict[str, Any]
# A matrix or a plot with more rows than this is drawn another way.
MOST_ROWS = 30
HIGHLIGHTS = 8
METHODS = {"gradcam": "Grad-CAM"}
MOST_AVERAGES = 250
POOLED = "pooled trunk features kept in memory: the trunk ran once"


@dataclass(frozen=True)
class Study:
    """All that the report is drawn from."""

    summary: Summary
    data: Dataset
    records: Mapping[str, BackboneRecords]
    provenance: Provenance | None
    config: str

    @property
    def names(self) -> dict[str, str]:
        """What each backbone is called, by slug."""
        return display_names(self.summary)

    @property
    def human(self) -> Mapping[str, float]:
        """Human accuracy a class, where it is known."""
        return HUMAN_ACCURACY if has_cifar10_classes(self.data.classes) else {}


def summary_section(study: Study, gallery: Gallery) -> Section:
    """Return the sentences, the one table, and one image a class as an opening picture."""
    groups = score_groups(study.summary)
    best = list(study.names).index(best_backbone(study.summary))
    highlights = gallery.surest(best, HIGHLIGHTS)
    return {
        "sentences": headline(study.summary, study.records),
        "groups": groups,
        "paper": any(group.paper_name for group in groups),
        "cifar": bool(study.human),
        "highlights": highlights,
        # On a narrow page: one row of up to five, else two rows.
        "columns": len(highlights) if len(highlights) <= 5 else (len(highlights) + 1) // 2,
        "best": best,
    }


def data_section(study: Study, rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Section:
    """Return counts a class and split, samples, and what was set aside."""
    counts = study.data.counts()
    totals = [sum(split[name] for split in counts.values()) for name in study.data.classes]
    most = max([*totals, 1])
    lines = [
        {
            "name": name,
            "counts": {split: counts[split][name] for split in counts},
            "widths": {split: f"{100 * counts[split][name] / most:.2f}%" for split in counts},
            "total": total,
            "samples": pictures.strip(row),
            "shown": len(row),
        }
        for name, total, row in zip(study.data.classes, totals, rows, strict=True)
    ]
    return {
        "lines": lines,
        "totals": {split: sum(counts[split].values()) for split in counts},
        "source": study.data.source,
        "set_aside": study.data.set_aside,
        "size": int(study.data.pixels.shape[1]),
        "many": len(lines) > MOST_ROWS,
    }


def training_section(study: Study) -> list[Section]:
    """Return curves of both stages and how they were trained, a part a backbone."""
    parts = []
    for number, (slug, records) in enumerate(study.records.items()):
        name, part = study.names[slug], study.summary.backbones[slug]
        best: dict[Stage, int] = {s: records.metrics[s].best_epoch for s in STAGES}
        figures = [
            curves(
                records.history,
                best,
                quantity,
                f"curve-{quantity}-{number}",
                f"{quantity.capitalize()} of {name} over the epochs of adaptation and "
                "fine-tuning, on training and validation images",
            )
            for quantity in ("accuracy", "loss")
        ]
        stages = [_stage_line(records, stage) for stage in STAGES]
        parts.append(
            {
                "name": name,
                "head": _head(part.head) + "; found by the search" * (part.search is not None),
                "cut": part.cut,
                "figures": figures,
                "stages": stages,
            }
        )
    return parts


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


def explanation_section(study: Study, gallery: Gallery) -> Section:
    """Return average maps and the gallery."""
    classes, data = study.data.classes, study.data
    records = list(study.records.values())
    per_end, shown = gallery_bounds(len(classes), len(records))
    weakest = study.summary.backbones[best_backbone(study.summary)].finetuning.per_class_recall
    labels = sorted(range(len(classes)), key=lambda k: (weakest[classes[k]], k))[:shown]
    photos = pictures.average_photos(data) if len(classes) <= MOST_AVERAGES else []
    maps = [
        pictures.average_map_addresses(pictures.average_maps(one.maps, len(classes)))
        for one in records
    ]
    empty = [sum(not pictures.has_heat(map_) for map_ in one.maps.maps) for one in records]
    return {
        "averages": [
            {"number": k, "name": classes[k], "photo": photo, "maps": [found[k] for found in maps]}
            for k, photo in enumerate(photos)
        ],
        "backbones": [
            {
                "name": study.names[slug],
                "method": METHODS.get(part.explanation.method, part.explanation.method),
                "layer": part.explanation.layer,
                "images": count(part.explanation.images, "test image"),
                "time": duration(part.explanation.seconds),
                "empty": none,
            }
            for (slug, part), none in zip(study.summary.backbones.items(), empty, strict=True)
        ],
        "classes": [gallery.of_class(label, per_end) for label in sorted(labels)],
        "shown": labels,
        "of": len(classes),
        "per_end": per_end,
    }


def provenance_section(study: Study) -> Section:
    """Return what the numbers depend on."""
    given = study.provenance
    facts: list[tuple[str, str]] = []
    if given:
        facts = [
            ("seewhy", given.seewhy),
            ("Python", given.python),
            ("Machine", f"{given.platform}, {given.processor}, {count(given.cores, 'core')}"),
            ("Device", given.device),
            ("Precision", given.precision),
            ("Seed", str(given.seed)),
            ("Started", given.started),
            ("Finished", given.finished),
            ("Took", duration(given.seconds) + _last_start(given.starts)),
            ("Peak memory", f"{given.peak_memory_gib:.1f} GiB"),
            ("Data key", given.data_key),
        ]
    return {
        "facts": facts,
        "command": shlex.join(given.command) if given else "",
        "versions": given.versions if given else {},
        "parts": {k: duration(v) for k, v in given.seconds_by_part.items()} if given else {},
        "backbones": [
            {
                "name": study.names[slug],
                "backbone": part.backbone,
                "weights": part.weights,
                "parameters": millions(part.parameters),
                "layers": part.weighted_layers,
                "cut": part.cut,
                "size": part.input_size,
            }
            for slug, part in study.summary.backbones.items()
        ],
        "config": study.config,
    }


def _last_start(starts: int) -> str:
    """Say that the time is the last process's alone where there were several."""
    return f", since it was taken up again ({count(starts - 1, 'interruption')})" * (starts > 1)


def _stage_line(records: BackboneRecords, stage: Stage) -> Section:
    metrics, history = records.metrics[stage], records.history[stage]
    return {
        "title": STAGE_TITLES[stage],
        "epochs": metrics.epochs,
        "best": metrics.best_epoch,
        "accuracy": share(metrics.best_validation_accuracy, 3),
        "rate": f"{history[0].learning_rate:g}" if history else "–",
        "time": duration(sum(epoch.seconds for epoch in history)),
        "features": records.features.at_cut if stage == "finetuning" else POOLED,
    }


def _head(head: HeadSummary) -> str:
    units = listing([str(width) for width in head.units])
    layers = f"{units} hidden units, dropout {head.dropout:g}" if units else "no hidden layer"
    return (
        f"{layers}; Adam at {head.learning_rate:g}, batches of {head.batch_size}, "
        f"{head.loss.replace('-', ' ') if head.loss.startswith('cross') else head.loss}"
    )


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
