"""What mitigation did, worked out by hand: two rules as classifiers, twelve test images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.discovery.details import Detail
from seewhy.audit.mitigation import ConfirmedCue, without_cue
from seewhy.audit.mitigation_outcome import EvaluatedClassifier, outcome
from seewhy.storage.schemas.audit import (
    Audit,
    AuditImages,
    AuditKind,
    ClassAudit,
    EffectRecord,
    Finding,
    Verdict,
)
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.mitigation import ClassMitigation, MitigationRecord
from seewhy.storage.schemas.predictions import Predictions

IMAGES = AuditImages(discovery=9, screening=3, extra_donors=2, confirmation=4)
EFFECT = EffectRecord(change=0.5, low=0.4, high=0.6, p=0.001, turned=0.8, turned_control=0.1,
                      donors=12, images=96)  # fmt: skip
MARK = (slice(12, 16), slice(0, 4))
SIGN = (slice(6, 10), slice(6, 10))
DETAIL = Detail(np.full((4, 4, 3), 255, np.float32), np.ones((4, 4), bool), (12, 0))


@pytest.fixture
def data() -> Dataset:
    """Dark images; a boat has a dim sign in its middle, and the first four of six a white mark."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 60, (24, 16, 16, 3), dtype=np.uint8)
    labels = np.tile([0, 1], 12)
    for i in np.flatnonzero(labels == 1):
        pixels[(i, *SIGN)] = 120
        if i % 12 < 8:
            pixels[(i, *MARK)] = 255
    return Dataset(
        source="drawn",
        classes=("cat", "boat"),
        ids=tuple(f"{i:06d}" for i in range(24)),
        paths=("",) * 24,
        labels=labels,
        splits=("train",) * 12 + ("test",) * 12,
        pixels=pixels,
    )


@dataclass(frozen=True)
class ByPlace:
    """Calls an image a boat where one place of it is bright."""

    place: tuple[slice, slice]

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert len(pixels), "a network has no answer to nothing"
        boat = pixels[(slice(None), *self.place)].mean(axis=(1, 2, 3)) > 100
        return np.stack([1 - boat, boat], axis=1).astype(np.float32)

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        raise AssertionError("nobody asks for evidence")


def audit(cat: Verdict, boat: Verdict) -> Audit:
    classes = []
    for name, verdict in (("cat", cat), ("boat", boat)):
        findings = [] if verdict == "none" else [
            Finding(kind="detail", verdict=verdict, sentence=f"'{name}': a mark.",
                    where="the lower left corner", carriers=[], insertion=EFFECT, range=0.9)
        ]  # fmt: skip
        classes.append(ClassAudit(**{"class": name, "verdict": verdict, "findings": findings,
                                     "candidates": 1}))  # fmt: skip
    said = [one.sentence for each in classes for one in each.findings]
    return Audit(stage="finetuning", images=IMAGES, candidates=2, seconds=1.5, sentences=said,
                 searched="", classes=classes)  # fmt: skip


def judged(data: Dataset, place: tuple[slice, slice], found: Audit) -> EvaluatedClassifier:
    access, test = ByPlace(place), data.where("test")
    ids = tuple(data.ids[i] for i in test)
    said = access.probabilities(data.pixels[test])
    return EvaluatedClassifier(access, Predictions(ids, data.labels[test], said), found)


def compared(data: Dataset, cat: Verdict = "none", boat: Verdict = "none") -> MitigationRecord:
    done = ClassMitigation(**{"class": "boat"}, kinds=["detail"], taken_out=2, likewise=1234)
    before = judged(data, MARK, audit("none", "shortcut"))
    after = judged(data, SIGN, audit(cat, boat))
    return outcome(data, before, after, [ConfirmedCue(1, "detail", DETAIL)], [done], 0)


def test_the_numbers_are_those_of_the_rules(data: Dataset) -> None:
    found = compared(data)
    # Six test boats, four marked: the first rule sees these alone, the second all.
    assert (found.accuracy_before, found.accuracy_after) == (pytest.approx(10 / 12), 1)
    (one,) = found.classes
    assert one.images == 6
    assert one.before.recall == pytest.approx(4 / 6)
    assert (one.before.with_it.images, one.before.with_it.accuracy) == (4, 1)
    assert (one.before.without_it.images, one.before.without_it.accuracy) == (2, 0)
    assert one.before.freed == 0
    assert one.after.freed == one.after.recall == 1
    assert one.before.others == one.after.others == 1
    assert (one.before.verdict, one.after.verdict) == ("shortcut", "none")
    assert found.sentences == [
        "Mitigation for 'boat': accuracy on its test images with it ablated is 0 % before and "
        "100 % after; on the other classes it is 1.000 and 1.000. The second classifier was "
        "trained with the detail in the lower left corner ablated from 2 images of 'boat', and "
        "with the same change to 1,234 images of other classes. Second audit: no shortcut found."
    ]
    assert found.found_again == []


def test_where_no_test_image_carries_it_nobody_is_asked_about_it(data: Dataset) -> None:
    pixels = data.pixels.copy()
    pixels[(slice(12, None), *MARK)] = 50
    unmarked = replace(data, pixels=pixels)
    (one,) = compared(unmarked).classes
    assert (one.before.with_it.images, one.before.with_it.accuracy) == (0, None)
    assert (one.before.freed, one.before.recall, one.after.freed) == (0, 0, 1)
    assert (
        "accuracy on its test images, none of which carries it, is 0 % before and 100 % after; on "
        "the other classes it is 1.000 and 1.000." in one.sentence
    )
    assert "with it ablated" not in one.sentence


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([("detail", "the border of the image")],
         ("with the detail along the border of the image ablated ", "with it ablated")),
        ([("detail", "the upper edge"), ("detail", "the middle")],
         ("with the detail in the upper edge and the detail in the middle ablated ", "with them")),
        ([("moving detail", "varying places")] * 2,
         ("with the details at varying places ablated ", "with them ablated")),
        ([("place", "the middle"), ("place", "the left edge")],
         ("with the content in the middle and the content in the left edge ablated ", "with them")),
        ([("colour", "the colours of the whole image")],
         ("with its colours ablated ", "with them ablated")),
    ],
)  # fmt: skip
def test_all_that_was_taken_out_is_named(
    data: Dataset, found: list[tuple[AuditKind, str]], says: tuple[str, str]
) -> None:
    before = audit("none", "shortcut")
    (given,) = before.classes[1].findings
    weaker = given.model_copy(update={"verdict": "needs judgement", "where": "elsewhere"})
    before.classes[1].findings = [
        *(given.model_copy(update={"kind": kind, "where": where}) for kind, where in found),
        weaker,
    ]
    kinds = [kind for kind, _ in found]
    done = ClassMitigation(**{"class": "boat"}, kinds=kinds, taken_out=2, likewise=3)
    first, second = judged(data, MARK, before), judged(data, SIGN, audit("none", "none"))
    record = outcome(data, first, second, [ConfirmedCue(1, "detail", DETAIL)], [done], 0)
    assert all(part in record.sentences[0] for part in says)


def test_what_the_second_audit_finds_is_said(data: Dataset) -> None:
    found = compared(data, "needs judgement", "shortcut")
    assert found.sentences[0].endswith("Second audit: still a shortcut.")
    assert found.sentences[1:] == ["New in the second audit: 'cat': a mark."]
    assert found.found_again == ["'cat': a mark.", "'boat': a mark."]
    assert MitigationRecord.model_validate_json(found.model_dump_json(exclude_none=True)) == found


def test_a_detail_is_filled_in_where_it_is(data: Dataset) -> None:
    found = without_cue(data, [ConfirmedCue(1, "detail", DETAIL)], 0)
    assert found.numbers.tolist() == [13, 15, 17, 19, 21, 23]
    assert found.carries.tolist() == [True, True, True, True, False, False]
    corner = found.pixels[(slice(None), *MARK)]
    assert corner.max() < 100
    changed = (found.pixels != data.pixels[found.numbers]).any(axis=3)
    # The rim around it goes with it; nothing else does.
    assert not changed[:, :11].any()
    assert not changed[:, :, 5:].any()
    assert not changed[4:].any()


def test_a_place_gets_what_lies_there_in_other_classes(data: Dataset) -> None:
    box = (0.375, 0.375, 0.625, 0.625)
    found = without_cue(data, [ConfirmedCue(1, "place", box=box)], 0)
    assert found.carries.all()
    assert found.pixels[(slice(None), *SIGN)].max() < 60
    outside = np.ones((16, 16), bool)
    outside[SIGN] = False
    assert np.array_equal(found.pixels[:, outside], data.pixels[found.numbers][:, outside])
    assert np.array_equal(
        found.pixels, without_cue(data, [ConfirmedCue(1, "place", box=box)], 0).pixels
    )
