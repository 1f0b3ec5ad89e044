"""Which images are the same or nearly alike: exact copies, and near duplicates.

Exact copies have equal pixels. For near ones each image is compared twice, as perceptual hashes
are, but with numbers in place of bits: coarsely (its brightness on 8 × 8 places) with all others in
matrix products, and then in its detail (32 × 32 places, what is below a blur taken away) with
the few that are alike coarsely. So two views of one sea are not taken for near duplicates, though
a copy that was recompressed, resized, recoloured or shifted by a pixel of the thumbnail is, and so
are the frames of a fixed camera, which share the detail of the scene. Mirrored, turned or strongly
cropped copies are not found.

It knows no labels, splits or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

COARSE = 8
ALIKE = 0.9
# A correlation below this does not rise to a copy's by a shift.
HOPEFUL = 0.3
SHIFTS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
BLUR = 7
MOST = 32
# Brightness, of 255: what deviates less is compression noise, and correlates with nothing.
FLAT = 2.0
# Elements of a matrix product at a time.
BLOCK = 2**24
PAIRS = 2**13

Pairs = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Duplicates:
    """Which images are the same or nearly alike."""

    # (N,): equal numbers, 0, 1, … in the order of their first members, for images of one
    # group; -1 for an image that has no duplicate.
    groups: NDArray[np.int64]
    # (G,): for each group, the least similarity of two images that hold it together; 1 where
    # all are exact copies.
    similarity: NDArray[np.float64]


def find_duplicates(
    digests: NDArray[np.bytes_], thumbs: NDArray[np.uint8], threshold: float
) -> Duplicates:
    """Group the images that are the same or nearly alike.

    A group is what pairs of duplicates hold together: its first and last need not be alike. The
    time grows with the square of the number of images, in matrix products 64 wide, and does not
    grow with the number of duplicates.

    Digests (N,) are equal for exact copies, thumbs (N, 32, 32) are brightness, see
    `seewhy.data.quality.measurements.ImageMeasurements`. From a correlation of detail of
    `threshold` on, two images are near duplicates; from 1 on only exact copies are searched for.
    """
    count = len(digests)
    _, first, copy_of = np.unique(digests, return_index=True, return_inverse=True)
    exact = np.stack([first[copy_of], np.arange(count)], axis=1)
    exact = exact[exact[:, 0] != exact[:, 1]]
    near, similarity = np.empty((0, 2), dtype=np.int64), np.empty(0)
    if threshold < 1:
        alone = np.sort(first)
        near, similarity = _near_pairs(thumbs[alone], threshold)
        near = alone[near]
    links = np.concatenate([exact, near])
    weights = np.concatenate([np.ones(len(exact)), similarity])
    return _grouped(links, weights, count)


def _grouped(links: Pairs, weights: Values, count: int) -> Duplicates:
    """Turn pairs into groups, numbered in the order of their first members."""
    component = _components(links, count)
    sizes = np.bincount(component, minlength=1)
    groups = np.where(sizes[component] > 1, component, -1)
    if len(links) == 0:
        return Duplicates(np.full(count, -1, dtype=np.int64), np.empty(0))
    _, first = np.unique(groups[groups >= 0], return_index=True)
    ordered = groups[groups >= 0][np.sort(first)]
    number = np.full(count, -1, dtype=np.int64)
    number[ordered] = np.arange(len(ordered))
    numbered = np.where(groups >= 0, number[groups], -1)
    similarity = np.ones(len(ordered))
    np.minimum.at(similarity, numbered[links[:, 0]], weights)
    return Duplicates(numbered, similarity)


def _components(links: Pairs, count: int) -> NDArray[np.int64]:
    """Return one number per image, 0, 1, …, equal where pairs hold images together."""
    graph = coo_array((np.ones(len(links), dtype=bool), (links[:, 0], links[:, 1])), (count, count))
    _, component = connected_components(graph, directed=False)
    numbers: NDArray[np.int64] = component.astype(np.int64)
    return numbers


def _near_pairs(thumbs: NDArray[np.uint8], threshold: float) -> tuple[Pairs, Values]:
    """Find pairs of near duplicates, enough to hold every group together.

    An image is compared in detail with the 32 later ones that are most alike coarsely. Where more
    are alike (a film's frames, say), that suffices: each but the last finds a later one.
    """
    pairs = _candidates(_coarse(thumbs))
    similarity = _similarity(_detail(thumbs), pairs, threshold)
    same = similarity >= threshold
    # 1 is for exact copies alone.
    return pairs[same], np.minimum(similarity[same], np.nextafter(1, 0))


def _coarse(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return brightness on 8 × 8 places, (N, 64), so that a product is a correlation."""
    step = thumbs.shape[1] // COARSE
    blocks = thumbs.reshape(len(thumbs), COARSE, step, COARSE, step)
    return _standardised(blocks.mean(axis=(2, 4), dtype=np.float32))


def _detail(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what a blur over 7 × 7 places takes away, (N, 32, 32)."""
    values = thumbs.astype(np.float32)
    blurred: NDArray[np.float32] = uniform_filter(values, size=(1, BLUR, BLUR), mode="nearest")
    return values - blurred


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flatten each row, take its mean away and bring it to length 1; a flat one is shorter."""
    flat: NDArray[np.float32] = values.reshape(len(values), prod(values.shape[1:]))
    flat = flat - flat.mean(axis=1, keepdims=True, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    flat /= np.maximum(length, FLAT * np.sqrt(flat.shape[1], dtype=np.float32))[:, None]
    return flat


def _candidates(coarse: NDArray[np.float32]) -> Pairs:
    """Find the pairs that are alike coarsely, (P, 2), at most 32 later images for each."""
    pairs: list[Pairs] = [np.empty((0, 2), dtype=np.int64)]
    count = len(coarse)
    step = max(1, BLOCK // max(count, 1))
    for start in range(0, count, step):
        product = coarse[start : start + step] @ coarse.T
        # Only with later ones: each pair once, and no image with itself.
        product[np.arange(count) <= np.arange(start, start + len(product))[:, None]] = -1
        alike = product > ALIKE
        crowded = np.flatnonzero(alike.sum(axis=1) > MOST)
        if len(crowded):
            best = np.argpartition(product[crowded], -MOST, axis=1)[:, -MOST:]
            alike[crowded] = False
            alike[crowded[:, None], best] = True
        rows, columns = np.nonzero(alike)
        pairs.append(np.stack([rows + start, columns], axis=1))
    return np.concatenate(pairs)


def _similarity(detail: NDArray[np.float32], pairs: Pairs, enough: float) -> Values:
    """Correlate the detail of pairs, (P,).

    Where that is not `enough`, the second is shifted by up to one place each way.
    """
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), PAIRS):
        first, second = detail[pairs[start : start + PAIRS].T]
        best = _correlation(first, second, 0, 0)
        hopeful = np.flatnonzero((best > HOPEFUL) & (best < enough))
        for down, across in SHIFTS:
            shifted = _correlation(first[hopeful], second[hopeful], down, across)
            best[hopeful] = np.maximum(best[hopeful], shifted)
        found[start : start + PAIRS] = best
    return found


def _correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], down: int, across: int
) -> Values:
    """Correlate all but the border with `second` shifted by at most one place."""
    side = first.shape[1] - 2
    middle = _standardised(first[:, 1:-1, 1:-1])
    shifted = second[:, 1 + down : 1 + down + side, 1 + across : 1 + across + side]
    found: Values = np.einsum("ij,ij->i", middle, _standardised(shifted)).astype(np.float64)
    return found
