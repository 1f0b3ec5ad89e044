"""Where a class's evidence is, compared with all classes: numbers from maps, nothing else.

A class whose mean map peaks where no other class's does is examined more closely. The numbers
say where a classifier looks, never that it is wrong to look there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A place is compared with at least this part of an even spread, so that rare ones do not explode.
FLOOR = 0.2
HOTTEST_SHARE = 0.1


@dataclass(frozen=True)
class EvidenceLocation:
    """How one class's evidence is spread.

    `excess` is the largest ratio of the class's mean map to that of the other classes, over all
    places; `peak` is the middle of that place, as shares of height and width. `concentration` is
    the share of an image's evidence in the hottest tenth of its places, mean over the images.
    `border`, `corners` and `outside` are its shares in the outermost places, in the four corner
    places, and off the object, of the images with a mask; None where there are none.
    """

    excess: float
    peak: tuple[float, float]
    concentration: float
    border: float
    corners: float
    outside: float | None
    images: int


def locate_evidence(
    maps: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    masks: NDArray[np.bool_] | None = None,
) -> list[EvidenceLocation | None]:
    """Locate the evidence of each class; None for a class without an image that has a map.

    `maps` (N, h, w) are each for its image's own class; `masks` (N, H, W) are of the objects, False
    everywhere for an image without.
    """
    total = maps.sum(axis=(1, 2))
    spread = maps / np.maximum(total, 1e-12)[:, None, None]
    outside = share_outside(maps, masks)
    height, width = maps.shape[1:]
    rim = np.ones((height, width), bool)
    rim[1:-1, 1:-1] = False
    corners = np.zeros((height, width), bool)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    has = [(labels == k) & (total > 0) for k in range(classes)]
    means = [spread[one].mean(axis=0) if one.any() else None for one in has]
    found: list[EvidenceLocation | None] = []
    for k, mean in enumerate(means):
        rest = [other for j, other in enumerate(means) if j != k and other is not None]
        if mean is None or not rest:
            found.append(None)
            continue
        ratio = mean / np.maximum(np.mean(rest, axis=0), FLOOR / mean.size)
        row, column = divmod(int(ratio.argmax()), width)
        found.append(
            EvidenceLocation(
                excess=float(ratio.max()),
                peak=((row + 0.5) / height, (column + 0.5) / width),
                concentration=_concentration(spread[has[k]]),
                border=float(mean[rim].sum()),
                corners=float(mean[corners].sum()),
                outside=_known_mean(outside[has[k]]),
                images=int(has[k].sum()),
            )
        )
    return found


def hottest(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the middle of each map's hottest place, (N, 2), as shares of height and width.

    NaN for a map that is zero everywhere, which has no such place.
    """
    _, height, width = maps.shape
    rows, columns = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), width)
    middles = np.stack([(rows + 0.5) / height, (columns + 0.5) / width], axis=1)
    middles[maps.max(axis=(1, 2)) <= 0] = np.nan
    return middles


def _concentration(spread: NDArray[np.float32]) -> float:
    flat = np.sort(spread.reshape(len(spread), -1), axis=1)[:, ::-1]
    most = max(1, round(HOTTEST_SHARE * flat.shape[1]))
    return float(flat[:, :most].sum(axis=1).mean())


def share_outside(
    maps: NDArray[np.float32], masks: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Return the share of each map (N, h, w) that is off the object, (N,).

    A map's place is its pixels'. NaN for an image without a mask, and for an empty map.
    """
    off = np.full(len(maps), np.nan)
    if masks is None:
        return off
    _, height, width = maps.shape
    down, across = masks.shape[1:]
    rows = (np.arange(down) * height) // down
    columns = (np.arange(across) * width) // across
    for k, (map_, mask) in enumerate(zip(maps, masks, strict=True)):
        per_pixel = map_[np.ix_(rows, columns)]
        total = per_pixel.sum()
        if total > 0 and mask.any():
            off[k] = per_pixel[~mask].sum() / total
    return off


def _known_mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
