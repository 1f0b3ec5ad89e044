"""The report's section on shortcuts: what was confirmed, its pictures, what was searched."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from seewhy.report.figures.photographs import TINY, address
from seewhy.report.sections.section import MOST_ROWS, ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.audit import (
    Audit,
    CarrierScore,
    ClassAudit,
    EffectRecord,
    Finding,
    ObjectEvidence,
)
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.mitigation import MitigationRecord
from seewhy.storage.titles import STAGE_TITLES
from seewhy.wording import count, duration, sentence, share

KINDS = {
    "detail": "a detail at one place",
    "moving detail": "a detail at varying places",
    "place": "a place in the image",
    "colour": "colours",
    "texture": "fine texture",
}
# The margin around a patch, as a share of its own side.
AROUND = 0.5
LEAST_SIDE = 24


def shortcuts_section(study: ReportInput) -> Section:
    """Return the audits, one part per backbone and stage, and the names of missing ones."""
    parts, missing = [], []
    for slug, records in study.records.items():
        name = study.names[slug]
        for number, stage in enumerate(STAGES[::-1]):
            audit = records.audits.get(stage)
            if audit is not None:
                parts.append(_part(name, stage, audit, records))
            elif number == 0:
                missing.append(name)
    return {
        "parts": parts,
        "missing": missing,
        "reading": [_reading(study, part) for part in parts],
    }


def warnings(study: ReportInput) -> list[str]:
    """Return sentences on confirmed shortcuts of the fine-tuned classifiers, for the summary.

    Where a classifier was mitigated, each is followed by the outcome.
    """
    found = []
    for slug, records in study.records.items():
        audit, mitigation = records.audits.get("finetuning"), records.mitigation
        if audit is None:
            continue
        which = f"{study.names[slug]}: " * (len(study.records) > 1)
        mitigated = {one.name: one.sentence for one in mitigation.classes} if mitigation else {}
        classes = {one.findings[0].sentence: one.name for one in audit.classes if one.findings}
        for text in audit.sentences[: _shortcuts(audit)]:
            found.append(which + text)
            if classes[text] in mitigated:
                found.append(mitigated[classes[text]])
    return found


def _shortcuts(audit: Audit) -> int:
    """Return how many of the audit's sentences are about a shortcut; these come first."""
    return sum(one.verdict == "shortcut" for one in audit.classes)


def _reading(study: ReportInput, part: Section) -> Section:
    """Return a part as sentences alone, for the report as Markdown."""
    mitigation = part["mitigation"]
    found = part["sentences"] or ["No shortcut was found."]
    mitigated = mitigation["sentences"] if mitigation else []
    stage = f"after {part['stage'].lower()}"
    head = f"{part['name']}, {stage}:" if len(study.records) > 1 else f"{sentence(stage)[:-1]}:"
    return {"sentences": [head, *found, *mitigated]}


def _part(name: str, stage: Stage, audit: Audit, records: BackboneRecords) -> Section:
    pictures = records.audit_pictures.get(stage, {})
    classes = [
        _class(number, one, pictures) for number, one in enumerate(audit.classes) if one.findings
    ]
    classes.sort(key=lambda one: audit.sentences.index(one["findings"][0]["sentence"]))
    mitigation = records.mitigation if stage == "finetuning" else None
    return {
        "name": name,
        "mitigation": mitigation and _mitigation(records, mitigation),
        "stage": STAGE_TITLES[stage],
        "sentences": audit.sentences,
        "searched": audit.searched,
        "took": duration(audit.seconds),
        "classes": classes,
        "rows": [_row(one) for one in audit.classes[:MOST_ROWS]],
        "of": len(audit.classes),
        "masks": any(one.evidence and one.evidence.outside is not None for one in audit.classes),
    }


def _mitigation(records: BackboneRecords, mitigation: MitigationRecord) -> Section:
    """Return the two classifiers side by side, and the address of the second one's report."""
    slug = records.slug
    rows: list[tuple[Value, ...]] = [
        ("All test images", mitigation.accuracy_before, mitigation.accuracy_after)
    ]
    for one in mitigation.classes:
        old, new = one.before, one.after
        rows += [
            (f"{one.name}: original images", old.recall, new.recall),
            (f"{one.name}: shortcut ablated", old.freed, new.freed),
            _carriers(f"{one.name}: images with the shortcut", old.with_it, new.with_it),
            _carriers(f"{one.name}: images without it", old.without_it, new.without_it),
            (f"All classes but {one.name}", old.others, new.others),
        ]
    columns = ("Accuracy on", "Original classifier", "Mitigated classifier")
    # RUN/report/index.html
    return {
        "sentences": mitigation.sentences,
        "again": mitigation.found_again,
        "table": ReportTable(
            f"mitigation-{slug}", "Before and after mitigation", columns, tuple(rows)
        ),
        "report": f"../backbones/{quote(slug)}/mitigated/report/index.html"
        if records.has_mitigated_report
        else None,
    }


def _carriers(title: str, old: CarrierScore, new: CarrierScore) -> tuple[Value, ...]:
    return (f"{title} ({count(old.images, 'image')})", old.accuracy, new.accuracy)


def _class(number: int, one: ClassAudit, pictures: dict[str, NDArray[np.uint8]]) -> Section:
    return {
        "name": one.name,
        "verdict": one.verdict,
        "findings": [
            _finding(finding, pictures.get(f"{number}-{k}"))
            for k, finding in enumerate(one.findings)
        ],
    }


def _finding(finding: Finding, pictures: NDArray[np.uint8] | None) -> Section:
    return {
        "sentence": finding.sentence,
        "kind": KINDS[finding.kind],
        "verdict": finding.verdict,
        "where": finding.where,
        "carriers": count(len(finding.carriers), "carrier"),
        "share": None if finding.share is None else share(finding.share),
        "others": None if finding.share_of_others is None else share(finding.share_of_others, 3),
        "range": share(finding.range),
        "usual": None if finding.usual is None else share(finding.usual * finding.range),
        "insertion": _effect(finding.insertion),
        "patches": _patches(finding),
        "ablation": _effect(finding.ablation) if finding.ablation else None,
        "objects": _objects(finding.objects) if finding.objects else [],
        "accuracies": _accuracies(finding),
        "patch": _patch(finding, pictures),
        "examples": [] if pictures is None else [_example(one) for one in pictures],
    }


def _effect(effect: EffectRecord) -> Section:
    return {
        "change": f"{effect.change:+.2f} ({effect.low:+.2f} … {effect.high:+.2f})",
        "images": f"{count(effect.images, 'image')}, {count(effect.donors, 'donor')}",
        "turned": share(effect.turned),
        "turned_control": share(effect.turned_control),
        "p": None if effect.p is None else f"{effect.p:.4f}",
    }


def _objects(objects: ObjectEvidence) -> list[str]:
    """Return where the cue and the evidence are, by the object masks."""
    found = []
    if objects.placed_off is not None and objects.covered is not None:
        found.append(
            f"the cue is off the object in {share(objects.placed_off)} of "
            f"{count(objects.placed or objects.images, 'image')} (share of the cue on the object: "
            f"{share(objects.covered)})"
        )
    if objects.evidence_off is not None:
        images = count(objects.with_map, "image")
        found.append(f"{share(objects.evidence_off)} of the evidence is off the object ({images})")
    return found


def _patches(finding: Finding) -> str | None:
    """Return the effect of control patches of the same shape; None where there are none."""
    controls = (("other images", finding.other_patches), ("same class", finding.own_patches))
    found = [f"{words} {value:+.2f}" for words, value in controls if value is not None]
    return ", ".join(found) or None


def _accuracies(finding: Finding) -> list[str]:
    """Return the accuracy on the class's test images with the shortcut and without it."""
    scores = (("with it", finding.with_it), ("without it", finding.without_it))
    return [f"{words}: {_accuracy(score)}" for words, score in scores if score is not None]


def _accuracy(score: CarrierScore) -> str:
    images = count(score.images, "test image")
    return images if score.accuracy is None else f"accuracy {share(score.accuracy)} on {images}"


def _patch(finding: Finding, pictures: NDArray[np.uint8] | None) -> str | None:
    """Return the place of a finding, cropped from the first donor with a margin."""
    if finding.box is None or pictures is None or not len(pictures):
        return None
    donor = pictures[0, 0]
    height, width = donor.shape[:2]
    top, left, bottom, right = (
        edge * side for edge, side in zip(finding.box, (height, width) * 2, strict=True)
    )
    more = max(AROUND * (bottom - top), AROUND * (right - left), 1)
    rows = slice(max(0, int(top - more)), min(height, int(np.ceil(bottom + more))))
    columns = slice(max(0, int(left - more)), min(width, int(np.ceil(right + more))))
    cut = donor[rows, columns]
    # Small crops are enlarged here pixel by pixel, so that any viewer shows them sharp.
    times = max(1, LEAST_SIDE // min(cut.shape[:2]))
    return address(cut.repeat(times, axis=0).repeat(times, axis=1), exact=True)


def _example(pictures: NDArray[np.uint8]) -> list[str]:
    """Return donor, recipient before and recipient after."""
    return [address(one, exact=max(one.shape[:2]) <= TINY) for one in pictures]


def _row(one: ClassAudit) -> Section:
    evidence = one.evidence
    cells: Sequence[str] = ("–",) * 5
    if evidence is not None:
        cells = (
            share(evidence.excess),
            share(evidence.concentration),
            share(evidence.border),
            share(evidence.corners),
            "–" if evidence.outside is None else share(evidence.outside),
        )
    return {
        "name": one.name,
        "verdict": one.verdict,
        "cells": cells,
        "strategies": " + ".join(str(len(group.images)) for group in one.strategies) or "–",
        "tried": one.candidates,
    }
