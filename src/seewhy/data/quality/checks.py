"""What is wrong with the images of a study, as records and in plain sentences.

It combines what was measured (``faults.py``, ``duplicates.py``) with labels, splits and paths. No
image is excluded from a study because of it; only the drawing of splits considers duplicates, in
``splits.py``. The lists are bounded, the counts are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.data.quality.duplicates import Duplicates
from seewhy.data.quality.faults import FaultyImages
from seewhy.data.splits import TornGroup
from seewhy.storage.schemas.data_checks import (
    ClassBalance,
    DataFindings,
    DuplicateGroup,
    DuplicateImage,
    DuplicatesRecord,
    FlaggedImage,
    ImageFault,
)
from seewhy.storage.schemas.dataset import SPLITS, Dataset
from seewhy.wording import count, some

MOST_IMAGES = 100
MOST_GROUPS = 100
MOST_MEMBERS = 12
MOST_CLASSES = 20
# Sentences on groups that were divided.
MOST_TORN = 3
# Training images per class: with fewer, validation and test accuracies say little about it.
FEW = 10
UNEVEN = 3.0
# A group of near duplicates with so many images is more than a picture and its copies.
MANY = 6


def check_data(
    data: Dataset,
    faults: Sequence[FaultyImages],
    duplicates: Duplicates,
    threshold: float,
    drawn: bool,
    torn: Sequence[TornGroup] = (),
) -> DataFindings:
    """Record what is wrong with a study's images.

    Parameters
    ----------
    data : Dataset
    faults : sequence of FaultyImages
        Of its images, in its order.
    duplicates : Duplicates
        Likewise.
    threshold : float
        The similarity from which images counted as near duplicates.
    drawn : bool
        Whether a split was drawn with the duplicates kept together.
    torn : sequence of TornGroup
        The groups that could not be kept together.
    """
    recorded = [_fault(data, one) for one in faults]
    groups = _duplicates(data, duplicates, threshold, drawn, torn)
    counts = data.counts()["train"]
    few = [name for name, number in counts.items() if number < FEW]
    balance = _balance(counts, few)
    return DataFindings(
        images=len(data.ids),
        faults=recorded,
        duplicates=groups,
        balance=balance,
        sentences=[
            *_set_aside_sentences(data),
            *(_fault_sentence(one) for one in recorded if one.count),
            *_duplicate_sentences(groups, _largest_near(duplicates)),
            *_torn_sentences(data, duplicates, torn),
            *_balance_sentences(balance, few),
        ],
    )


def _fault(data: Dataset, found: FaultyImages) -> ImageFault:
    return ImageFault(
        fault=found.fault,
        rule=found.rule,
        count=len(found.indices),
        first=[
            FlaggedImage(
                id=data.ids[i],
                path=data.paths[i],
                label=data.classes[data.labels[i]],
                split=data.splits[i],
                value=round(value, 4),
                reason=found.say(value),
            )
            for i, value in zip(
                found.indices[:MOST_IMAGES].tolist(),
                found.values[:MOST_IMAGES].tolist(),
                strict=True,
            )
        ],
    )


def _duplicates(
    data: Dataset,
    duplicates: Duplicates,
    threshold: float,
    drawn: bool,
    torn: Sequence[TornGroup],
) -> DuplicatesRecord:
    members = _members(duplicates.groups)
    reasons = {one.group: _torn_for(data, one) for one in torn}
    groups = [
        _group(data, images, float(similarity), reasons.get(number))
        for number, (images, similarity) in enumerate(
            zip(members, duplicates.similarity, strict=True)
        )
    ]
    leaking = [len(group.splits) > 1 for group in groups]
    conflicting = [len(group.labels) > 1 for group in groups]
    order = sorted(range(len(groups)), key=lambda k: (not leaking[k], not conflicting[k], k))
    exact = sum(group.kind == "exact" for group in groups)
    return DuplicatesRecord(
        threshold=threshold,
        images=sum(group.size for group in groups),
        groups=len(groups),
        exact=exact,
        near=len(groups) - exact,
        leaking=sum(leaking),
        conflicting=sum(conflicting),
        seen=_seen(data, members),
        kept_together=len(groups) - sum(leaking) if drawn else 0,
        first=[groups[k] for k in order[:MOST_GROUPS]],
    )


def _members(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the images of each group, ascending."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.split(order, starts)[1:]


def _group(
    data: Dataset, images: NDArray[np.int64], similarity: float, torn: str | None
) -> DuplicateGroup:
    labels, splits = data.labels[images], np.asarray(data.splits)[images]
    kinds = list(zip(labels.tolist(), splits.tolist(), strict=True))
    # One of each label and split before the others, so that a conflict or a leak can be seen.
    first = sorted(range(len(images)), key=lambda k: (k != kinds.index(kinds[k]), k))
    shown = images[sorted(first[:MOST_MEMBERS])]
    return DuplicateGroup(
        kind="exact" if similarity == 1 else "near",
        size=len(images),
        similarity=round(similarity, 4),
        divided=torn,
        labels=[data.classes[label] for label in np.unique(labels)],
        splits=[split for split in SPLITS if split in splits],
        images=[
            DuplicateImage(
                id=data.ids[i],
                path=data.paths[i],
                label=data.classes[data.labels[i]],
                split=data.splits[i],
            )
            for i in shown.tolist()
        ],
    )


def _largest_near(duplicates: Duplicates) -> tuple[int, float]:
    """Return the size and similarity of the largest group that is not of exact copies alone."""
    sizes = np.bincount(duplicates.groups[duplicates.groups >= 0], minlength=1)
    sizes = np.where(duplicates.similarity < 1, sizes[: len(duplicates.similarity)], 0)
    if not sizes.any():
        return 0, 1.0
    largest = int(sizes.argmax())
    return int(sizes[largest]), float(duplicates.similarity[largest])


def _seen(data: Dataset, members: Sequence[NDArray[np.int64]]) -> dict[str, int]:
    """Count validation and test images whose picture was there in an earlier split."""
    splits = np.asarray(data.splits)
    seen = {"validation": 0, "test": 0}
    for images in members:
        mine = splits[images]
        if (mine == "train").any():
            seen["validation"] += int((mine == "validation").sum())
        if (mine != "test").any():
            seen["test"] += int((mine == "test").sum())
    return seen


def _balance(counts: dict[str, int], few: list[str]) -> ClassBalance:
    largest = max(counts, key=lambda name: counts[name])
    smallest = min(counts, key=lambda name: counts[name])
    return ClassBalance(
        largest=largest,
        smallest=smallest,
        ratio=round(counts[largest] / counts[smallest], 2),
        few_below=FEW,
        few=few[:MOST_CLASSES],
    )


def _set_aside_sentences(data: Dataset) -> list[str]:
    number = len(data.set_aside)
    return [f"{count(number, 'file')} set aside: not an image, or in no class."] if number else []


def _fault_sentence(fault: ImageFault) -> str:
    verb = "is" if fault.count == 1 else "are"
    return f"{count(fault.count, 'image')} {verb} {fault.fault}: {fault.rule}."


def _duplicate_sentences(found: DuplicatesRecord, largest: tuple[int, float]) -> list[str]:
    if not found.groups:
        return []
    sentences = []
    if found.exact:
        sentences.append(
            f"{count(found.exact, 'group')} of exact copies: images with the same pixels at the "
            "working size."
        )
    if found.near:
        sentences.append(_near_sentence(found, largest))
    if found.kept_together:
        sentences.append(
            f"{count(found.kept_together, 'group')} of duplicates {_have(found.kept_together)} "
            "all images in one split; data.keep_duplicates_together=false divides them."
        )
    if found.seen["test"]:
        sentences.append(
            f"{count(found.seen['test'], 'test image')} {_have(found.seen['test'])} a duplicate "
            "among the training or validation images: test accuracy is too optimistic for these."
        )
    if found.seen["validation"]:
        sentences.append(
            f"{count(found.seen['validation'], 'validation image')} "
            f"{_have(found.seen['validation'])} a duplicate among the training images: early "
            "stopping and the search are too optimistic about these."
        )
    if found.conflicting:
        sentences.append(
            f"{count(found.conflicting, 'group')} of duplicates {_have(found.conflicting)} "
            "different labels for the same or nearly the same image; check them (in views of one "
            "scene the labels may be correct)."
        )
    return sentences


def _torn_sentences(data: Dataset, duplicates: Duplicates, torn: Sequence[TornGroup]) -> list[str]:
    """Say which groups were divided, and why."""
    sentences = [
        f"A group of {count(int((duplicates.groups == one.group).sum()), 'duplicate')} is divided "
        f"between splits: {_torn_for(data, one)}."
        for one in torn[:MOST_TORN]
    ]
    if len(torn) > MOST_TORN:
        sentences.append(
            f"{count(len(torn) - MOST_TORN, 'further group')} of duplicates "
            f"{_have(len(torn) - MOST_TORN)} been divided for the same reason; checks.json lists "
            "them."
        )
    return sentences


def _torn_for(data: Dataset, one: TornGroup) -> str:
    return f"kept whole, it would leave class {data.classes[one.label]!r} without images in one"


def _near_sentence(found: DuplicatesRecord, largest: tuple[int, float]) -> str:
    """Say how similar near duplicates are, what they may be, and which setting decides."""
    size, similarity = largest
    scene = (
        f" The largest group has {size:,} images with a correlation of {similarity:.2f} or more: "
        "a group of that size is usually one scene, from a fixed camera or a video, and not copies."
    )
    return (
        f"{count(found.near, 'group')} of near duplicates: images whose fine detail correlates "
        f"at {found.threshold:g} or more, each with another one of its group. They are copies "
        "that were resized or recompressed, shots of one series, or views of one scene; "
        "data.near_duplicates sets the limit (1 finds exact copies only)."
        f"{scene * (size >= MANY)}"
    )


def _balance_sentences(balance: ClassBalance, few: list[str]) -> list[str]:
    sentences = []
    if balance.ratio > UNEVEN:
        sentences.append(
            f"Class {balance.largest!r} has {balance.ratio:g} times as many training images as "
            f"{balance.smallest!r}: accuracy alone hides the results of the small classes."
        )
    if few:
        names = some([repr(name) for name in few])
        sentences.append(
            f"Fewer than {balance.few_below} training images: {names}; results for these "
            "classes are uncertain."
        )
    return sentences


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
