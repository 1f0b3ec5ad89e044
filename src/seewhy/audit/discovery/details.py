"""Same-looking details: a spot that looks the same in many images of one class and in few others.

Photographs of one class resemble each other, but hardly ever pixel for pixel. A stamp, a logo, a
frame or a dead pixel does. Two searches: at the same place in the image, and at places that
differ, near the classifier's evidence. Both use only pixels; whether the detail moves the
classifier is measured later.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

# Longer side at which looks are compared, and the side of the windows, pixels.
SIDE = 48
WINDOW = 3
# Root mean square difference, of 255, up to which two windows look the same.
TOLERANCE = 10.0
# Pixels of a detail may differ by half as much again, in a fifth of its images.
LOOSER = 1.5
AGREEING = 0.8
# A window's own share must exceed this many times the others' share.
CONTRAST = 3.0
LEAST_SHARE = 0.15
# Of a detail thinner than a window: the share that must exceed the others' so, and its pixels.
THIN_SHARE, THIN_PIXELS = 0.35, 4
SOURCES, OWN, OTHERS = 40, 120, 240
# Images with a hottest place, of one class, from which shared windows can be recognised.
FEWEST_HOT = 4
TEMPLATES = 24

Pictures = NDArray[np.float32]  # (N, R, C, 3), 0 … 255


@dataclass(frozen=True)
class Detail:
    """A spot that looks the same in several images.

    `look` (h, w, 3), 0 … 255, is at the size at which it was found; `shape` (h, w) marks its
    pixels. `at` is its top and left where these are the same in all images, `places` those in each
    image that carries it, by the image's number. `own` and `others` are the shares of the class's
    images and of the others that carry it.
    """

    look: NDArray[np.float32]
    shape: NDArray[np.bool_]
    at: tuple[int, int] | None = None
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    own: float = 0.0
    others: float = 0.0


def fixed_details(
    pictures: Pictures, labels: NDArray[np.int64], label: int, most: int, seed: int
) -> list[Detail]:
    """Find at most `most` details that one class's images carry at the same place.

    For each place the 3×3 windows of some of the class's images are compared with the windows
    there of more images, of the class and of others. The one that most of the class share, and
    few others, grows to all pixels around it in which its carriers agree. What is thinner than a
    window is searched for pixel by pixel; single pixels agree by chance more often, so more of the
    class must share it. `seed` decides which images are compared where there are many.

    Returns
    -------
    list of Detail
        The most telling first; at most one thin one, the last.
    """
    rng = np.random.default_rng([seed, label, 0])
    own = rng.permutation(np.flatnonzero(labels == label))[:OWN]
    others = rng.permutation(np.flatnonzero(labels != label))[:OTHERS]
    if len(own) < 2 or not len(others):
        return []
    taken = np.zeros(pictures.shape[1:3], bool)
    found = _searched(pictures, labels, own, others, most, WINDOW, LEAST_SHARE, taken)
    thin = _searched(pictures, labels, own, others, most, 1, THIN_SHARE, taken)
    return found + [one for one in thin if one.shape.sum() >= THIN_PIXELS][:1]


def _searched(
    pictures: Pictures,
    labels: NDArray[np.int64],
    own: NDArray[np.int64],
    others: NDArray[np.int64],
    most: int,
    window: int,
    least: float,
    taken: NDArray[np.bool_],
) -> list[Detail]:
    """Find what windows of one size share where nothing is `taken`, and mark it there."""
    score, same = _shares(_windows(pictures[own], window), _windows(pictures[others], window))
    across = pictures.shape[2] - window + 1
    label = int(labels[own[0]])
    score[_touching(taken, window)] = -1
    found: list[Detail] = []
    while len(found) < most and score.max() >= least:
        place, source = np.unravel_index(int(score.argmax()), score.shape)
        carriers = own[same[place, source]]
        look = np.median(pictures[carriers], axis=0)
        region = _agreeing(pictures[carriers], look, divmod(int(place), across), window)
        found.append(_placed(_cut_out(look, region), pictures, labels, label))
        taken |= region
        score[_touching(region, window)] = -1
    return found


def _shares(
    own: NDArray[np.float32], others: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return, a place and source, how much more the class shares it, and who of the class does."""
    sources = own[:, :SOURCES]
    limit = TOLERANCE**2 * own.shape[2]
    same = _distances(sources, own) <= limit
    elsewhere = (_distances(sources, others) <= limit).mean(axis=2)
    share = (same.sum(axis=2) - 1) / (own.shape[1] - 1)
    return share - CONTRAST * elsewhere, same


def _cut_out(look: NDArray[np.float32], region: NDArray[np.bool_]) -> Detail:
    """Return a region of a look as a detail at its place."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Detail(look[box].astype(np.float32), region[box], (int(rows[0]), int(columns[0])))


def _placed(detail: Detail, pictures: Pictures, labels: NDArray[np.int64], label: int) -> Detail:
    """Look for a detail in all images; say where it is and how many carry it."""
    places = places_in(pictures, detail)
    carries = np.array([i in places for i in range(len(labels))])
    own, others = carries[labels == label].mean(), carries[labels != label].mean()
    return replace(detail, places=places, own=float(own), others=float(others))


def places_in(pictures: Pictures, detail: Detail) -> dict[int, tuple[int, int]]:
    """Return top and left of a detail in each of the `pictures` that carries it, by its number."""
    height, width = detail.shape.shape
    look = detail.look[detail.shape]  # (p, 3)
    limit = (LOOSER * TOLERANCE) ** 2
    places: dict[int, tuple[int, int]] = {}
    for i, picture in enumerate(pictures):
        if detail.at is not None:
            top, left = detail.at
            part = picture[top : top + height, left : left + width][detail.shape]
            if ((part - look) ** 2).mean() <= limit:
                places[i] = detail.at
            continue
        views = sliding_window_view(picture, (height, width), axis=(0, 1))  # (P, Q, 3, h, w)
        parts = views[..., detail.shape]  # (P, Q, 3, p)
        gaps = ((parts - look.T) ** 2).mean(axis=(2, 3))
        best = int(gaps.argmin())
        if gaps.flat[best] <= limit:
            row, column = divmod(best, gaps.shape[1])
            places[i] = row, column
    return places


def _agreeing(
    crops: Pictures, look: NDArray[np.float32], at: tuple[int, int], side: int
) -> NDArray[np.bool_]:
    """Mark the pixels, joined to the window at `at`, in which most crops look like `look`."""
    gap = np.sqrt(((crops - look) ** 2).mean(axis=3))
    agree = (gap <= LOOSER * TOLERANCE).mean(axis=0) >= AGREEING
    window = np.zeros_like(agree)
    window[at[0] : at[0] + side, at[1] : at[1] + side] = True
    joined, _ = ndimage.label(agree, np.ones((3, 3)))
    names = np.unique(joined[window & agree])
    return np.asarray(np.isin(joined, names[names > 0]) | window, dtype=bool)


def _touching(region: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Mark the windows, row by row, that share a pixel with a region, flat."""
    windows = sliding_window_view(region, (window, window))
    return np.asarray(windows.any(axis=(2, 3))).ravel()


def moving_details(
    pictures: Pictures,
    labels: NDArray[np.int64],
    label: int,
    hottest: NDArray[np.float64],
    reach: tuple[float, float],
    most: int,
) -> list[Detail]:
    """Find at most `most` details that one class's images carry at places that differ.

    Windows around each image's hottest place are compared with those of the class's other images;
    the most shared are then searched for everywhere in every image.

    `hottest` (N, 2) is the middle of each image's hottest place, as shares of height and width, NaN
    where it has none; `reach` is half the box around it, down and across, as shares of the sides.
    """
    own = np.flatnonzero(labels == label)
    others = np.flatnonzero(labels != label)
    if len(own) < FEWEST_HOT or not len(others):
        return []
    hot = own[np.isfinite(hottest[own]).all(axis=1)]
    if len(hot) < FEWEST_HOT:
        return []
    templates = _templates(pictures, hot, hottest, reach)
    found: list[Detail] = []
    while len(found) < most and len(templates):
        places, score = _best(pictures, templates, own, others)
        if score < LEAST_SHARE:
            break
        grown = _grown_moving(pictures, {i: places[i] for i in own.tolist() if i in places})
        found.append(_placed(grown, pictures, labels, label))
        templates = templates[~_within(templates, grown.look)]
    return found


def _within(templates: NDArray[np.float32], look: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which templates look like a part of a detail that has been found."""
    parts = _windows(look[None])[:, 0]  # (P, 27)
    limit = (2 * TOLERANCE) ** 2 * templates.shape[1]
    part_of: NDArray[np.bool_] = (_distances(templates[None], parts[None])[0] <= limit).any(axis=1)
    return part_of


def _templates(
    pictures: Pictures,
    own: NDArray[np.int64],
    hottest: NDArray[np.float64],
    reach: tuple[float, float],
) -> NDArray[np.float32]:
    """Return the windows around hot places that most other images' hot places share too."""
    sides, half = np.array(pictures.shape[1:3]), np.array(reach)
    box = np.minimum(np.maximum(np.round(2 * half * sides), WINDOW + 2), sides).astype(int)
    corners = np.clip(np.round((hottest[own] - half) * sides), 0, sides - box).astype(int)
    down, across = box.tolist()
    crops = np.stack(
        [pictures[i, t : t + down, c : c + across] for i, (t, c) in zip(own, corners, strict=True)]
    )
    windows = _windows(crops).transpose(1, 0, 2)  # (n, P, 27)
    count, _, width = windows.shape
    every = windows.reshape(-1, width)
    limit = TOLERANCE**2 * width
    share = np.zeros(len(every))
    for one in windows:
        share += (_distances(every[None], one[None])[0] <= limit).any(axis=1)
    share = (share - 1) / (count - 1)
    # Among equals the one with most in it: plain windows are shared by chance.
    order = np.lexsort((-every.std(axis=1), -share))
    order = order[share[order] >= LEAST_SHARE / 2]
    chosen: list[int] = []
    for k in order[: 50 * TEMPLATES]:
        apart = [((every[k] - every[j]) ** 2).mean() > TOLERANCE**2 for j in chosen]
        if all(apart):
            chosen.append(int(k))
        if len(chosen) == TEMPLATES:
            break
    return every[chosen]


def _best(
    pictures: Pictures,
    templates: NDArray[np.float32],
    own: NDArray[np.int64],
    others: NDArray[np.int64],
) -> tuple[dict[int, tuple[int, int]], float]:
    """Look for each template everywhere; return the most telling one's places and its score."""
    across = pictures.shape[2] - WINDOW + 1
    limit = TOLERANCE**2 * templates.shape[1]
    least = np.empty((len(pictures), len(templates)), np.float32)
    where = np.empty((len(pictures), len(templates)), np.int64)
    for i, picture in enumerate(pictures):
        gaps = _distances(templates[None], _windows(picture[None])[:, 0][None])[0]
        where[i] = gaps.argmin(axis=1)
        least[i] = gaps[np.arange(len(templates)), where[i]]
    has = least <= limit
    scores = (has[own].sum(axis=0) - 1) / (len(own) - 1) - CONTRAST * has[others].mean(axis=0)
    best = int(scores.argmax())
    places = {int(i): divmod(int(where[i, best]), across) for i in np.flatnonzero(has[:, best])}
    return places, float(scores[best])


def _grown_moving(pictures: Pictures, places: dict[int, tuple[int, int]]) -> Detail:
    """Lay the carriers' windows over each other and grow them to what they share."""
    margin = max(2, max(pictures.shape[1:3]) // 6)
    wide = WINDOW + 2 * margin
    pad = ((margin, margin), (margin, margin), (0, 0))
    # 1e4, then NaN: outside the image nothing agrees, with itself neither.
    crops = np.stack(
        [
            np.pad(pictures[i], pad, constant_values=1e4)[top : top + wide, left : left + wide]
            for i, (top, left) in places.items()
        ]
    )
    look = np.median(crops, axis=0)
    inside = np.where(look > 255, np.nan, look)
    region = _agreeing(crops, inside, (margin, margin), WINDOW)
    return replace(_cut_out(look, region), at=None)


def _windows(pictures: Pictures, side: int = WINDOW) -> NDArray[np.float32]:
    """Return all windows, place by place, (P, N, 3 * side²)."""
    views = sliding_window_view(pictures, (side, side), axis=(1, 2))  # (N, P, P, 3, k, k)
    count, rows, columns = views.shape[:3]
    flat = views.reshape(count, rows * columns, -1).transpose(1, 0, 2)
    return np.ascontiguousarray(flat, dtype=np.float32)


def _distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return squared distances between rows, (P, n, d) and (P, m, d) to (P, n, m)."""
    gaps: NDArray[np.float32] = (one**2).sum(axis=2)[:, :, None] + (other**2).sum(axis=2)[:, None]
    gaps -= 2 * np.matmul(one, other.transpose(0, 2, 1))
    return gaps


def reduced(pixels: NDArray[np.uint8]) -> Pictures:
    """Average pixels (N, H, W, 3) down to at most `SIDE` a side, (N, R, C, 3) float32.

    The shorter side has room for a window, however long the other is.
    """
    height, width = pixels.shape[1:3]
    share = min(1.0, SIDE / max(height, width))
    rows, columns = (_averaging(side, max(WINDOW, round(side * share))) for side in (height, width))
    shrunk = np.einsum("rs,nsuc->nruc", rows, pixels.astype(np.float32), optimize=True)
    return np.ascontiguousarray(
        np.einsum("rs,nusc->nurc", columns, shrunk, optimize=True), dtype=np.float32
    )


def _averaging(size: int, side: int) -> NDArray[np.float32]:
    """Return the weights (side, size) with which each reduced row averages the rows it covers."""
    edges = np.linspace(0, size, side + 1)
    low, high = edges[:-1, None], edges[1:, None]
    rows = np.arange(size)[None]
    covered = np.clip(np.minimum(high, rows + 1) - np.maximum(low, rows), 0, None)
    weights: NDArray[np.float32] = (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
