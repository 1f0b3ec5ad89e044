"""What mending did: two classifiers on the same test images, in numbers and words.

The test images as they are, and those of the mended class without what was proven of it. Knows no
networks but as the audit asks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.asking import Asked
from seewhy.audit.mending import Freed, Reason, freed
from seewhy.audit.verdict import graver
from seewhy.audit_records import (
    Audit,
    AuditKind,
    CarrierScore,
    ClassAudit,
    Mended,
    MendedClass,
    MendedScores,
    MendingRecord,
    Verdict,
)
from seewhy.records import Dataset, Predictions
from seewhy.wording import count, listing, share, two_shares

_AGAIN: Mapping[Verdict, str] = {
    "none": "Audited again: no wrong reason found in it.",
    "suspicious": "Audited again: still suspicious.",
    "shortcut": "Audited again: still a shortcut.",
}
_WHAT: Mapping[AuditKind, str] = {
    "detail": "the detail in {where}",
    "moving detail": "the detail at {where}",
    "place": "what lies in {where}",
    "colour": "its colours",
    "texture": "its fine texture",
}


@dataclass(frozen=True)
class Judged:
    """A classifier, what it says of the test images as they are, and its audit."""

    asked: Asked
    predictions: Predictions
    audit: Audit


def outcome(
    data: Dataset,
    before: Judged,
    after: Judged,
    reasons: Sequence[Reason],
    done: Sequence[Mended],
    seed: int,
) -> MendingRecord:
    """Compare the classifier that went by wrong reasons with the one that was mended.

    Parameters
    ----------
    data : Dataset
        As it was before mending; only its test images are asked about.
    before, after : Judged
    reasons : sequence of Reason
        What was mended.
    done : sequence of Mended
        What mending did to the images, one a class in the order of the labels.
    seed : int
        The study's.
    """
    classes = []
    for label, one in zip(sorted({reason.label for reason in reasons}), done, strict=True):
        without = freed(data, [reason for reason in reasons if reason.label == label], seed)
        old, new = (_scores(data, judged, label, without) for judged in (before, after))
        said = before.audit.classes[label]
        classes.append(
            MendedClass(
                **{"class": one.name},
                done=one,
                images=len(without.numbers),
                before=old,
                after=new,
                sentence=_sentence(one, said, old, new),
            )
        )
    labels = before.predictions.labels
    return MendingRecord(
        accuracy_before=float((before.predictions.predicted == labels).mean()),
        accuracy_after=float((after.predictions.predicted == labels).mean()),
        classes=classes,
        sentences=[one.sentence for one in classes] + _elsewhere(before.audit, after.audit),
        found_again=after.audit.sentences,
    )


def _scores(data: Dataset, judged: Judged, label: int, without: Freed) -> MendedScores:
    own = judged.predictions.labels == label
    right = judged.predictions.predicted == judged.predictions.labels
    carries = without.carries
    answers = judged.asked.probabilities(without.pixels[carries]).argmax(axis=1) == label
    # Images that carry nothing are as they were, and so is what was said of them.
    freed_right = right[own].copy()
    if carries.any():
        freed_right[carries] = answers
    return MendedScores(
        verdict=judged.audit.classes[label].verdict,
        recall=float(right[own].mean()),
        freed=float(freed_right.mean()),
        with_it=_score(right[own][carries]),
        without_it=_score(right[own][~carries]),
        others=float(right[~own].mean()),
    )


def _score(right: NDArray[np.bool_]) -> CarrierScore:
    return CarrierScore(images=len(right), accuracy=float(right.mean()) if len(right) else None)


def _sentence(done: Mended, said: ClassAudit, old: MendedScores, new: MendedScores) -> str:
    """Say what was done to the images of one class, what it did, and what the second audit says."""
    where = {one.kind: one.where for one in said.findings[::-1]}
    kinds = list(dict.fromkeys(done.kinds))
    what = listing([_WHAT[kind].format(where=where.get(kind, "")) for kind in kinds])
    it = "them" if len(kinds) > 1 or kinds == ["colour"] else "it"
    before, after = two_shares(old.others, new.others)
    first, second = (share(100 * one.freed, 0) for one in (old, new))
    return (
        f"'{done.name}': {count(done.taken_out, 'image')} lost {what}, "
        f"{count(done.likewise, 'image')} of other classes were changed likewise, and a second "
        f"classifier was trained on that. Without {it} the first is right in {first} % of its test "
        f"images, the second in {second} %; on the other classes {before} and {after}. "
        f"{_AGAIN[new.verdict]}"
    )


def _elsewhere(before: Audit, after: Audit) -> list[str]:
    """Return what the second audit found that the first had not, so in classes not mended."""
    return [
        f"New in the second audit: {new.findings[0].sentence}"
        for old, new in zip(before.classes, after.classes, strict=True)
        if graver(new.verdict, old.verdict) != old.verdict
    ]
