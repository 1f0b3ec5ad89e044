"""Mitigation: images without the confirmed shortcuts.

    Dataset, Audit and its details -> Dataset with other training and validation images

A confirmed shortcut is removed from every image that carries it. A filled hole, or exchanged
colours, would be a mark themselves, so as large a share of the other classes' images gets the same
change. Test images stay as they are. Knows no networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from seewhy.audit.carriers import Box, describe, stand_out
from seewhy.audit.discovery.details import Detail, places_in, reduced
from seewhy.audit.exchange import (
    ColourExchange,
    DetailExchange,
    Exchange,
    PlaceExchange,
    TextureExchange,
    filled_in,
)
from seewhy.storage.schemas.audit import Audit, AuditKind
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.mitigation import ClassMitigation

BLOCK = 128
# Pixels, at the size at which looks are compared, by which a detail is taken wider than found.
RIM = 1


@dataclass(frozen=True)
class ConfirmedCue:
    """A confirmed shortcut of the class `label`, as far as mitigation needs it.

    `detail` is given where it looks the same in all its images, `box` (top, left, bottom, right as
    shares of the sides) for a place.
    """

    label: int
    kind: AuditKind
    detail: Detail | None = None
    box: Box | None = None


def confirmed_cues(audit: Audit, details: Mapping[str, Detail]) -> list[ConfirmedCue]:
    """Return the confirmed shortcuts of an audit, with its details by ``CLASS-FINDING``.

    Where a class has details, these alone: what else was confirmed follows mostly from them.
    """
    found: list[ConfirmedCue] = []
    for label, one in enumerate(audit.classes):
        own = [
            ConfirmedCue(
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


def mitigate(
    data: Dataset, reasons: Sequence[ConfirmedCue], seed: int, pixels: NDArray[np.uint8]
) -> tuple[Dataset, list[ClassMitigation]]:
    """Ablate shortcuts from the images of a data set; return it and what was done, per class.

    `pixels` is a copy of the data set's and is changed in place; test images stay the same byte for
    byte. `seed` decides which images are changed, and from which others.
    """
    shown = np.flatnonzero(np.asarray(data.splits) != "test")
    done = []
    labels = sorted({reason.label for reason in reasons})
    for label in labels:
        own = [reason for reason in reasons if reason.label == label]
        work = _ClassPlan(data, label, pixels, np.random.default_rng([seed, label, 6]), shown)
        details = [one.detail for one in own if one.detail is not None]
        taken_out, likewise = work.details(details) if details else work.exchanges(own, labels)
        done.append(
            ClassMitigation(
                **{"class": data.classes[label]},
                kinds=[one.kind for one in own],
                taken_out=taken_out,
                likewise=likewise,
            )
        )
    return replace(data, pixels=pixels), done


@dataclass(frozen=True)
class ImagesWithoutCue:
    """One class's test images, by their `numbers` (n,), without its confirmed shortcuts.

    `carries` (n,) marks those that carried one, as far as their pixels show it; only these differ
    in `pixels`, (n, H, W, 3).
    """

    numbers: NDArray[np.int64]
    carries: NDArray[np.bool_]
    pixels: NDArray[np.uint8]


def without_cue(data: Dataset, reasons: Sequence[ConfirmedCue], seed: int) -> ImagesWithoutCue:
    """Ablate one class's shortcuts from its test images, to see how a classifier does without.

    A detail is filled in; a place, colours and texture are exchanged with those of other classes'
    test images that do not stand out, drawn with `seed`.
    """
    label = reasons[0].label
    rng = np.random.default_rng([seed, label, 7])
    test = data.where("test")
    numbers = test[data.labels[test] == label]
    pixels = np.array(data.pixels[numbers])
    carries = np.zeros(len(numbers), bool)
    details = [one.detail for one in reasons if one.detail is not None]
    if details:
        carried = _ClassPlan(data, label, data.pixels, rng, numbers).carried(details)
        carries = np.isin(numbers, sorted(carried.numbers))
        for row in np.flatnonzero(carries).tolist():
            pixels[row] = filled_in(pixels[row], carried.mask(int(numbers[row])))
        return ImagesWithoutCue(numbers, carries, pixels)
    # All images: the few test images alone say less of what stands out.
    work = _ClassPlan(data, label, data.pixels, rng, np.arange(len(data.ids)))
    for reason in reasons:
        stands_out, exchange = work.stand_out(reason), _exchange(reason)
        others = test[data.labels[test] != label]
        plain = others[~stands_out[others]]
        for row in np.flatnonzero(stands_out[numbers]).tolist():
            source = int(rng.choice(plain if len(plain) else others))
            pixels[row] = exchange(pixels[row], data.pixels[source], source)
            carries[row] = True
    return ImagesWithoutCue(numbers, carries, pixels)


class _ClassPlan:
    """One class's shortcuts: which images carry them, which change, and which are donors."""

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

    def details(self, details: Sequence[Detail]) -> tuple[int, int]:
        """Fill in details wherever they are, and as large a share of holes in the other classes."""
        carried = self.carried(details)
        emptied = np.array(sorted(carried.numbers), np.int64)
        own = int(np.isin(self.own, emptied).sum())
        clean = np.setdiff1d(self.others, emptied)
        wanted = round(len(self.others) * own / len(self.own)) - (len(emptied) - own)
        holed = self.rng.permutation(clean)[: max(wanted, 0)]
        for i in emptied:
            self._fill(i, carried.mask(int(i)))
        for i in holed:
            self._fill(i, carried.mask(int(self.rng.choice(emptied))))
        return own, len(emptied) - own + len(holed)

    def _fill(self, number: int, mask: NDArray[np.bool_]) -> None:
        self.pixels[number] = filled_in(self.pixels[number], mask)

    def exchanges(
        self, reasons: Sequence[ConfirmedCue], mitigated: Sequence[int]
    ) -> tuple[int, int]:
        """Exchange what every image has, in the images that look as only the class does.

        All carriers get another class's, and as large a share of the others get one another's. No
        source is of a class that is mitigated too, where there are others.
        """
        taken_out: set[int] = set()
        swapped: set[int] = set()
        for reason in reasons:
            exchange = _exchange(reason)
            carries = self.stand_out(reason)
            own, plain = self.own[carries[self.of_class]], self.others[~carries[~self.of_class]]
            free = plain[~np.isin(self.data.labels[plain], mitigated)]
            sources = free if len(free) else plain
            others = self.rng.permutation(plain)[: round(len(plain) * len(own) / len(self.own))]
            for i in (*own, *others):
                source = self.rng.choice(sources)
                self.pixels[i] = exchange(self.pixels[i], self.data.pixels[source], int(source))
            taken_out.update(own.tolist())
            swapped.update(others.tolist())
        return len(taken_out), len(swapped)

    def stand_out(self, reason: ConfirmedCue) -> NDArray[np.bool_]:
        """Mark the images that look as only those of the class do."""
        described = [
            describe(self.data.pixels[self.shown[start : start + BLOCK]], reason.kind, reason.box)
            for start in range(0, len(self.shown), BLOCK)
        ]
        return stand_out(np.concatenate(described), self.of_class)

    def carried(self, details: Sequence[Detail]) -> _DetailMasks:
        """Return which images carry one of the details, and where."""
        places: list[dict[int, tuple[int, int]]] = [{} for _ in details]
        rows, columns = 1, 1
        for start in range(0, len(self.shown), BLOCK):
            numbers = self.shown[start : start + BLOCK]
            pictures = reduced(self.data.pixels[numbers])
            rows, columns = pictures.shape[1:3]
            for found, detail in zip(places, details, strict=True):
                for row, place in places_in(pictures, detail).items():
                    found[int(numbers[row])] = place
        shape = (int(self.pixels.shape[1]), int(self.pixels.shape[2]))
        scale = (shape[0] / rows, shape[1] / columns)
        wide = [_wider(one, found) for one, found in zip(details, places, strict=True)]
        return _DetailMasks([DetailExchange(one, scale) for one in wide], shape)


@dataclass(frozen=True)
class _DetailMasks:
    """Where details are in the images that carry them; masks are made on demand."""

    exchanges: list[DetailExchange]
    shape: tuple[int, int]

    @property
    def numbers(self) -> set[int]:
        """The images that carry one."""
        return {number for one in self.exchanges for number in one.detail.places}

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Return which pixels of an image the details cover, (H, W)."""
        mask = np.zeros(self.shape, bool)
        for one in self.exchanges:
            if number in one.detail.places:
                mask |= one.mask(number, self.shape)
        return mask


def _wider(detail: Detail, places: Mapping[int, tuple[int, int]]) -> Detail:
    """Return a detail with a rim around it: its outermost pixels are not found in every image."""
    around = ((RIM, RIM), (RIM, RIM))
    return replace(
        detail,
        look=np.pad(detail.look, (*around, (0, 0)), mode="edge"),
        shape=ndimage.binary_dilation(np.pad(detail.shape, around), np.ones((3, 3)), RIM),
        places={number: (top - RIM, left - RIM) for number, (top, left) in places.items()},
    )


def _exchange(reason: ConfirmedCue) -> Exchange:
    if reason.kind == "colour":
        return ColourExchange()
    if reason.kind == "texture":
        return TextureExchange()
    assert reason.box is not None
    return PlaceExchange(reason.box)
