"""What the audit finds and what mending does: audit.json, mended.json, mending.json.

Plain values. How they come about is in ``audit/`` and docs/audit.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from seewhy.records import Rate, Record, Stage

AuditKind = Literal["detail", "moving detail", "place", "colour", "texture"]
Verdict = Literal["shortcut", "suspicious", "none"]


class EffectRecord(Record):
    """What carrying something over, or taking it out, does to a class's probability.

    Attributes
    ----------
    change, low, high : float
        Mean difference of the probability to a comparison at the same place, paired image by
        image, and its 95 % bootstrap interval.
    p : float
        Of a permutation null, corrected for the number of candidates (Holm).
    turned, turned_without : float
        Share of the images that were decided for the class, with it and with the comparison.
    images : int
    """

    change: float
    low: float
    high: float
    p: Rate
    turned: Rate
    turned_without: Rate
    images: int


class CarrierScore(Record):
    """Test images of one class that carry a finding, or do not; None where there are none."""

    images: int
    accuracy: Rate | None = None


class Finding(Record):
    """One suspect that the classifier itself has answered for.

    Attributes
    ----------
    kind : {"detail", "moving detail", "place", "colour", "texture"}
    verdict : {"shortcut", "suspicious"}
    sentence : str
        The finding in plain words, with its numbers.
    where : str
        In words.
    box : list of float or None
        Top, left, bottom, right as shares of the side, where it has one place.
    carriers : list of str
        Ids of the images that gave.
    share, share_of_others : float or None
        Share of the class's images, and of the others, that carry it; None for colour and
        texture, of which every image has one, and for a place.
    transplant : EffectRecord
        Carried into validation images of other classes.
    strange : float or None
        Of a detail: the change by patches of the same shape from other images, for comparison.
    removal : EffectRecord or None
        Taken out of the carriers; the change is the loss of the class's probability.
    with_it, without_it : CarrierScore or None
        The class's test images; None where carriers cannot be told by their pixels.
    examples : int
        Pictures of it in audit.npz.
    """

    kind: AuditKind
    verdict: Literal["shortcut", "suspicious"]
    sentence: str
    where: str
    box: list[float] | None = None
    carriers: list[str]
    share: Rate | None = None
    share_of_others: Rate | None = None
    transplant: EffectRecord
    strange: float | None = None
    removal: EffectRecord | None = None
    with_it: CarrierScore | None = None
    without_it: CarrierScore | None = None
    examples: int = 0


class EvidencePlace(Record):
    """Where one class's evidence lies, as shares of it; see ``docs/audit.md``."""

    excess: float
    concentration: Rate
    border: Rate
    corners: Rate
    outside: Rate | None = None


class Strategy(Record):
    """Images of one class that are decided by the same things; see ``audit/strategies.py``.

    `images` are their ids. `alike` is the mean cosine of the angle between two of their evidence
    vectors, `apart` their mean silhouette, -1 … 1; None where the class has one strategy.
    """

    images: list[str]
    alike: float
    apart: float | None = None


class ClassAudit(Record):
    """One class's part of audit.json.

    `verdict` is that of its worst finding; `candidates` were tried, and an effect of
    `detectable` would have been found in nine of ten cases, for each kind.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    verdict: Verdict
    findings: list[Finding] = Field(default_factory=list)
    evidence: EvidencePlace | None = None
    strategies: list[Strategy] = Field(default_factory=list)
    candidates: int
    detectable: dict[AuditKind, float] = Field(default_factory=dict)


class Audit(Record):
    """audit.json: wrong reasons of one classifier, found and proven on validation images.

    `images` were looked at, `candidates` tried; `sentences` open the report, the gravest first;
    `searched` says what was looked for and how strong an effect would have been seen.
    """

    stage: Stage
    images: int
    candidates: int
    seconds: float
    sentences: list[str]
    searched: str
    classes: list[ClassAudit]


class Mended(Record):
    """What was done to the training and validation images because of one class's shortcuts.

    `taken_out`: images of the class from which the thing was taken; `likewise`: images of other
    classes that were changed the way taking out changes an image, so that the change tells
    nothing: a hole filled, or an exchange among themselves.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    kinds: list[AuditKind]
    taken_out: int
    likewise: int


class MendedData(Record):
    """mended.json of a mended study: how its images differ from those of the study around it.

    `reasons` has a SHA-256 a reason that was mended, of all that it is known by; those of early
    versions have none.
    """

    classes: list[Mended]
    reasons: list[str] = Field(default_factory=list)


class MendedScores(Record):
    """One classifier on the test images, before or after mending.

    Attributes
    ----------
    verdict : {"shortcut", "suspicious", "none"}
        Of the class, by the audit of this classifier.
    recall : float
        Share of the class's test images that are called right, as they are.
    freed : float
        The same, where the thing has been taken out of all that carry it.
    with_it, without_it : CarrierScore
        Those that carry it and those that do not, as they are.
    others : float
        Accuracy on the other classes' test images.
    """

    verdict: Verdict
    recall: Rate
    freed: Rate
    with_it: CarrierScore
    without_it: CarrierScore
    others: Rate


class MendedClass(Record):
    """One class's part of mending.json: what was done, and what it did."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    done: Mended
    images: int
    before: MendedScores
    after: MendedScores
    sentence: str


class MendingRecord(Record):
    """mending.json: a classifier that goes by wrong reasons, and the second one made for it.

    `accuracy_before` and `accuracy_after` are of all test images as they are; `sentences` has one a
    class that was mended, then what the second audit found elsewhere; `found_again` is what the
    second audit says, whatever the class.
    """

    accuracy_before: Rate
    accuracy_after: Rate
    classes: list[MendedClass]
    sentences: list[str]
    found_again: list[str]
