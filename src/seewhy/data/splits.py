"""Which image is for training, which for validation, which for the test.

The draw depends on the labels, the splits that are given, the seed, and on which images are
duplicates of each other; never on what the images show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.data.groups import hold_out_groups, units
from seewhy.data.sources.listing import Listing
from seewhy.errors import DataError
from seewhy.storage.schemas.dataset import SPLITS, Dataset, Split
from seewhy.wording import count, some


@dataclass(frozen=True)
class TornGroup:
    """A group of duplicates that was divided, and the class that lacked images otherwise."""

    group: int
    label: int


@dataclass(frozen=True)
class SplitAssignment:
    """Each image's split, and the groups that could not be kept whole, in order."""

    splits: tuple[Split, ...]
    torn: tuple[TornGroup, ...]


def divide(
    listing: Listing,
    validation: float,
    held_out: float,
    seed: int,
    set_aside: Sequence[int] = (),
    groups: NDArray[np.int64] | None = None,
    whole: bool = False,
) -> SplitAssignment:
    """Give every image its split, stratified by class.

    A listing without test images loses the share `held_out` of each class to the test, one
    without validation images then the share `validation` of what is left for training; at least
    one image each, and never the last one. What the listing gives is kept.

    Images of one group go to one side. A class whose images show too few different pictures for
    all splits has its largest group divided, then the next, until it has images in each.

    Parameters
    ----------
    listing : Listing
    validation : float
        Share of the training images, in 0 … 1.
    held_out : float
        Share of the images, in 0 … 1.
    seed : int
        Each class draws from a stream of its own, so a further class changes no other's split.
    set_aside : sequence of int, optional
        Labels of images that are no longer in the listing; for the messages.
    groups : ndarray of int64, (N,), optional
        Equal numbers for images that have to stay together, -1 for any other; see
        `seewhy.data.quality.duplicates.Duplicates`. Without any the draw is the same as
        without groups.
    whole : bool, default False
        Divide no group: they are drawn by `seewhy.data.groups.hold_out_groups`, or refused.

    Raises
    ------
    DataError
        Where `check_classes` finds a class that cannot be divided.
    """
    check_classes(listing, set_aside)
    if whole and groups is not None:
        shares: dict[Split, float] = {"test": held_out, "validation": validation}
        return SplitAssignment(_draw_whole(listing, shares, seed, groups), ())
    alone = np.full(len(listing.labels), -1, dtype=np.int64)
    groups = alone if groups is None else groups.copy()
    torn: list[TornGroup] = []
    while True:
        splits = _draw(listing, {"test": held_out, "validation": validation}, seed, groups)
        found = _to_tear(listing, splits, groups)
        if found is None:
            return SplitAssignment(tuple(splits), tuple(torn))
        torn.append(found)
        groups[groups == found.group] = -1


def _draw_whole(
    listing: Listing, shares: Mapping[Split, float], seed: int, groups: NDArray[np.int64]
) -> tuple[Split, ...]:
    """Draw the missing splits group by group; a group of a given split stays where it is."""
    splits: list[Split] = [split or "train" for split in listing.splits]
    given = np.array([split in ("validation", "test") for split in listing.splits], dtype=bool)
    given |= (groups >= 0) & np.isin(groups, groups[given])
    for split in missing_splits(listing):
        pool = np.flatnonzero(~given & (np.array(splits) == "train"))
        held_out = hold_out_groups(listing.labels[pool], groups[pool], shares[split], seed)
        if held_out is None:
            raise DataError(_too_few_groups(listing, units(groups)[pool], pool))
        for i in pool[held_out].tolist():
            splits[i] = split
    return tuple(splits)


def _too_few_groups(listing: Listing, members: NDArray[np.int64], pool: NDArray[np.int64]) -> str:
    labels = listing.labels[pool]
    numbers = [len(np.unique(members[labels == k])) for k in range(len(listing.classes))]
    fewest = int(np.argmin(numbers))
    return (
        f"{listing.source}: its groups cannot be divided so that training, validation and test "
        f"have images of every class: class {listing.classes[fewest]!r} is in "
        f"{count(numbers[fewest], 'group')}; choose other columns with data.group, or add images"
    )


def _to_tear(
    listing: Listing, splits: Sequence[Split], groups: NDArray[np.int64]
) -> TornGroup | None:
    """Return the largest group of a class that lacks images in a split; None where none does."""
    for label in _lacking(listing, splits):
        own = groups[(listing.labels == label) & (groups >= 0)]
        if len(own):
            return TornGroup(int(np.bincount(own).argmax()), label)
    return None


def _draw(
    listing: Listing, shares: Mapping[Split, float], seed: int, groups: NDArray[np.int64]
) -> list[Split]:
    """Draw the missing splits, class by class; a group goes where its first member goes."""
    to_draw, labels = missing_splits(listing), listing.labels.tolist()
    splits: list[Split] = [split or "train" for split in listing.splits]
    together: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero(groups >= 0).tolist():
        together[int(groups[i])].append(i)
    # A group with a member in a split that is given stays in training: all of it cannot go there.
    placed = {
        i for unit in together.values() if any(splits[i] != "train" for i in unit) for i in unit
    }
    for label in range(len(listing.classes)):
        own = np.flatnonzero(listing.labels == label).tolist()
        pool = [i for i in own if listing.splits[i] in (None, "train")]
        drawn = np.random.default_rng((seed, label)).permutation(pool).tolist()
        units: list[list[int]] = []
        for i in drawn:
            if i not in placed:
                units.append(together.get(int(groups[i]), [i]))
                placed.update(units[-1])
        for position, split in enumerate(to_draw):
            # One image stays for training and one for each split still to come.
            spare = len(to_draw) - position
            count = min(max(1, round(shares[split] * len(drawn))), len(drawn) - spare)
            there = sum(splits[i] == split for i in drawn)
            sizes = [sum(labels[i] == label for i in unit) for unit in units]
            chosen = fill(sizes, count - there, spare)
            for place in chosen:
                for i in units[place]:
                    splits[i] = split
            units = [unit for place, unit in enumerate(units) if place not in chosen]
            drawn = [i for i in drawn if splits[i] != split]
    return splits


def fill(sizes: Sequence[int], count: int, spare: int) -> set[int]:
    """Choose units in their order that fill up to `count` images; at least `spare` units stay.

    Where all are larger than what is wanted, the smallest is taken: some is better than none.
    """
    chosen: set[int] = set()
    filled = 0
    for place, size in enumerate(sizes):
        if len(sizes) - len(chosen) > spare and filled + size <= count:
            chosen.add(place)
            filled += size
    if not chosen and count > 0 and len(sizes) > spare:
        chosen = {int(np.argmin(sizes))}
    return chosen


def _lacking(listing: Listing, splits: Sequence[Split]) -> list[int]:
    """Name the classes that lack training images, or images of a split that was drawn."""
    found = np.array(splits)
    wanted = ("train", *missing_splits(listing))
    return [
        label
        for label in range(len(listing.classes))
        if not set(wanted) <= set(found[listing.labels == label])
    ]


def draw_sample(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Draw images so that each class has its share of them, rounded up or down; places, ascending.

    The draw depends on the seed and the labels (N,) alone, and takes all images where there are no
    more than `count`.
    """
    places = np.empty(len(labels))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        rng = np.random.default_rng((seed, 1, int(label)))
        # A class's images are evenly over 0 … 1, in random order, from a random start.
        places[rng.permutation(mine)] = (np.arange(len(mine)) + rng.random()) / len(mine)
    return np.sort(places.argsort(kind="stable")[:count]).astype(np.int64)


def check_classes(listing: Listing, set_aside: Sequence[int] = ()) -> None:
    """Refuse a listing whose classes cannot all be trained, validated and tested.

    `set_aside` has labels of images that are no longer in the listing, for the messages. Raises
    DataError with fewer than two classes, or for all classes that lack images.
    """
    classes = listing.classes
    if len(classes) < 2:
        has = f"holds the single class {classes[0]!r}" if classes else "holds no classes"
        raise DataError(f"{listing.source}: {has}; expected at least two classes of images")
    splits = np.array([split or "train" for split in listing.splits])
    for split in (split for split in SPLITS[1:] if split in listing.splits):
        there = np.bincount(listing.labels[splits == split], minlength=len(classes))
        lacking = np.flatnonzero(there == 0).tolist()
        if lacking:
            lack = f"no {split} images, though other classes have"
            raise DataError(f"{listing.source}: {_lack(lacking, listing, lack, lack, set_aside)}")
    to_draw = missing_splits(listing)
    counts = np.bincount(listing.labels[splits == "train"], minlength=len(classes))
    needed = 1 + len(to_draw)
    few = np.flatnonzero(counts < needed).tolist()
    if few:
        purpose = " and ".join(("training", *reversed(to_draw)))
        each = f"fewer than {needed} image{'s'[: needed != 1]} for {purpose}"
        one = f"{count(int(counts[few[0]]), 'image')} for {purpose}, but needs at least {needed}"
        raise DataError(f"{listing.source}: {_lack(few, listing, one, each, set_aside)}")


def _lack(
    labels: Sequence[int], listing: Listing, one: str, each: str, set_aside: Sequence[int]
) -> str:
    """Say what one class has, or what each of several has, and what to do."""
    names = [repr(listing.classes[label]) for label in labels]
    if len(names) == 1:
        lost = _lost(list(set_aside).count(labels[0]))
        return f"class {names[0]} has {one}{lost}; add some or take the class out"
    return f"{len(names)} classes ({some(names, 20)}) have {each}; add some or take them out"


def missing_splits(listing: Listing) -> list[Split]:
    """Name the splits that a listing leaves to be drawn, in the order of drawing."""
    wanted: tuple[Split, ...] = ("test", "validation")
    return [split for split in wanted if split not in listing.splits]


def weightless_classes(data: Dataset) -> list[str]:
    """Return the classes whose training images all have the weight 0: they are not learned."""
    if data.weights is None:
        return []
    train = data.where("train")
    sums = np.bincount(data.labels[train], data.weights[train], len(data.classes))
    return [name for name, total in zip(data.classes, sums, strict=True) if total == 0]


def _lost(count: int) -> str:
    if not count:
        return ""
    return f" ({count} of its images {'was' if count == 1 else 'were'} set aside as unreadable)"
