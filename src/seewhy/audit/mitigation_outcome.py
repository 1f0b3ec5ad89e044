"""What mitigation changed: two classifiers on the same test images, in numbers and words.

The test images as they are, and those of the mitigated class with its confirmed shortcut ablated.
Networks are known only through the audit's `ClassifierAccess`.
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
    "none": "Second audit: no shortcut found.",
    "needs judgement": "Second audit: needs judgement.",
    "too few images": "Second audit: too few images to decide.",
    "shortcut": "Second audit: still a shortcut.",
}
_WHAT: Mapping[AuditKind, str] = {
    "detail": "the detail{s} {spot}",
    "moving detail": "the detail{s} {spot}",
    "place": "the content {spot}",
    "colour": "its colours",
    "texture": "its fine texture",
}


@dataclass(frozen=True)
class EvaluatedClassifier:
    """A classifier, its predictions for the test images as they are, and its audit."""

    access: ClassifierAccess
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

    `data` is as it was before mitigation; `reasons` were mitigated; `done` has what mitigation did
    to the images, one per class in the order of the labels.
    """
    classes = []
    for label, one in zip(sorted({reason.label for reason in reasons}), done, strict=True):
        without = without_cue(data, [reason for reason in reasons if reason.label == label], seed)
        old, new = (_scores(data, judged, label, without) for judged in (before, after))
        found = before.audit.classes[label]
        classes.append(
            MitigatedClass(
                **{"class": one.name},
                done=one,
                images=len(without.numbers),
                before=old,
                after=new,
                sentence=_sentence(one, found, old, new),
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
    # Images that carry nothing are unchanged, and so is their prediction.
    freed_right = right[own].copy()
    if carries.any():
        answers = judged.access.probabilities(without.pixels[carries])
        freed_right[carries] = answers.argmax(axis=1) == label
    return MitigationScores(
        verdict=judged.audit.classes[label].verdict,
        recall=float(right[own].mean()),
        freed=float(freed_right.mean()),
        with_it=score(right[own][carries]),
        without_it=score(right[own][~carries]),
        others=float(right[~own].mean()),
    )


def _sentence(
    done: ClassMitigation, found: ClassAudit, old: MitigationScores, new: MitigationScores
) -> str:
    """Say what mitigation of one class achieved, how it was trained, and what the audit finds."""
    what, it = _ablated(done, found)
    before, after = two_shares(old.others, new.others)
    first, second = (share(100 * one.freed, 0) for one in (old, new))
    ablated = f" with {it} ablated" if old.with_it.images else f", none of which carries {it},"
    return (
        f"Mitigation for '{done.name}': accuracy on its test images{ablated} is {first} % before "
        f"and {second} % after; on the other classes it is {before} and {after}. The second "
        f"classifier was trained with {what} ablated from {count(done.taken_out, 'image')} of "
        f"'{done.name}', and with the same change to {count(done.likewise, 'image')} of other "
        f"classes. {_AGAIN[new.verdict]}"
    )


def _ablated(done: ClassMitigation, found: ClassAudit) -> tuple[str, str]:
    """Name everything that was ablated from a class's images, and the pronoun for it."""
    mitigated = Counter(
        (finding.kind, finding.where)
        for finding in found.findings
        if finding.verdict == "shortcut" and finding.kind in done.kinds
    )
    named = [
        _WHAT[kind].format(spot=spot_in_words(where), s="s" if times > 1 else "")
        for (kind, where), times in mitigated.items()
    ]
    several = mitigated.total() > 1 or "colour" in done.kinds
    return listing(named), "them" if several else "it"


def _elsewhere(before: Audit, after: Audit) -> list[str]:
    """Return what the second audit found and the first did not, so in classes not mitigated."""
    return [
        f"New in the second audit: {new.findings[0].sentence}"
        for old, new in zip(before.classes, after.classes, strict=True)
        if more_severe(new.verdict, old.verdict) != old.verdict
    ]
