"""What mitigation did: two classifiers on the same test images, in numbers and words.

The test images as they are, and those of the mitigated class without what was proven of it. Knows
no networks but as the audit asks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seewhy.audit.classifier_access import ClassifierAccess
from seewhy.audit.findings import score, spot_in_words
from seewhy.audit.inference import more_severe
from seewhy.audit.mitigation import ConfirmedCue, ImagesWithoutCue, without_cue
from seewhy.storage.schemas.audit import Audit, AuditKind, ClassAudit, Verdict
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.mitigation import (
    ClassMitigation,
    MitigatedClass,
    MitigationRecord,
    MitigationScores,
)
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import count, listing, share, two_shares

_AGAIN: Mapping[Verdict, str] = {
    "none": "Audited again: no shortcut found in it.",
    "needs judgement": "Audited again: needs judgement.",
    "too few images": "Audited again: too few images to say anything.",
    "shortcut": "Audited again: still a shortcut.",
}
_WHAT: Mapping[AuditKind, str] = {
    "detail": "the detail{s} {spot}",
    "moving detail": "the detail{s} {spot}",
    "place": "what lies {spot}",
    "colour": "its colours",
    "texture": "its fine texture",
}


@dataclass(frozen=True)
class EvaluatedClassifier:
    """A classifier, what it says of the test images as they are, and its audit."""

    asked: ClassifierAccess
    predictions: Predictions
    audit: Audit


def outcome(
    data: Dataset,
    before: EvaluatedClassifier,
    after: EvaluatedClassifier,
    reasons: Sequence[ConfirmedCue],
    done: Sequence[ClassMitigation],
    seed: int,
) -> MitigationRecord:
    """Compare the classifier that uses a shortcut with the one that was mitigated.

    Parameters
    ----------
    data : Dataset
        As it was before mitigation; only its test images are asked about.
    before, after : EvaluatedClassifier
    reasons : sequence of ConfirmedCue
        What was mitigated.
    done : sequence of ClassMitigation
        What mitigation did to the images, one a class in the order of the labels.
    seed : int
        The study's.
    """
    classes = []
    for label, one in zip(sorted({reason.label for reason in reasons}), done, strict=True):
        without = without_cue(data, [reason for reason in reasons if reason.label == label], seed)
        old, new = (_scores(data, judged, label, without) for judged in (before, after))
        said = before.audit.classes[label]
        classes.append(
            MitigatedClass(
                **{"class": one.name},
                done=one,
                images=len(without.numbers),
                before=old,
                after=new,
                sentence=_sentence(one, said, old, new),
            )
        )
    labels = before.predictions.labels
    return MitigationRecord(
        accuracy_before=float((before.predictions.predicted == labels).mean()),
        accuracy_after=float((after.predictions.predicted == labels).mean()),
        classes=classes,
        sentences=[one.sentence for one in classes] + _elsewhere(before.audit, after.audit),
        found_again=after.audit.sentences,
    )


def _scores(
    data: Dataset, judged: EvaluatedClassifier, label: int, without: ImagesWithoutCue
) -> MitigationScores:
    own = judged.predictions.labels == label
    right = judged.predictions.predicted == judged.predictions.labels
    carries = without.carries
    # Images that carry nothing are as they were, and so is what was said of them.
    freed_right = right[own].copy()
    if carries.any():
        asked = judged.asked.probabilities(without.pixels[carries])
        freed_right[carries] = asked.argmax(axis=1) == label
    return MitigationScores(
        verdict=judged.audit.classes[label].verdict,
        recall=float(right[own].mean()),
        freed=float(freed_right.mean()),
        with_it=score(right[own][carries]),
        without_it=score(right[own][~carries]),
        others=float(right[~own].mean()),
    )


def _sentence(
    done: ClassMitigation, said: ClassAudit, old: MitigationScores, new: MitigationScores
) -> str:
    """Say what was done to the images of one class, what it did, and what the second audit says."""
    what, it = _taken_out(done, said)
    before, after = two_shares(old.others, new.others)
    first, second = (share(100 * one.freed, 0) for one in (old, new))
    outcome = (
        f"Without {it} the first is right in {first} % of its test images, the second in {second} %"
    )
    if not old.with_it.images:
        outcome = (
            f"No test image of this class carries {it}: of all its test images the first calls "
            f"{first} % right, the second {second} %"
        )
    return (
        f"'{done.name}': {count(done.taken_out, 'image')} lost {what}, "
        f"{count(done.likewise, 'image')} of other classes were changed likewise, and a second "
        f"classifier was trained on that. {outcome}; on the other classes {before} and {after}. "
        f"{_AGAIN[new.verdict]}"
    )


def _taken_out(done: ClassMitigation, said: ClassAudit) -> tuple[str, str]:
    """Name all that was taken out of a class's images, and the pronoun for it."""
    mitigated = Counter(
        (finding.kind, finding.where)
        for finding in said.findings
        if finding.verdict == "shortcut" and finding.kind in done.kinds
    )
    named = [
        _WHAT[kind].format(spot=spot_in_words(where), s="s" if times > 1 else "")
        for (kind, where), times in mitigated.items()
    ]
    several = mitigated.total() > 1 or "colour" in done.kinds
    return listing(named), "them" if several else "it"


def _elsewhere(before: Audit, after: Audit) -> list[str]:
    """Return what the second audit found that the first had not, so in classes not mitigated."""
    return [
        f"New in the second audit: {new.findings[0].sentence}"
        for old, new in zip(before.classes, after.classes, strict=True)
        if more_severe(new.verdict, old.verdict) != old.verdict
    ]
