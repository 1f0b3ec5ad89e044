"""The outline of an object mask as an SVG path, drawn by the page over photograph and map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# A path's coordinates are whole numbers of 0 … UNITS across the picture.
UNITS = 256
# Masks finer than this are reduced; large views of the page are not much finer.
CELLS = 128
# How far a line may be from the mask's edge, in cells.
TOLERANCE = 0.3

Points = NDArray[np.float64]  # (P, 2): x and y


def outline(mask: NDArray[np.bool_]) -> str | None:
    """Return the outline of a mask (H, W) as an SVG path; None for an empty mask.

    A mask finer than `CELLS` keeps its thin parts: a cell belongs to the object where any of its
    pixels does. The line runs through the middles of the cells' edges, which makes stairs slopes.

    Examples
    --------
    >>> import numpy as np
    >>> outline(np.array([[True, True], [True, True]]))
    'M64 0L192 0L256 64L256 192L192 256L64 256L0 192L0 64Z'
    """
    cells = _reduced(mask)
    if not cells.any():
        return None
    # Across and down: a picture that is not square is stretched to its proportions by the page.
    unit = UNITS / np.array(cells.shape[::-1])
    parts = []
    for ring in _rings(cells):
        middles = (ring + np.roll(ring, -1, axis=0)) / 2
        corners = np.rint(_simplified(middles) * unit).astype(int).tolist()
        parts.append(f"M{'L'.join(f'{x} {y}' for x, y in corners)}Z")
    return "".join(parts)


def _reduced(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for axis, size in enumerate(mask.shape):
        if size > CELLS:
            mask = np.logical_or.reduceat(mask, np.arange(CELLS) * size // CELLS, axis=axis)
    return mask


def _rings(cells: NDArray[np.bool_]) -> Iterator[Points]:
    """Yield the corners of the cells around each part and each hole, the object on the right."""
    inside = np.pad(cells, 1)
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Each side of a cell: where its neighbour is, where the edge starts, where it ends (y, x).
    for (dy, dx), (sy, sx), (ey, ex) in (
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 1)),
        ((1, 0), (1, 1), (1, 0)),
        ((0, -1), (1, 0), (0, 0)),
    ):
        edge = inside & ~np.roll(inside, (-dy, -dx), axis=(0, 1))
        for y, x in np.argwhere(edge[1:-1, 1:-1]).tolist():
            ends.setdefault((x + sx, y + sy), []).append((x + ex, y + ey))
    while ends:
        start = here = next(iter(ends))
        ring = []
        while True:
            ring.append(here)
            following = ends[here].pop()
            if not ends[here]:
                del ends[here]
            here = following
            if here == start:
                break
        yield np.array(ring, dtype=np.float64)


def _simplified(ring: Points) -> Points:
    """Leave out points of a closed line that are nearly on the line between others.

    References
    ----------
    Douglas, Peucker, "Algorithms for the reduction of the number of points required to represent a
    digitized line or its caricature", Cartographica 10, 1973.
    """
    far = int(np.linalg.norm(ring - ring[0], axis=1).argmax())
    closed = np.concatenate([ring, ring[:1]])
    kept = np.zeros(len(closed), dtype=bool)
    kept[[0, far]] = True
    waiting = [(0, far), (far, len(closed) - 1)]
    while waiting:
        first, last = waiting.pop()
        between = closed[first + 1 : last]
        if not len(between):
            continue
        along = closed[last] - closed[first]
        away = between - closed[first]
        distance = np.abs(along[0] * away[:, 1] - along[1] * away[:, 0])
        distance /= max(float(np.linalg.norm(along)), 1e-12)
        if distance.max() > TOLERANCE:
            middle = first + 1 + int(distance.argmax())
            kept[middle] = True
            waiting += [(first, middle), (middle, last)]
    return ring[kept[:-1]]
