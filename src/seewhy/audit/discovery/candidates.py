"""What might be a shortcut: candidates with the images that carry them.

A candidate is no finding. It says what to insert from which images into others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.discovery.details import Detail, fixed_details, moving_details
from seewhy.audit.discovery.evidence_location import EvidenceLocation
from seewhy.audit.exchange import (
    ColourExchange,
    DetailExchange,
    Exchange,
    PlaceExchange,
    TextureExchange,
)
from seewhy.audit.image_pools import Role
from seewhy.storage.schemas.audit import AuditKind

# Details of one class that are tried; and the excess from which on its peak is.
MOST_DETAILS = 2
LEAST_EXCESS = 2.0
# Half the side of a hot place's box, in places of the map.
REACH = 1.5
# With fewer carriers nothing can be confirmed.
FEWEST_CARRIERS = 4


@dataclass(frozen=True)
class Candidate:
    """One candidate for the class `label`.

    `donors` are images of the class that carry it, by role; those of discovery come from the
    search, `donors.locate` finds the others. `box` is top, left, bottom, right as shares of the
    sides, where it has one place.
    """

    label: int
    kind: AuditKind
    donors: dict[Role, NDArray[np.int64]]
    exchange: Exchange
    detail: Detail | None = None
    box: tuple[float, float, float, float] | None = None

    @property
    def carriers(self) -> NDArray[np.int64]:
        """All images of the class that are known to carry it, ascending."""
        return np.sort(np.concatenate(list(self.donors.values())))


@dataclass(frozen=True)
class DiscoveryImages:
    """The N images that candidates are searched for in.

    `numbers` are theirs in the data set, ascending; candidates name images by these. For `pictures`
    (N, R, C, 3) see `details.reduced`. `near` (M,) are the rows of those whose evidence is known,
    ascending, `hottest` (M, 2) their hottest places, NaN for an empty map. `reach` is half a hot
    place's box, down and across, as shares of the sides; `shape` the height and width of the pixels
    that are exchanged.
    """

    numbers: NDArray[np.int64]
    pictures: NDArray[np.float32]
    labels: NDArray[np.int64]
    near: NDArray[np.int64]
    hottest: NDArray[np.float64]
    reach: tuple[float, float]
    shape: tuple[int, int]


def find_candidates(
    shown: DiscoveryImages, label: int, where: EvidenceLocation | None, seed: int
) -> Iterator[Candidate]:
    """Yield what might decide one class. Colours and texture are always tried.

    `where` is where the class's evidence is.
    """
    labels, near = shown.labels, shown.near
    for detail in fixed_details(shown.pictures, labels, label, MOST_DETAILS, seed):
        yield from _detail(shown, detail, shown.numbers, "detail", label)
    found = moving_details(
        shown.pictures[near], labels[near], label, shown.hottest, shown.reach, MOST_DETAILS
    )
    for detail in found:
        yield from _detail(shown, detail, shown.numbers[near], "moving detail", label)
    own = shown.numbers[near[labels[near] == label]]
    if len(own) < FEWEST_CARRIERS:
        return
    if where is not None and where.excess >= LEAST_EXCESS:
        box = _box(where.peak, shown.reach)
        yield Candidate(label, "place", {"discovery": own}, PlaceExchange(box), box=box)
    yield Candidate(label, "colour", {"discovery": own}, ColourExchange())
    yield Candidate(label, "texture", {"discovery": own}, TextureExchange())


def _detail(
    shown: DiscoveryImages, detail: Detail, numbers: NDArray[np.int64], kind: AuditKind, label: int
) -> Iterator[Candidate]:
    """Make a candidate of a detail whose places are keyed by rows of `numbers`."""
    places = {int(numbers[i]): place for i, place in detail.places.items()}
    own = set(shown.numbers[shown.labels == label].tolist())
    carriers = [number for number in sorted(places) if number in own]
    if len(carriers) < FEWEST_CARRIERS:
        return
    detail = replace(detail, places=places)
    rows, columns = shown.pictures.shape[1:3]
    exchange = DetailExchange(detail, (shown.shape[0] / rows, shown.shape[1] / columns))
    box = None
    if detail.at is not None:
        (top, left), (height, width) = detail.at, detail.shape.shape
        box = (top / rows, left / columns, (top + height) / rows, (left + width) / columns)
    donors: dict[Role, NDArray[np.int64]] = {"discovery": np.array(carriers, np.int64)}
    yield Candidate(label, kind, donors, exchange, detail, box)


def _box(
    middle: tuple[float, float], reach: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Return a box around a place, moved inside the image: top, left, bottom, right."""
    top, left = (
        min(max(part - half, 0.0), 1 - 2 * half) for part, half in zip(middle, reach, strict=True)
    )
    return (top, left, top + 2 * reach[0], left + 2 * reach[1])
