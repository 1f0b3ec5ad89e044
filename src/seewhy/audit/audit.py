"""The audit of one classifier, from its validation images to a record.

    evidence -> candidates -> screening -> proof on fresh pairs -> verdicts -> sentences

Validation images choose and prove. Training images help to find what images share, where the
validation images are few. Test images are only reported on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.asking import Asked
from seewhy.audit.candidates import (
    REACH,
    THERE_AND_BACK,
    THRESHOLDS,
    Candidate,
    Looked,
    find_candidates,
)
from seewhy.audit.details import Detail, reduced
from seewhy.audit.findings import Told, examples, searched, tell
from seewhy.audit.prove import Pool, Screened, pairs, prove, remove, screen
from seewhy.audit.strategies import Group, group
from seewhy.audit.verdict import detectable, graver, judge
from seewhy.audit.where import Where, hottest, where_evidence_lies
from seewhy.audit_records import Audit, AuditKind, ClassAudit, EvidencePlace, Finding, Strategy
from seewhy.evaluation.pairs import holm
from seewhy.progress import Advance, Progress
from seewhy.records import Dataset, Predictions, Stage

# Images a class: to prove on, whose evidence is asked for, to look for shared details in.
PROVING, NEAR, LOOKED = 40, 24, 200
# Of all classes together, where there are many.
MOST_LOOKED = 8000
LARGEST_REACH = 0.25
# Fewer pairs than this prove nothing: the class is not audited.
FEWEST_PAIRS = 16
_ORDER: tuple[AuditKind, ...] = ("detail", "moving detail", "place", "colour", "texture")


@dataclass(frozen=True)
class Audited:
    """The record of an audit and the pictures that go with it.

    Attributes
    ----------
    record : Audit
    pictures : dict of str to ndarray of uint8, (n, 3, S, S, 3)
        Examples by ``CLASS-FINDING`` (numbers from 0): giver, taker before, taker after.
    details : dict of str to Detail
        Likewise, of the findings that are details; without their places.
    """

    record: Audit
    pictures: dict[str, NDArray[np.uint8]]
    details: dict[str, Detail]


def audit_classifier(
    asked: Asked,
    data: Dataset,
    predictions: Predictions,
    stage: Stage,
    seed: int,
    progress: Progress,
    title: str,
) -> Audited:
    """Look for wrong reasons in one classifier, and prove what is found on it.

    Parameters
    ----------
    asked : Asked
        The classifier.
    data : Dataset
        Its validation images choose and prove.
    predictions : Predictions
        What the classifier says of the test images; only reported on.
    stage : {"adaptation", "finetuning"}
    seed : int
    progress : Progress
    title : str
        What the work is called while it goes on.

    Returns
    -------
    Audited
    """
    started = time.perf_counter()
    numbers, near, proving = _choose(data, seed)
    with progress.task(title, 2 + 2 * len(data.classes)) as advance:
        looked, where, groups = _look(asked, data, numbers, near)
        advance(2)
        pool = Pool(data.pixels, data.labels, proving)
        screened = _screened(asked, pool, looked, where, seed, advance)
        told = _proven(asked, pool, screened, seed)
        advance(len(data.classes))
    classes = [
        _class_audit(
            data,
            predictions,
            pool,
            label,
            where[label],
            _strategies(data, numbers[near], groups[label]),
            screened,
            told,
        )
        for label in range(len(data.classes))
    ]
    proofs = {
        f"{label}-{number}": one.proof
        for label in range(len(classes))
        for number, one in enumerate(_of_class(told, label))
    }
    record = Audit(
        stage=stage,
        images=len(numbers),
        candidates=len(screened),
        seconds=time.perf_counter() - started,
        sentences=sentences(classes),
        searched=searched(classes, len(screened), len(proving)),
        classes=classes,
    )
    details = {
        name: replace(proof.candidate.detail, places={})
        for name, proof in proofs.items()
        if proof.candidate.detail is not None
    }
    return Audited(record, {name: examples(pool, proof) for name, proof in proofs.items()}, details)


def _screened(
    asked: Asked,
    pool: Pool,
    looked: Looked,
    where: Sequence[Where | None],
    seed: int,
    advance: Advance,
) -> list[Screened]:
    """Name what might be wrong with each class, and have a first look at it."""
    candidates: list[Candidate] = []
    for label, place in enumerate(where):
        if pairs(pool, label) >= FEWEST_PAIRS:
            candidates += find_candidates(looked, label, place, seed)
        advance(1)
    screened: list[Screened] = []
    for candidate in candidates:
        if not _twin(candidate, screened):
            screened.append(screen(asked, pool, candidate, seed))
    return screened


def _choose(
    data: Dataset, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Choose images: all looked at, rows of those whose evidence is asked for, those to prove on.

    Where a class has few validation images, training images fill up the first two.
    """
    rng = np.random.default_rng([seed, 5])
    train, validation = data.where("train"), data.where("validation")
    most = max(NEAR, min(LOOKED, MOST_LOOKED // len(data.classes)))
    every: list[NDArray[np.int64]] = []
    close: list[NDArray[np.int64]] = []
    proving: list[NDArray[np.int64]] = []
    for label in range(len(data.classes)):
        held = rng.permutation(validation[data.labels[validation] == label])
        more = rng.permutation(train[data.labels[train] == label])
        proving.append(held[:PROVING])
        close.append(np.concatenate([held, more])[:NEAR])
        every.append(np.concatenate([held[:most], more])[:most])
    numbers = np.unique(np.concatenate([*every, *proving]))
    near = np.searchsorted(numbers, np.sort(np.concatenate(close)))
    return numbers, near.astype(np.int64), np.sort(np.concatenate(proving))


def _look(
    asked: Asked, data: Dataset, numbers: NDArray[np.int64], near: NDArray[np.int64]
) -> tuple[Looked, list[Where | None], list[list[Group]]]:
    close = numbers[near]
    labels = data.labels[numbers]
    maps = asked.evidence(data.pixels[close], data.labels[close])
    masks = data.masks[close] if data.masks is not None else None
    where = where_evidence_lies(maps, data.labels[close], len(data.classes), masks)
    vectors = asked.gathered(data.pixels[close], maps)
    groups = [group(vectors, data.labels[close], label) for label in range(len(data.classes))]
    reach = min(LARGEST_REACH, REACH / min(maps.shape[1:]))
    pictures = np.concatenate(
        [reduced(data.pixels[numbers[i : i + 256]]) for i in range(0, len(numbers), 256)]
    )
    size = int(data.pixels.shape[1])
    return Looked(numbers, pictures, labels, near, hottest(maps), reach, size), where, groups


def _twin(candidate: Candidate, screened: Sequence[Screened]) -> bool:
    """Tell a moving detail whose carriers a fixed detail that passed has already."""
    if candidate.kind != "moving detail":
        return False
    return any(
        one.passed
        and one.candidate.kind == "detail"
        and one.candidate.label == candidate.label
        and np.isin(candidate.carriers, one.candidate.carriers).mean() >= 0.5
        for one in screened
    )


def _proven(asked: Asked, pool: Pool, screened: Sequence[Screened], seed: int) -> list[Told]:
    """Prove what passed; correct for all that was tried; keep what has a verdict.

    A same-looking detail is judged by the stronger of its two proofs: a small one may hardly turn
    an image of another class, and still be what its own class hangs on. Colours are judged by the
    transplant, and are no shortcut where both proofs together stay small.
    """
    proofs = [prove(asked, pool, one.candidate, seed) for one in screened if one.passed]
    removals = [
        remove(asked, pool, proof.candidate, seed) if proof.candidate.detail else None
        for proof in proofs
    ]
    p = [
        min(1.0, 2 * min(proof.effect.p, removal.p)) if removal else proof.effect.p
        for proof, removal in zip(proofs, removals, strict=True)
    ]
    corrected = holm(p + [1.0] * (len(screened) - len(p)))
    told = []
    for proof, removal, value in zip(proofs, removals, corrected[: len(p)], strict=True):
        threshold = THRESHOLDS[proof.candidate.kind]
        verdict = judge(proof.effect, value, threshold)
        if removal:
            verdict = graver(verdict, judge(removal, value, threshold))
        if verdict != "none":
            removal = removal or remove(asked, pool, proof.candidate, seed)
            both = proof.effect.change.value + removal.change.value
            if verdict == "shortcut" and both < THERE_AND_BACK.get(proof.candidate.kind, both):
                verdict = "suspicious"
            told.append(Told(proof, value, verdict, removal))
    return told


def _of_class(told: Sequence[Told], label: int) -> list[Told]:
    """Return one class's findings, the gravest first; among equals by kind, details first."""
    own = [one for one in told if one.proof.candidate.label == label]
    return sorted(
        own,
        key=lambda one: (one.verdict != "shortcut", _ORDER.index(one.proof.candidate.kind)),
    )


def _class_audit(
    data: Dataset,
    predictions: Predictions,
    pool: Pool,
    label: int,
    where: Where | None,
    strategies: list[Strategy],
    screened: Sequence[Screened],
    told: Sequence[Told],
) -> ClassAudit:
    findings: list[Finding] = [tell(data, predictions, one) for one in _of_class(told, label)]
    own = [one for one in screened if one.candidate.label == label]
    return ClassAudit(
        **{"class": data.classes[label]},
        verdict=findings[0].verdict if findings else "none",
        findings=findings,
        evidence=_evidence(where),
        strategies=strategies,
        candidates=len(own),
        detectable={
            one.candidate.kind: detectable(
                one.effect.deviation, pairs(pool, label), THRESHOLDS[one.candidate.kind]
            )
            for one in own
        },
    )


def _evidence(where: Where | None) -> EvidencePlace | None:
    if where is None:
        return None
    return EvidencePlace(
        excess=where.excess,
        concentration=where.concentration,
        border=where.border,
        corners=where.corners,
        outside=where.outside,
    )


def _strategies(data: Dataset, close: NDArray[np.int64], groups: Sequence[Group]) -> list[Strategy]:
    return [
        Strategy(images=[data.ids[i] for i in close[one.rows]], alike=one.alike, apart=one.apart)
        for one in groups
    ]


def sentences(classes: Sequence[ClassAudit]) -> list[str]:
    """Return one sentence a class with a finding: shortcuts first, by how far they move."""
    worst = [one.findings[0] for one in classes if one.findings]
    worst.sort(key=lambda one: (one.verdict != "shortcut", -one.transplant.change))
    return [one.sentence for one in worst]
