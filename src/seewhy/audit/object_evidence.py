"""Whether a finding is on the object, by the object masks of the images that carry it.

Says where a cue is, never whether it is a shortcut: verdicts are without masks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.exchange import DetailExchange, PlaceExchange, box_pixels
from seewhy.storage.schemas.audit import ObjectEvidence
from seewhy.storage.schemas.dataset import Dataset


def object_evidence(
    data: Dataset, candidate: Candidate, outside: Mapping[int, float]
) -> ObjectEvidence | None:
    """Return where a candidate and the evidence for its class are; None without masks.

    Parameters
    ----------
    data : Dataset
    candidate : Candidate
    outside : mapping of int to float
        The share of the evidence that is off the object, of images with a map and a mask, by their
        numbers.
    """
    if data.masks is None:
        return None
    carriers = [int(i) for i in candidate.carriers if data.masks[i].any()]
    if not carriers:
        return None
    shape = (int(data.masks.shape[1]), int(data.masks.shape[2]))
    covered = [
        float(data.masks[i][place].mean())
        for i in carriers
        if (place := _place(candidate, i, shape)) is not None and place.any()
    ]
    off = [outside[i] for i in carriers if i in outside]
    return ObjectEvidence(
        images=len(carriers),
        placed=len(covered) or None,
        placed_off=float(np.mean(np.array(covered) < 0.5)) if covered else None,
        covered=float(np.mean(covered)) if covered else None,
        with_map=len(off),
        evidence_off=float(np.mean(off)) if off else None,
    )


def _place(candidate: Candidate, number: int, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return a candidate's pixels in one image, (H, W); None where it has no place."""
    exchange = candidate.exchange
    if isinstance(exchange, DetailExchange):
        return exchange.mask(number, shape)
    if isinstance(exchange, PlaceExchange):
        top, left, bottom, right = box_pixels(exchange.box, shape)
        place = np.zeros(shape, bool)
        place[top:bottom, left:right] = True
        return place
    return None
