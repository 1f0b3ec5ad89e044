"""Interventions: a candidate is inserted into other classes' images and ablated from its own.

Each has a control that differs in one thing only. Any patch may move a classifier, so a detail is
compared with patches of the same shape at the same place: of images of other classes, and of an
ordinary part of the donor. Place, colours and texture, which every image has, are compared with the
same exchange from an image of another class. A filled hole is compared with equal holes elsewhere
in the same image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from seewhy.audit.classifier_access import ClassifierAccess
from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.donors import without_detail
from seewhy.audit.exchange import DetailExchange, Image, filled_in
from seewhy.audit.image_pools import ImagePools
from seewhy.audit.inference import FEWEST_DONORS, Effect, measure_effect

# Donors at most, and recipients at most, of all donors together.
DONORS = 32
RECIPIENTS = {"screening": 24, "confirmation": 96}
Step = Literal["screening", "confirmation"]
# Equal holes elsewhere in an image, whose mean is the control.
HOLES = 2
# More images of other classes are examined than are used, since some carry the detail too.
SPARE = 1.25


@dataclass(frozen=True)
class InsertionPlan:
    """Which donors (D,) are inserted into which recipients (D, m), with no image in two places.

    Each recipient, an image of another class, belongs to one donor. `controls` (D,) are images of
    other classes that replace the donors.
    """

    donors: NDArray[np.int64]
    recipients: NDArray[np.int64]
    controls: NDArray[np.int64]


@dataclass(frozen=True)
class Insertion:
    """A candidate inserted into other classes' images, and its effect.

    `effect` is against the stronger of the controls, and so is `change` (D, m) of the class's
    probability. `other_patches` and `own_patches` are, for a detail, the effects of patches of the
    same shape against the untouched images: from images of other classes, and from ordinary parts
    of the donors.
    """

    design: InsertionPlan
    effect: Effect
    change: NDArray[np.float32]
    other_patches: float | None = None
    own_patches: float | None = None


def plan(pools: ImagePools, candidate: Candidate, role: Step, seed: int) -> InsertionPlan | None:
    """Choose donors, recipients and controls; None where there are too few."""
    rng = np.random.default_rng([seed, candidate.label, 2 if role == "screening" else 3])
    donors = rng.permutation(candidate.donors[role])
    if role == "confirmation":
        # Validation images first.
        donors = np.concatenate([donors, rng.permutation(candidate.donors["extra_donors"])])
    wanted = round(SPARE * (2 * min(len(donors), DONORS) + RECIPIENTS[role]))
    others = rng.permutation(pools.others(role, candidate.label))[:wanted]
    others = without_detail(pools, candidate, others)
    count = min(len(donors), len(others) // 2, DONORS)
    if count < FEWEST_DONORS:
        return None
    each = min((len(others) - count) // count, max(1, RECIPIENTS[role] // count))
    controls, rest = others[:count], others[count:]
    return InsertionPlan(donors[:count], rest[: each * count].reshape(count, each), controls)


def insert(
    access: ClassifierAccess, pools: ImagePools, candidate: Candidate, design: InsertionPlan
) -> Insertion:
    """Measure what inserting a candidate into other classes' images does."""
    label = candidate.label
    given = _arm(access, pools, candidate, design, design.donors)
    other = _arm(access, pools, candidate, design, design.controls)
    if not isinstance(candidate.exchange, DetailExchange):
        effect = measure_effect(given, other, label)
        return Insertion(design, effect, (given - other)[..., label])
    untouched = _probabilities(access, pools.pixels[design.recipients])
    own = _own_patches(access, pools, candidate.exchange, design, label)
    controls = [other] if own is None else [other, own]
    stronger = max(controls, key=lambda arm: float(arm[..., label].mean()))
    moved = [float((arm - untouched)[..., label].mean()) for arm in controls]
    return Insertion(
        design=design,
        effect=measure_effect(given, stronger, label),
        change=(given - stronger)[..., label],
        other_patches=moved[0],
        own_patches=moved[1] if len(moved) > 1 else None,
    )


def ablate(
    access: ClassifierAccess, pools: ImagePools, candidate: Candidate, role: Step, seed: int
) -> Effect | None:
    """Measure what ablating a candidate from its own images costs; None where they are too few.

    A detail is filled in from its surroundings. Anything else is exchanged: half of the
    carriers get another class's, and for control that of a carrier of the other half.
    """
    rng = np.random.default_rng([seed, candidate.label, 4])
    carriers = rng.permutation(candidate.donors[role])
    if isinstance(candidate.exchange, DetailExchange):
        carriers = carriers[:DONORS]
        if len(carriers) < FEWEST_DONORS:
            return None
        return _filled(access, pools, candidate.exchange, carriers, candidate.label, rng)
    others = rng.permutation(pools.others(role, candidate.label))
    count = min(len(carriers) // 2, len(others), DONORS)
    if count < FEWEST_DONORS:
        return None
    places, fellows = carriers[:count], carriers[count : 2 * count]
    kept, lost = (
        _probabilities(access, exchanged(pools, candidate, places, sources, places)[:, None])
        for sources in (fellows, others[:count])
    )
    return measure_effect(kept, lost, candidate.label)


def exchanged(
    pools: ImagePools,
    candidate: Candidate,
    recipients: NDArray[np.int64],
    sources: NDArray[np.int64],
    places: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return the recipients with the sources' part of them, (B, H, W, 3).

    `places` are the images that define its place.
    """
    pixels, exchange = pools.pixels, candidate.exchange
    return np.stack(
        [
            exchange(pixels[recipient], pixels[source], int(place))
            for recipient, source, place in zip(recipients, sources, places, strict=True)
        ]
    )


def _arm(
    access: ClassifierAccess,
    pools: ImagePools,
    candidate: Candidate,
    design: InsertionPlan,
    sources: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the probabilities (D, m, K) with what `sources` (D,) have at the donors' places."""
    each = design.recipients.shape[1]
    images = exchanged(
        pools,
        candidate,
        design.recipients.ravel(),
        np.repeat(sources, each),
        np.repeat(design.donors, each),
    )
    return _probabilities(access, images.reshape(*design.recipients.shape, *images.shape[1:]))


def _own_patches(
    access: ClassifierAccess,
    pools: ImagePools,
    exchange: DetailExchange,
    design: InsertionPlan,
    label: int,
) -> NDArray[np.float32] | None:
    """Return the probabilities with an ordinary part of the donors, the one that speaks most.

    A part of the same shape, where the donor's map is greatest without touching the detail; None
    where a donor has no room for one.
    """
    maps = access.evidence(pools.pixels[design.donors], np.full(len(design.donors), label))
    shape = (pools.pixels.shape[1], pools.pixels.shape[2])
    images = []
    for donor, places, map_ in zip(design.donors, design.recipients, maps, strict=True):
        mask = exchange.mask(int(donor), shape)
        shift = _hottest_shift(mask, map_)
        if shift is None:
            return None
        moved = np.roll(pools.pixels[donor], shift, (0, 1))
        images.append([np.where(mask[..., None], moved, pools.pixels[one]) for one in places])
    return _probabilities(access, np.array(images))


def _hottest_shift(mask: NDArray[np.bool_], map_: NDArray[np.float32]) -> tuple[int, int] | None:
    """Return by how much an image moves so that its hottest other part is under the mask."""
    shape = (mask.shape[0], mask.shape[1])
    box = _box(mask)
    heat = ndimage.zoom(map_.astype(np.float64), np.divide(shape, map_.shape), order=1)
    heat[mask] = 0
    best, most = None, -1.0
    for top, left in _places_beside(box, shape, step=max(1, min(shape) // 32)):
        inside = heat[top : top + box.height, left : left + box.width].mean()
        if inside > most:
            best, most = (box.top - top, box.left - left), float(inside)
    return best


@dataclass(frozen=True)
class _Box:
    top: int
    left: int
    height: int
    width: int


def _box(mask: NDArray[np.bool_]) -> _Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return _Box(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)


def _places_beside(box: _Box, shape: tuple[int, int], step: int) -> list[tuple[int, int]]:
    """Return top and left of equal boxes within the image that do not touch this one."""
    return [
        (top, left)
        for top in range(0, shape[0] - box.height + 1, step)
        for left in range(0, shape[1] - box.width + 1, step)
        if abs(top - box.top) >= box.height or abs(left - box.left) >= box.width
    ]


def _filled(
    access: ClassifierAccess,
    pools: ImagePools,
    exchange: DetailExchange,
    carriers: NDArray[np.int64],
    label: int,
    rng: np.random.Generator,
) -> Effect:
    """Fill the detail in, and for control equal holes elsewhere in the same image."""
    shape = (pools.pixels.shape[1], pools.pixels.shape[2])
    emptied: list[Image] = []
    holed: list[list[Image]] = []
    for number in carriers:
        image, mask = pools.pixels[number], exchange.mask(int(number), shape)
        emptied.append(filled_in(image, mask))
        box = _box(mask)
        beside = _places_beside(box, shape, step=1)
        chosen = [beside[k] for k in rng.integers(0, len(beside), HOLES)] if beside else []
        shifts = [(top - box.top, left - box.left) for top, left in chosen]
        holes = [filled_in(image, np.roll(mask, shift, (0, 1))) for shift in shifts]
        holed.append(holes or [np.asarray(image)] * HOLES)
    kept = _probabilities(access, np.array(holed)).mean(axis=1, keepdims=True)
    lost = _probabilities(access, np.array(emptied)[:, None])
    return measure_effect(kept, lost, label)


def _probabilities(access: ClassifierAccess, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities of images (D, m, H, W, 3), (D, m, K)."""
    answers = access.probabilities(images.reshape(-1, *images.shape[2:]))
    return answers.reshape(*images.shape[:2], -1)
