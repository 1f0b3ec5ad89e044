"""Which image is for training, which for validation, which for the test.

The draw depends on the labels, the splits that are given and the seed alone, never on pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seewhy.data.listing import Listing
from seewhy.errors import DataError
from seewhy.records import SPLITS, Split


def draw_splits(
    listing: Listing,
    validation: float,
    held_out: float,
    seed: int,
    set_aside: Sequence[int] = (),
) -> tuple[Split, ...]:
    """Give every image its split, stratified by class.

    A listing without test images loses the share `held_out` of each class to the test, one
    without validation images then the share `validation` of what is left for training; at least
    one image each, and never the last one. What the listing gives is kept.

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

    Returns
    -------
    tuple of {"train", "validation", "test"}
        One an image.

    Raises
    ------
    DataError
        Where `check_classes` finds a class that cannot be divided.
    """
    check_classes(listing, set_aside)
    shares = {"test": held_out, "validation": validation}
    to_draw = _missing(listing)
    splits: list[Split] = [split or "train" for split in listing.splits]
    for label in range(len(listing.classes)):
        pool = [i for i in np.flatnonzero(listing.labels == label) if splits[i] == "train"]
        drawn = np.random.default_rng((seed, label)).permutation(pool).tolist()
        for position, split in enumerate(to_draw):
            # One image stays for training and one for each split still to come.
            most = len(drawn) - (len(to_draw) - position)
            count = min(max(1, round(shares[split] * len(drawn))), most)
            for i in drawn[:count]:
                splits[i] = split
            drawn = drawn[count:]
    return tuple(splits)


def check_classes(listing: Listing, set_aside: Sequence[int] = ()) -> None:
    """Refuse a listing whose classes cannot all be trained, validated and tested.

    Parameters
    ----------
    listing : Listing
    set_aside : sequence of int, optional
        Labels of images that are no longer in the listing; for the messages.

    Raises
    ------
    DataError
        With less than two classes, or for the first class that lacks images.
    """
    classes = listing.classes
    if len(classes) < 2:
        has = f"holds the single class {classes[0]!r}" if classes else "holds no classes"
        raise DataError(f"{listing.source}: {has}; expected at least two classes of images")
    given = [split for split in SPLITS if split in listing.splits]
    to_draw = _missing(listing)
    training = np.array([split in (None, "train") for split in listing.splits], dtype=bool)
    splits = np.array([split or "train" for split in listing.splits])
    for label, name in enumerate(classes):
        mine = listing.labels == label
        lost = _lost(list(set_aside).count(label))
        for split in given:
            if split != "train" and not (mine & (splits == split)).any():
                raise DataError(
                    f"{listing.source}: class {name!r} has no {split} images, though other "
                    f"classes have{lost}; add some or take the class out"
                )
        count, needed = int((mine & training).sum()), 1 + len(to_draw)
        if count < needed:
            raise DataError(
                f"{listing.source}: class {name!r} has {count} image{'s'[: count != 1]} for "
                f"{' and '.join(('training', *reversed(to_draw)))}, but needs at least "
                f"{needed}{lost}; add some or take the class out"
            )


def _missing(listing: Listing) -> list[Split]:
    """Name the splits that have to be drawn, in the order of drawing."""
    wanted: tuple[Split, ...] = ("test", "validation")
    return [split for split in wanted if split not in listing.splits]


def _lost(count: int) -> str:
    if not count:
        return ""
    return f" ({count} of its images {'was' if count == 1 else 'were'} set aside as unreadable)"
