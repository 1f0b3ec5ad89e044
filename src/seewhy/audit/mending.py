"""Mending: pixels from which a proven shortcut no longer tells the class.

    Dataset, Audit and its details -> Dataset with other training and validation images

What tells nothing of the class cannot be a reason for it. So the thing that was proven is taken
out of half of the class's images that carry it, and put into as large a share of the other
classes' images; and since a filled hole would be a mark itself, as many of theirs get a hole
filled at the same places. Test images stay as they are. Knows no networks: who trains on what it
returns needs to know nothing of audits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from seewhy.audit.carriers import Box, describe, stand_out
from seewhy.audit.details import Detail, places_in, reduced
from seewhy.audit.exchange import (
    ColourExchange,
    DetailExchange,
    Exchange,
    PlaceExchange,
    TextureExchange,
    filled_in,
)
from seewhy.audit_records import Audit, AuditKind, Mended
from seewhy.records import Dataset

BLOCK = 128
# Pixels, at the size at which looks are compared, by which a detail is taken wider than found.
RIM = 1


@dataclass(frozen=True)
class Reason:
    """A proven shortcut, as far as it takes to mend it.

    Attributes
    ----------
    label : int
        The class it stands for.
    kind : str
    detail : Detail or None
        What it looks like, where it looks the same in all its images.
    box : tuple of float, optional
        Top, left, bottom, right as shares of the side, of a place.
    """

    label: int
    kind: AuditKind
    detail: Detail | None = None
    box: Box | None = None


def reasons_of(audit: Audit, details: Mapping[str, Detail]) -> list[Reason]:
    """Return the proven shortcuts of an audit.

    Parameters
    ----------
    audit : Audit
    details : mapping of str to Detail
        By ``CLASS-FINDING`` (numbers from 0), of the findings that have one.

    Returns
    -------
    list of Reason
        Where a class has details, these alone: what else was proven of it is mostly their shadow.
    """
    found: list[Reason] = []
    for label, one in enumerate(audit.classes):
        own = [
            Reason(
                label,
                finding.kind,
                details.get(f"{label}-{number}"),
                (finding.box[0], finding.box[1], finding.box[2], finding.box[3])
                if finding.box
                else None,
            )
            for number, finding in enumerate(one.findings)
            if finding.verdict == "shortcut"
        ]
        found += [reason for reason in own if reason.detail] or own
    return found


def mend(
    data: Dataset, reasons: Sequence[Reason], seed: int, pixels: NDArray[np.uint8]
) -> tuple[Dataset, list[Mended]]:
    """Write images from which the reasons no longer tell their classes.

    Parameters
    ----------
    data : Dataset
    reasons : sequence of Reason
    seed : int
        Decides which images are changed, and from which others they get what.
    pixels : ndarray of uint8, (N, S, S, 3)
        Filled with the new images; on disk, where the data set's are.

    Returns
    -------
    Dataset
        As `data`, with `pixels`; test images are the same byte for byte.
    list of Mended
        What was done, one a class.
    """
    for start in range(0, len(pixels), BLOCK):
        pixels[start : start + BLOCK] = data.pixels[start : start + BLOCK]
    shown = np.flatnonzero(np.asarray(data.splits) != "test")
    done = []
    for label in sorted({reason.label for reason in reasons}):
        own = [reason for reason in reasons if reason.label == label]
        work = _Work(data, label, pixels, np.random.default_rng([seed, label, 6]), shown)
        details = [one.detail for one in own if one.detail is not None]
        taken_out, put_in, likewise = work.details(details) if details else work.exchanges(own)
        name = data.classes[label]
        kinds = [one.kind for one in own]
        done.append(
            Mended(
                **{"class": name},
                kinds=kinds,
                taken_out=taken_out,
                put_in=put_in,
                likewise=likewise,
            )
        )
    return replace(data, pixels=pixels), done


@dataclass(frozen=True)
class Freed:
    """One class's test images, without what was proven of it.

    Attributes
    ----------
    numbers : ndarray of int64, (n,)
        The class's test images, by their numbers in the data set.
    carries : ndarray of bool, (n,)
        Which of them carried it, as far as their pixels tell.
    pixels : ndarray of uint8, (n, S, S, 3)
        All of them; changed are those that carried it.
    """

    numbers: NDArray[np.int64]
    carries: NDArray[np.bool_]
    pixels: NDArray[np.uint8]


def freed(data: Dataset, reasons: Sequence[Reason], seed: int) -> Freed:
    """Take one class's reasons out of its test images, to see how a classifier does without.

    A detail is filled in; a place, colours and texture are exchanged with those of other classes'
    test images that do not stand out.

    Parameters
    ----------
    data : Dataset
    reasons : sequence of Reason
        All of one class.
    seed : int
        Decides which images give.
    """
    label = reasons[0].label
    rng = np.random.default_rng([seed, label, 7])
    test = data.where("test")
    numbers = test[data.labels[test] == label]
    pixels = np.array(data.pixels[numbers])
    carries = np.zeros(len(numbers), bool)
    details = [one.detail for one in reasons if one.detail is not None]
    if details:
        masks = _Work(data, label, data.pixels, rng, numbers).masks(details)
        for row, number in enumerate(numbers.tolist()):
            if number in masks:
                pixels[row], carries[row] = filled_in(pixels[row], masks[number]), True
        return Freed(numbers, carries, pixels)
    # All images: the few test images alone say less of what stands out.
    work = _Work(data, label, data.pixels, rng, np.arange(len(data.ids)))
    for reason in reasons:
        stands_out, exchange = work.stand_out(reason), _exchange(reason)
        others = test[data.labels[test] != label]
        plain = others[~stands_out[others]]
        for row in np.flatnonzero(stands_out[numbers]).tolist():
            giver = int(rng.choice(plain if len(plain) else others))
            pixels[row] = exchange(pixels[row], data.pixels[giver], giver)
            carries[row] = True
    return Freed(numbers, carries, pixels)


class _Work:
    """One class's reasons: who carries, who changes, who gives."""

    def __init__(
        self,
        data: Dataset,
        label: int,
        pixels: NDArray[np.uint8],
        rng: np.random.Generator,
        shown: NDArray[np.int64],
    ) -> None:
        self.data, self.label, self.pixels, self.rng = data, label, pixels, rng
        self.shown = shown
        self.of_class = data.labels[self.shown] == label
        self.own, self.others = self.shown[self.of_class], self.shown[~self.of_class]

    def details(self, details: Sequence[Detail]) -> tuple[int, int, int]:
        """Take details out of half of their images; put them, and filled holes, into others."""
        masks = self.masks(details)
        carriers = np.array([i for i in self.own if int(i) in masks], np.int64)
        clean = np.array([i for i in self.others if int(i) not in masks], np.int64)
        emptied = self.rng.permutation(carriers)[: len(carriers) // 2]
        for i in emptied:
            self.pixels[i] = filled_in(self.pixels[i], masks[int(i)])
        each = round(len(clean) * len(emptied) / len(self.own))
        takers, holed = np.split(self.rng.permutation(clean)[: 2 * each], [each])
        for taker in takers:
            giver = self.rng.choice(carriers)
            mask = masks[int(giver)][..., None]
            self.pixels[taker] = np.where(mask, self.data.pixels[giver], self.pixels[taker])
        for taker in holed:
            mask = masks[int(self.rng.choice(carriers))]
            self.pixels[taker] = filled_in(self.pixels[taker], mask)
        return len(emptied), len(takers), len(holed)

    def exchanges(self, reasons: Sequence[Reason]) -> tuple[int, int, int]:
        """Exchange what every image has one of, where it looks as it does in the class alone.

        Half of the carriers get another class's. As many of the others get a carrier's, and as
        many again one another's, so that an exchange tells nothing either.
        """
        taken_out = put_in = swapped = 0
        for reason in reasons:
            exchange = _exchange(reason)
            carries = self.stand_out(reason)
            own, plain = self.own[carries[self.of_class]], self.others[~carries[~self.of_class]]
            emptied = self.rng.permutation(own)[: len(own) // 2]
            each = round(len(plain) * len(emptied) / len(self.own))
            takers, others = np.split(self.rng.permutation(plain)[: 2 * each], [each])
            for changed, givers in ((emptied, plain), (takers, own), (others, plain)):
                for i in changed:
                    giver = self.rng.choice(givers)
                    self.pixels[i] = exchange(self.pixels[i], self.data.pixels[giver], int(giver))
            taken_out, put_in = taken_out + len(emptied), put_in + len(takers)
            swapped += len(others)
        return taken_out, put_in, swapped

    def stand_out(self, reason: Reason) -> NDArray[np.bool_]:
        """Mark the images, of those looked at, that look as they do in the class alone."""
        described = [
            describe(self.data.pixels[self.shown[start : start + BLOCK]], reason.kind, reason.box)
            for start in range(0, len(self.shown), BLOCK)
        ]
        return stand_out(np.concatenate(described), self.of_class)

    def masks(self, details: Sequence[Detail]) -> dict[int, NDArray[np.bool_]]:
        """Return which pixels the details cover in each image that carries one, by its number."""
        size = self.pixels.shape[1]
        masks: dict[int, NDArray[np.bool_]] = {}
        for start in range(0, len(self.shown), BLOCK):
            numbers = self.shown[start : start + BLOCK]
            pictures = reduced(self.data.pixels[numbers])
            scale = size / pictures.shape[1]
            for detail in details:
                wide = _wider(detail, places_in(pictures, detail))
                exchange = DetailExchange(wide, scale)
                for row in wide.places:
                    number = int(numbers[row])
                    masks[number] = exchange.mask(row, size) | masks.get(number, False)
        return masks


def _wider(detail: Detail, places: Mapping[int, tuple[int, int]]) -> Detail:
    """Return a detail with a rim around it: its outermost pixels are not found in every image."""
    around = ((RIM, RIM), (RIM, RIM))
    return replace(
        detail,
        look=np.pad(detail.look, (*around, (0, 0)), mode="edge"),
        shape=ndimage.binary_dilation(np.pad(detail.shape, around), np.ones((3, 3)), RIM),
        places={number: (top - RIM, left - RIM) for number, (top, left) in places.items()},
    )


def _exchange(reason: Reason) -> Exchange:
    if reason.kind == "colour":
        return ColourExchange()
    if reason.kind == "texture":
        return TextureExchange()
    assert reason.box is not None
    return PlaceExchange(reason.box)
