"""What mitigation does: mitigation_data.json, mitigation.json.

Plain values. How they are computed is in ``audit/`` and docs/audit.md.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from seewhy.storage.schemas.audit import AuditKind, CarrierScore, Verdict
from seewhy.storage.schemas.base import Rate, Record


class ClassMitigation(Record):
    """What was done to the training and validation images because of one class's shortcuts.

    `taken_out` images of the class had the shortcut ablated. `likewise` images of other classes got
    the same change, a filled hole or an exchange among themselves, so that it predicts nothing.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    kinds: list[AuditKind]
    taken_out: int
    likewise: int


class MitigationData(Record):
    """mitigation_data.json: how the images of a mitigated study differ from the original study's.

    `reasons` has a SHA-256 for each confirmed shortcut, of all that identifies it.
    """

    classes: list[ClassMitigation]
    reasons: list[str]


class MitigationScores(Record):
    """One classifier on the test images, before or after mitigation.

    `verdict` is that of the class by the audit of this classifier. `recall` is the share of the
    class's test images that are classified correctly as they are, `freed` the same with the
    shortcut ablated from all that carry it; `with_it` and `without_it` are those that carry it and
    those that do not. `others` is the accuracy on the other classes' test images.
    """

    verdict: Verdict
    recall: Rate
    freed: Rate
    with_it: CarrierScore
    without_it: CarrierScore
    others: Rate


class MitigatedClass(Record):
    """One class's part of mitigation.json: what was done, and its effect."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    name: str = Field(alias="class")
    done: ClassMitigation
    images: int
    before: MitigationScores
    after: MitigationScores
    sentence: str


class MitigationRecord(Record):
    """mitigation.json: a classifier that uses shortcuts, and the second one trained without them.

    `accuracy_before` and `accuracy_after` are of all test images as they are; `sentences` has one
    per mitigated class, then what the second audit found elsewhere; `found_again` is what the
    second audit says, whatever the class.
    """

    accuracy_before: Rate
    accuracy_after: Rate
    classes: list[MitigatedClass]
    sentences: list[str]
    found_again: list[str]
