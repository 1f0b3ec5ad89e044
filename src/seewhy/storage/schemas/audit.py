"""What the audit finds: audit.json.

Plain values. How they are computed is in ``audit/`` and docs/audit.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from seewhy.storage.schemas.base import Rate, Record, Stage

AuditKind = Literal["detail", "moving detail", "place", "colour", "texture"]
Verdict = Literal["shortcut", "needs judgement", "too few images", "none"]


class EffectRecord(Record):
    """What an intervention does to a class's probability.

    Attributes
    ----------
    change, low, high : float
        Mean difference of the probability to the control, and its 95 % interval: Student's t
        over the donors.
    p : float or None
        One-sided, corrected for all tests of the audit (Holm); None for an effect that decides
        nothing: the ablation of colours, a texture or a place.
    turned, turned_control : float
        Share of the images predicted as the class, with the intervention and with its control.
    donors, images : int
        Donors, the unit of inference, and images that were changed.
    """

    change: float
    low: float
    high: float
    p: Rate | None = None
    turned: Rate
    turned_control: Rate
    donors: int
    images: int


class CarrierScore(Record):
    """Test images of one class that carry a finding, or do not; None where there are none."""

    images: int
    accuracy: Rate | None = None


class ObjectEvidence(Record):
    """Where a finding is, by the object masks of the class's images that are known to carry it.

    Attributes
    ----------
    images : int
        Those of the carriers that have a mask.
    placed : int or None
        Those of these in which the cue has pixels; None for colours and texture, which have no
        place.
    placed_off : float or None
        Share of `placed` in which less than half of the cue's pixels are on the object.
    covered : float or None
        Share of the cue's pixels that are on the object, mean over `placed`.
    with_map : int
        Images whose evidence is known too: those of discovery that have a map.
    evidence_off : float or None
        Share of the evidence for the class that is off the object, mean over `with_map`.
    """

    images: int
    placed: int | None = None
    placed_off: Rate | None = None
    covered: Rate | None = None
    with_map: int
    evidence_off: Rate | None = None


class Finding(Record):
    """One candidate that moved the classifier.

    Attributes
    ----------
    kind : {"detail", "moving detail", "place", "colour", "texture"}
    verdict : {"shortcut", "needs judgement"}
    sentence : str
        The finding in words, with its numbers.
    where : str
        In words.
    box : list of float or None
        Top, left, bottom, right as shares of the sides, where it has one place.
    carriers : list of str
        Ids of the images that are known to carry it; of colours and texture, of which every image
        has some, those that stand out most.
    share, share_of_others : float or None
        Share of the class's images, and of the others, that carry it, in discovery; None for
        colour, texture and place.
    insertion : EffectRecord
        Inserted into images of other classes, against the stronger of its controls.
    other_patches, own_patches : float or None
        Of a detail: the change by patches of the same shape, of images of other classes and of
        ordinary parts of the class's own images; against the untouched images.
    ablation : EffectRecord or None
        Ablated from the carriers, against equal changes elsewhere; the change is the loss of the
        class's probability. None where too few images carry it.
    range : float
        The class's mean probability on its own images less that on the others'.
    usual : float or None
        Share of a class's range that the same insertion may reach with any class of this data
        set, by its other classes; None for details, and where these are too few.
    with_it, without_it : CarrierScore or None
        The class's test images; None where pixels do not show which images are carriers.
    objects : ObjectEvidence or None
        Whether it is on the object; None where no carrier has an object mask.
    examples : int
        Pictures of it in audit.npz.
    """

    kind: AuditKind
    verdict: Literal["shortcut", "needs judgement"]
    sentence: str
    where: str
    box: list[float] | None = None
    carriers: list[str]
    share: Rate | None = None
    share_of_others: Rate | None = None
    insertion: EffectRecord
    other_patches: float | None = None
    own_patches: float | None = None
    ablation: EffectRecord | None = None
    range: float
    usual: float | None = None
    with_it: CarrierScore | None = None
    without_it: CarrierScore | None = None
    objects: ObjectEvidence | None = None
    examples: int = 0


class EvidencePlace(Record):
    """Where one class's evidence is, as shares of it; see ``docs/audit.md``.

    `outside` is the share off the object, over the images with a mask; None where there are none.
    """

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

    `verdict` is that of its worst finding; ``too few images`` where nothing could be tried.
    `candidates` were tried.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    verdict: Verdict
    findings: list[Finding] = Field(default_factory=list)
    evidence: EvidencePlace | None = None
    strategies: list[Strategy] = Field(default_factory=list)
    candidates: int


class AuditImages(Record):
    """How many images had each role; none had two of them."""

    discovery: int
    screening: int
    extra_donors: int
    confirmation: int


class Audit(Record):
    """audit.json: shortcuts of one classifier, discovered, screened and confirmed.

    `candidates` were tried; `sentences` open the report, the most severe first; `searched` says
    what was searched for, in how many images, and where these were too few.
    """

    stage: Stage
    images: AuditImages
    candidates: int
    seconds: float
    sentences: list[str]
    searched: str
    classes: list[ClassAudit]
