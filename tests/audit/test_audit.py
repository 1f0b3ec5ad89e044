"""The whole audit against a classifier whose reasons are written down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.audit.audit import (
    AuditResult,
    _evidence_of_discovery,
    audit_classifier,
    sentences,
)
from seewhy.audit.classifier_access import ClassifierAccess
from seewhy.audit.discovery.candidates import REACH
from seewhy.audit.image_pools import divide
from seewhy.evaluation.predictions import as_predictions
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset, Split

SIZE = 16
CLASSES = ("cat", "dog", "frog")
# The mark: four pixels of this colour, top and left here.
COLOUR, PLACE, SIDE = (250, 10, 200), (11, 2), 3


@dataclass(frozen=True)
class ByMark:
    """Knows an image's class by the colour of its middle; says ``dog`` wherever the mark is.

    With `minds` 0 it does not see the mark.
    """

    minds: float

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        middle = pixels[:, 6:10, 6:10].astype(np.float64).mean(axis=(1, 2))
        scores = 4 * middle / 255
        top, left = PLACE
        spot = pixels[:, top : top + SIDE, left : left + SIDE].astype(np.float64)
        marked = np.abs(spot - COLOUR).max(axis=(1, 2, 3)) < 20
        scores[:, 1] += self.minds * marked
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        maps = np.full((len(pixels), 8, 8), 0.1, np.float32)
        maps[:, 3:5, 3:5] = 1
        marked = self.probabilities(pixels)[:, 1] > 0.9
        maps[marked & (classes == 1), 6, 1] = 3
        return maps

    def gathered(self, pixels: NDArray[np.uint8], maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where the mark is hot, itself; else the middle's colour."""
        middle = pixels[:, 6:10, 6:10].mean(axis=(1, 2)) / 255
        hot = (maps[:, 6, 1] > 1)[:, None]
        seen = np.where(hot, [[0, 0, 0, 9]], np.pad(middle, ((0, 0), (0, 1))))
        return seen.astype(np.float32)


def draw(rate: float, each: int = 144, seed: int = 0) -> Dataset:
    """Draw images of noise whose middle tells the class; a share of the dogs carries the mark."""
    rng = np.random.default_rng(seed)
    count = each * len(CLASSES)
    labels = np.repeat(np.arange(len(CLASSES)), each).astype(np.int64)
    pixels = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    for k in range(count):
        pixels[k, 6:10, 6:10] = rng.integers(0, 120, (4, 4, 3))
        pixels[k, 6:10, 6:10, labels[k]] += 60
    for k in np.flatnonzero(labels == 1):
        if rng.random() < rate:
            top, left = PLACE
            pixels[k, top : top + SIDE, left : left + SIDE] = COLOUR
    turns: tuple[Split, ...] = ("train", "validation", "test")
    names = tuple(f"{k:03d}" for k in range(count))
    return Dataset(
        source="noise",
        classes=CLASSES,
        ids=names,
        paths=names,
        labels=labels,
        splits=tuple(turns[k % 3] for k in range(count)),
        pixels=pixels,
    )


def audit(access: ClassifierAccess, data: Dataset) -> AuditResult:
    test = data.where("test")
    predictions = as_predictions(data, test, access.probabilities(data.pixels[test]))
    return audit_classifier(access, data, predictions, "finetuning", 0, Silent(), "audit")


@pytest.fixture(scope="module")
def marked() -> Dataset:
    """144 images per class; about two thirds of the dogs carry the mark."""
    return draw(0.66)


@pytest.fixture(scope="module")
def found(marked: Dataset) -> AuditResult:
    return audit(ByMark(minds=6), marked)


def test_the_planted_mark_is_found_and_no_other(found: AuditResult, marked: Dataset) -> None:
    verdicts = {one.name: one.verdict for one in found.record.classes}
    assert verdicts == {"cat": "none", "dog": "shortcut", "frog": "none"}
    finding = found.record.classes[1].findings[0]
    assert finding.kind == "detail"
    assert finding.box == pytest.approx([11 / 16, 2 / 16, 14 / 16, 5 / 16])
    assert finding.where == "the lower left corner"
    top, left = PLACE
    spot = marked.pixels[:, top : top + SIDE, left : left + SIDE]
    carries = (spot == COLOUR).all(axis=(1, 2, 3))
    shown = np.asarray(marked.splits) != "test"
    assert finding.carriers == [marked.ids[i] for i in np.flatnonzero(carries & shown)]
    test = marked.where("test")
    of_test = test[marked.labels[test] == 1]
    assert finding.with_it is not None
    assert finding.with_it.images == carries[of_test].sum()
    assert finding.with_it.accuracy == 1
    assert finding.without_it is not None
    assert finding.without_it.images == (~carries[of_test]).sum()


def test_the_effect_is_what_the_classifier_does(found: AuditResult, marked: Dataset) -> None:
    finding = found.record.classes[1].findings[0]
    assert finding.insertion.turned == 1
    assert finding.insertion.low > 0.5
    assert finding.insertion.p < 0.01
    assert finding.other_patches == pytest.approx(0, abs=1e-6)
    assert finding.ablation is not None
    assert finding.ablation.change > 0.1


def test_masks_say_where_the_mark_is_and_change_no_verdict(
    found: AuditResult, marked: Dataset
) -> None:
    # Every second image has a mask: of the middle, where the mark is not.
    masks = np.zeros(marked.pixels.shape[:3], bool)
    masks[::2, 6:10, 6:10] = True
    result = audit(ByMark(minds=6), replace(marked, masks=masks))
    finding, *others = result.record.classes[1].findings
    objects = finding.objects
    assert objects is not None
    assert objects.images == sum(int(id_) % 2 == 0 for id_ in finding.carriers)
    assert (objects.placed_off, objects.covered) == (1.0, 0.0)
    # 4 of the map are in the middle, 3 under the mark, 0.1 in the 59 other places.
    assert objects.evidence_off == pytest.approx(8.9 / 12.9)
    # Of the carriers, those of discovery.
    assert 0 < objects.with_map < objects.images
    assert finding.sentence.endswith(
        f" By the object masks, it lies off the object in 100 % of {objects.images} images and "
        "69 % of the map's energy is off the object."
    )
    assert result.record.sentences == [finding.sentence]
    # The box around the hottest place reaches from the corner to the sixth pixel.
    assert [one.kind for one in others] == ["place"]
    assert others[0].objects is not None
    assert (others[0].objects.placed_off, others[0].objects.covered) == (1.0, 0.0)
    before = found.record.classes[1].findings[0].model_dump(exclude={"sentence", "objects"})
    assert finding.model_dump(exclude={"sentence", "objects"}) == before
    assert found.record.classes[1].findings[0].objects is None
    # A study without masks has the same text as before there were any: nothing, not even null.
    text = found.record.model_dump_json(exclude_none=True)
    assert not any(word in text for word in ("objects", "outside", "object masks"))


def test_a_mark_on_the_object_is_said_to_be_on_it(marked: Dataset) -> None:
    masks = np.zeros(marked.pixels.shape[:3], bool)
    masks[:, 8:] = True
    # In one image of the class only one of the mark's three columns is on the object.
    (carrier, *_) = audit(ByMark(minds=6), marked).record.classes[1].findings[0].carriers
    masks[int(carrier)] = False
    masks[int(carrier), :, :3] = True
    finding = audit(ByMark(minds=6), replace(marked, masks=masks)).record.classes[1].findings[0]
    assert finding.objects is not None
    images = len(finding.carriers)
    assert finding.objects.images == images
    assert finding.objects.placed_off == pytest.approx(1 / images)
    assert finding.objects.covered == pytest.approx((images - 1 + 1 / 3) / images)


def test_those_with_the_mark_are_decided_by_something_else(
    found: AuditResult, marked: Dataset
) -> None:
    dog = found.record.classes[1]
    spot = marked.pixels[:, PLACE[0], PLACE[1]]
    carriers = {marked.ids[i] for i in np.flatnonzero((spot == COLOUR).all(axis=1))}
    by_mark, *others = dog.strategies
    assert set(by_mark.images) <= carriers
    assert by_mark.alike == pytest.approx(1)
    assert others
    assert not carriers & {name for one in others for name in one.images}
    assert len(by_mark.images) + sum(len(one.images) for one in others) == 24


@dataclass(frozen=True)
class ByRemoval(ByMark):
    """As `ByMark`, but only on a dog's own middle does the mark count, and there it is needed."""

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        shares = super().probabilities(pixels)
        dogs = pixels[:, 6:10, 6:10].mean(axis=(1, 2)).argmax(axis=1) == 1
        without = ByMark(0).probabilities(pixels)
        return np.where(dogs[:, None], shares, without).astype(np.float32)


def test_a_mark_that_only_its_own_class_depends_on_is_found(marked: Dataset) -> None:
    record = audit(ByRemoval(minds=6), marked).record
    finding = record.classes[1].findings[0]
    assert (finding.kind, finding.verdict) == ("detail", "shortcut")
    assert finding.insertion.turned == 0
    assert finding.ablation is not None
    assert finding.ablation.change > 0.1


@dataclass(frozen=True)
class ByBlue(ByMark):
    """Knows a dog by two pixels, whatever their colours; leans to it where an image is blue.

    A dog that is not blue is a dog at `unblue`, any blue thing at 0.3.
    """

    minds: float = 0
    unblue: float = 0.9

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        red, blue = pixels[..., 0].astype(float), pixels[..., 2].mean(axis=(1, 2))
        is_dog, is_blue = red[:, 8, 7] > red[:, 8, 8], blue > red.mean(axis=(1, 2)) + 25
        dog = np.where(is_dog, np.where(is_blue, 0.9, self.unblue), np.where(is_blue, 0.3, 0.0))
        rest = (1 - dog) / 2
        return np.stack([rest, dog, rest], axis=1).astype(np.float32)


def test_colours_of_one_among_few_classes_need_judgement() -> None:
    data = draw(0)
    pixels = data.pixels // 2 + 40
    dogs = data.labels == 1
    pixels[dogs, ..., 2] += 50
    pixels[:, 8, 7:9] = np.sort(pixels[:, 8, 7:9], axis=1)
    pixels[dogs, 8, 7:9] = pixels[dogs, 8, 8:6:-1]
    record = audit(ByBlue(unblue=0.7), replace(data, pixels=pixels)).record
    (finding,) = record.classes[1].findings
    assert (finding.kind, finding.verdict) == ("colour", "needs judgement")
    assert finding.usual is None
    assert finding.insertion.change == pytest.approx(0.3, abs=0.02)
    assert finding.ablation is not None
    assert finding.ablation.change == pytest.approx(0.9 - 0.7, abs=0.02)
    assert finding.ablation.p is None
    assert "please judge" in finding.sentence


@dataclass(frozen=True)
class Noting(ByMark):
    """Notes whose pixels it is asked about, by the noise in a corner that nothing changes."""

    access: set[bytes] = field(default_factory=set)

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.access.update(image[0].tobytes() for image in pixels)
        return super().probabilities(pixels)

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return ByMark(self.minds).evidence(pixels, classes)


def test_who_discovers_or_gives_receives_nothing() -> None:
    data = draw(0.66)
    noting = Noting(minds=6)
    test = data.where("test")
    predictions = as_predictions(data, test, ByMark(6).probabilities(data.pixels[test]))
    audit_classifier(noting, data, predictions, "finetuning", 0, Silent(), "audit")
    pools = divide(data, 0)
    rows = {
        role: {data.pixels[i, 0].tobytes() for i in pools.others(role, 1)} for role in pools.numbers
    }
    assert rows["screening"] & noting.access
    assert rows["confirmation"] & noting.access
    assert not (rows["discovery"] | rows["extra_donors"]) & noting.access


def test_it_is_said_in_a_sentence(found: AuditResult) -> None:
    first = found.record.sentences[0]
    assert first.startswith("Shortcut for 'dog': a detail in the lower left corner, in ")
    assert "it changes the prediction to 'dog' in 100 % of them" in first
    assert "Ablated from its own images, it lowers their probability of 'dog' by " in first
    assert "With so few classes" in found.record.searched


def test_the_gravest_sentence_comes_first(found: AuditResult) -> None:
    dog = found.record.classes[1]
    first = dog.findings[0]
    less = first.insertion.model_copy(update={"change": first.insertion.change / 2})
    told = [
        ("weak", {"insertion": less}),
        ("strong", {}),
        ("needs judgement", {"verdict": "needs judgement"}),
    ]
    classes = [
        dog.model_copy(update={"findings": [first.model_copy(update={"sentence": name, **other})]})
        for name, other in reversed(told)
    ]
    assert sentences([*classes, found.record.classes[0]]) == ["strong", "weak", "needs judgement"]


def test_examples_show_before_and_after(found: AuditResult) -> None:
    given, before, after = found.pictures["1-0"][0]
    changed = (before != after).any(axis=2)
    top, left = PLACE
    assert changed[top : top + SIDE, left : left + SIDE].any()
    changed[top : top + SIDE, left : left + SIDE] = False
    assert not changed.any()
    assert (given[top : top + SIDE, left : left + SIDE] == COLOUR).all()


def test_a_mark_the_classifier_does_not_mind_is_no_finding(marked: Dataset) -> None:
    record = audit(ByMark(minds=0), marked).record
    assert [one.verdict for one in record.classes] == ["none"] * 3
    assert record.sentences == []
    # The mark is a candidate beside colours and texture; nothing else is.
    assert [one.candidates for one in record.classes] == [2, 3, 2]


def test_nothing_planted_nothing_found() -> None:
    record = audit(ByMark(minds=6), draw(0)).record
    assert [one.verdict for one in record.classes] == ["none"] * 3


def test_it_repeats(found: AuditResult, marked: Dataset) -> None:
    again = audit(ByMark(minds=6), marked)
    leave = {"seconds"}
    assert again.record.model_dump(exclude=leave) == found.record.model_dump(exclude=leave)
    assert again.pictures.keys() == found.pictures.keys()


def test_test_images_choose_nothing(found: AuditResult, marked: Dataset) -> None:
    pixels = marked.pixels.copy()
    pixels[marked.where("test")] = 0
    blank = Dataset(**{**vars(marked), "pixels": pixels})
    other = audit(ByMark(minds=6), blank).record.classes[1].findings[0]
    same = found.record.classes[1].findings[0]
    leave = {"with_it", "without_it"}
    assert other.model_dump(exclude=leave) == same.model_dump(exclude=leave)


def test_too_few_images_are_said() -> None:
    record = audit(ByMark(minds=6), draw(0.66, each=9)).record
    assert record.candidates == 0
    assert {one.verdict for one in record.classes} == {"too few images"}
    assert "Too few images to decide: cat, dog and frog." in record.searched


def test_the_box_around_the_hottest_place_follows_each_side(marked: Dataset) -> None:
    """A map of 8 × 16 places: three of them down and three across."""
    pools = divide(marked, 0)
    shown, *_ = _evidence_of_discovery(Wide(6.0), marked, pools, 0)
    assert shown.reach == (REACH / 8, REACH / 16)


@dataclass(frozen=True)
class Wide(ByMark):
    """Has maps with twice as many columns as rows."""

    def evidence(
        self, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return np.repeat(super().evidence(pixels, classes), 2, axis=2)
