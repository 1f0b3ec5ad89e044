"""The audit of one classifier, from a study's images to a record.

    discovery -> screening -> confirmation -> verdicts -> sentences

Each step has images of its own (see `pools`). Test images are only reported on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.classifier_access import ClassifierAccess
from seewhy.audit.confirmation import ConfirmedCandidate, confirm
from seewhy.audit.discovery.candidates import REACH, DiscoveryImages, find_candidates
from seewhy.audit.discovery.details import Detail, reduced
from seewhy.audit.discovery.evidence_location import (
    EvidenceLocation,
    hottest,
    locate_evidence,
    share_outside,
)
from seewhy.audit.discovery.strategies import EvidenceCluster, cluster_evidence
from seewhy.audit.findings import describe_finding, examples, searched
from seewhy.audit.image_pools import ImagePools, divide
from seewhy.audit.inference import more_severe
from seewhy.audit.screening import ScreenedCandidate, class_ranges, screen
from seewhy.runtime.progress import Advance, Progress
from seewhy.storage.schemas.audit import (
    Audit,
    AuditImages,
    ClassAudit,
    EvidencePlace,
    Finding,
    Strategy,
    Verdict,
)
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions

# Images per class whose evidence is asked for.
NEAR = 24
LARGEST_REACH = 0.25
# With fewer images for discovery nothing can look the same in several.
FEWEST_DISCOVERY = 6
_KINDS = ("detail", "moving detail", "place", "colour", "texture")


@dataclass(frozen=True)
class AuditResult:
    """The record of an audit, its example pictures and its details, by ``CLASS-FINDING``.

    `pictures` are ndarrays of uint8, (n, 3, S, S, 3): donor, recipient before, recipient after.
    `details` are without their places. Classes and findings are numbered from 0.
    """

    record: Audit
    pictures: dict[str, NDArray[np.uint8]]
    details: dict[str, Detail]


def audit_classifier(
    access: ClassifierAccess,
    data: Dataset,
    predictions: Predictions,
    stage: Stage,
    seed: int,
    progress: Progress,
    title: str,
) -> AuditResult:
    """Look for shortcuts in one classifier, and confirm on it what is found.

    Parameters
    ----------
    access : ClassifierAccess
        The classifier.
    data : Dataset
        Training images discover and screen, validation images confirm.
    predictions : Predictions
        Of the test images; only reported on.
    stage : {"adaptation", "finetuning"}
    seed : int
    progress : Progress
    title : str
        The name of the task in the progress display.
    """
    started = time.perf_counter()
    pools = divide(data, seed)
    with progress.task(title, 2 + 2 * len(data.classes)) as advance:
        shown, where, groups, outside = _evidence_of_discovery(access, data, pools, seed)
        advance(2)
        screened = _screened(access, pools, shown, where, seed, advance)
        confirmed = confirm(access, pools, screened, seed)
        advance(len(data.classes))
    classes = [
        _class_audit(
            data,
            predictions,
            label,
            where[label],
            _strategies(data, shown.numbers[shown.near], groups[label]),
            [one for one in screened if one.candidate.label == label],
            _of_class(confirmed, label),
            outside,
        )
        for label in range(len(data.classes))
    ]
    record = Audit(
        stage=stage,
        images=AuditImages(**{role: len(chosen) for role, chosen in pools.numbers.items()}),
        candidates=len(screened),
        seconds=time.perf_counter() - started,
        sentences=sentences(classes),
        searched=searched(data.classes, classes, pools, len(screened)),
        classes=classes,
    )
    found = {
        f"{label}-{number}": one
        for label in range(len(classes))
        for number, one in enumerate(_of_class(confirmed, label))
    }
    details = {
        name: replace(one.candidate.detail, places={})
        for name, one in found.items()
        if one.candidate.detail is not None
    }
    return AuditResult(record, {name: examples(pools, one) for name, one in found.items()}, details)


def _evidence_of_discovery(
    access: ClassifierAccess, data: Dataset, pools: ImagePools, seed: int
) -> tuple[
    DiscoveryImages,
    list[EvidenceLocation | None],
    list[list[EvidenceCluster]],
    dict[int, float],
]:
    """Return the images of discovery, and where and how each class's evidence is spread.

    Last, the share of the evidence off the object, by the numbers of the images with a mask.
    """
    numbers = pools.numbers["discovery"]
    labels = data.labels[numbers]
    rng = np.random.default_rng([seed, 6])
    rows = [rng.permutation(np.flatnonzero(labels == k))[:NEAR] for k in range(len(data.classes))]
    near = np.sort(np.concatenate(rows)).astype(np.int64)
    close = numbers[near]
    maps = access.evidence(data.pixels[close], data.labels[close])
    masks = data.masks[close] if data.masks is not None else None
    where = locate_evidence(maps, data.labels[close], len(data.classes), masks)
    vectors = access.gathered(data.pixels[close], maps)
    groups = [
        cluster_evidence(vectors, data.labels[close], label) for label in range(len(data.classes))
    ]
    down, across = (min(LARGEST_REACH, REACH / places) for places in maps.shape[1:])
    pictures = np.concatenate(
        [reduced(data.pixels[numbers[i : i + 256]]) for i in range(0, len(numbers), 256)]
    )
    shape = (int(data.pixels.shape[1]), int(data.pixels.shape[2]))
    shown = DiscoveryImages(numbers, pictures, labels, near, hottest(maps), (down, across), shape)
    off = zip(close.tolist(), share_outside(maps, masks).tolist(), strict=True)
    return shown, where, groups, {i: value for i, value in off if not np.isnan(value)}


def _screened(
    access: ClassifierAccess,
    pools: ImagePools,
    shown: DiscoveryImages,
    where: Sequence[EvidenceLocation | None],
    seed: int,
    advance: Advance,
) -> list[ScreenedCandidate]:
    """Discover the candidates of each class that has enough images, and screen them."""
    spans = class_ranges(access, pools, "screening") if len(pools.numbers["screening"]) else []
    screened: list[ScreenedCandidate] = []
    for label, place in enumerate(where):
        if spans and (shown.labels == label).sum() >= FEWEST_DISCOVERY:
            for candidate in find_candidates(shown, label, place, seed):
                one = screen(access, pools, candidate, spans[label], seed)
                if one is not None and not _twin(one, screened):
                    screened.append(one)
        advance(1)
    return screened


def _twin(one: ScreenedCandidate, screened: Sequence[ScreenedCandidate]) -> bool:
    """Return whether this is a moving detail with the carriers of a fixed one that passed."""
    return one.candidate.kind == "moving detail" and any(
        other.passed
        and other.candidate.kind == "detail"
        and other.candidate.label == one.candidate.label
        and np.isin(one.candidate.carriers, other.candidate.carriers).mean() >= 0.5
        for other in screened
    )


def _of_class(confirmed: Sequence[ConfirmedCandidate], label: int) -> list[ConfirmedCandidate]:
    """Return one class's findings, the most severe first; among equals by kind, details first."""
    own = [one for one in confirmed if one.candidate.label == label and one.verdict != "none"]
    return sorted(
        own, key=lambda one: (one.verdict != "shortcut", _KINDS.index(one.candidate.kind))
    )


def _class_audit(
    data: Dataset,
    predictions: Predictions,
    label: int,
    where: EvidenceLocation | None,
    strategies: list[Strategy],
    screened: Sequence[ScreenedCandidate],
    confirmed: Sequence[ConfirmedCandidate],
    outside: Mapping[int, float],
) -> ClassAudit:
    findings: list[Finding] = [
        describe_finding(data, predictions, one, outside) for one in confirmed
    ]
    verdict: Verdict = "none" if screened else "too few images"
    for finding in findings:
        verdict = more_severe(verdict, finding.verdict)
    return ClassAudit(
        **{"class": data.classes[label]},
        verdict=verdict,
        findings=findings,
        evidence=_evidence(where),
        strategies=strategies,
        candidates=len(screened),
    )


def _evidence(where: EvidenceLocation | None) -> EvidencePlace | None:
    if where is None:
        return None
    names = EvidencePlace.model_fields
    return EvidencePlace(**{name: getattr(where, name) for name in names})


def _strategies(
    data: Dataset, close: NDArray[np.int64], groups: Sequence[EvidenceCluster]
) -> list[Strategy]:
    return [
        Strategy(images=[data.ids[i] for i in close[one.rows]], alike=one.alike, apart=one.apart)
        for one in groups
    ]


def sentences(classes: Sequence[ClassAudit]) -> list[str]:
    """Return one sentence per class with a finding: shortcuts first, by how far they move."""
    worst = [one.findings[0] for one in classes if one.findings]
    worst.sort(key=lambda one: (one.verdict != "shortcut", -one.insertion.change))
    return [one.sentence for one in worst]
