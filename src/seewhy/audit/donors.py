"""Which images carry a candidate among those that screen and confirm, by pixels alone.

A detail is searched for. Every image has colours and texture: donors are the half of the class's
images that differ most in the direction found in discovery. For a place, all images are donors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.carriers import describe, direction
from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.discovery.details import places_in, reduced
from seewhy.audit.exchange import DetailExchange
from seewhy.audit.image_pools import ImagePools, Role

BLOCK = 128
# Images of other classes, at most, that a class's colours and texture are compared with.
COMPARED = 400
_ROLES: tuple[Role, ...] = ("screening", "extra_donors", "confirmation")


def locate(pools: ImagePools, candidate: Candidate) -> Candidate:
    """Return a candidate that also has its donors for screening and confirmation."""
    if candidate.detail is not None:
        return _detail(pools, candidate)
    own = {role: pools.own(role, candidate.label) for role in _ROLES}
    if candidate.kind != "place":
        own = _standing_out(pools, candidate, own)
    return replace(candidate, donors={**candidate.donors, **own})


def without_detail(
    pools: ImagePools, candidate: Candidate, numbers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return those of some images that do not carry the candidate's detail, in their order."""
    if candidate.detail is None or not len(numbers):
        return numbers
    places = places_in(reduced(pools.pixels[numbers]), candidate.detail)
    return np.delete(numbers, sorted(places))


def _detail(pools: ImagePools, candidate: Candidate) -> Candidate:
    assert candidate.detail is not None
    assert isinstance(candidate.exchange, DetailExchange)
    places, donors = dict(candidate.detail.places), dict(candidate.donors)
    for role in _ROLES:
        own = pools.own(role, candidate.label)
        found = places_in(reduced(pools.pixels[own]), candidate.detail) if len(own) else {}
        places.update({int(own[row]): place for row, place in found.items()})
        donors[role] = own[sorted(found)]
    detail = replace(candidate.detail, places=places)
    exchange = replace(candidate.exchange, detail=detail)
    return replace(candidate, donors=donors, exchange=exchange, detail=detail)


def _standing_out(
    pools: ImagePools, candidate: Candidate, own: dict[Role, NDArray[np.int64]]
) -> dict[Role, NDArray[np.int64]]:
    """Keep the half of each role's images that stands out most."""
    label = candidate.label
    shown, others = pools.own("discovery", label), pools.others("discovery", label)
    step = max(1, len(others) // COMPARED)
    numbers = np.concatenate([shown, others[::step]])
    described = _described(pools, candidate, numbers)
    towards = direction(described, np.arange(len(numbers)) < len(shown))
    found: dict[Role, NDArray[np.int64]] = {}
    for role, images in own.items():
        score = _described(pools, candidate, images) @ towards
        most = np.argsort(-score, kind="stable")[: -(-len(images) // 2)]
        found[role] = np.sort(images[most])
    return found


def _described(
    pools: ImagePools, candidate: Candidate, numbers: NDArray[np.int64]
) -> NDArray[np.float64]:
    blocks = [
        describe(pools.pixels[numbers[start : start + BLOCK]], candidate.kind)
        for start in range(0, max(len(numbers), 1), BLOCK)
    ]
    return np.concatenate(blocks)
