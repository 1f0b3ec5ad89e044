"""Which images carry the colours, texture or content of a place that are specific to a class.

Pixels decide: a few numbers describe each image, Fisher's discriminant separates one class from
the others, and the images beyond nine tenths of the others count as carriers.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from seewhy.audit.exchange import FINE, box_pixels, ground
from seewhy.data.decoding.fit import filled_box, slices
from seewhy.storage.schemas.audit import AuditKind

Box = tuple[float, float, float, float]

# Share of the other classes' images that a carrier must exceed.
BEYOND = 0.9
# Added to the covariance, as a share of its mean variance: few images, many numbers.
RIDGE = 0.05
# A place is described by so many averages a side.
PARTS = 5


def describe(
    pixels: NDArray[np.uint8], kind: AuditKind, box: Box | None = None
) -> NDArray[np.float64]:
    """Describe images by what one kind of exchange carries over, (N, D) float64.

    Colour: mean and deviation of each channel. Texture: deviation and mean size of what is fine
    around the middle, per channel. Place: 5 × 5 averages per channel, in `box`: top, left, bottom,
    right as shares of the sides. Padding counts for a place alone.
    """
    shape = (pixels.shape[1], pixels.shape[2])
    if kind == "place":
        assert box is not None
        return _place(pixels.astype(np.float32), box_pixels(box, shape))
    filled = [filled_box(image) for image in pixels]
    described = np.empty((len(pixels), 6))
    for one in set(filled):
        rows = [row for row, other in enumerate(filled) if other == one]
        part = pixels[rows][:, *slices(one)].astype(np.float32)
        described[rows] = _colours(part) if kind == "colour" else _texture(part, FINE * min(shape))
    return described


def _colours(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)


def _texture(images: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
    fine = images - ndimage.gaussian_filter(images, (0, blur, blur, 0))
    fine = fine[:, ground((images.shape[1], images.shape[2]))]
    return np.concatenate([fine.std(axis=1), np.abs(fine).mean(axis=1)], axis=1)


def _place(images: NDArray[np.float32], box: tuple[int, int, int, int]) -> NDArray[np.float64]:
    top, left, bottom, right = box
    rows, columns = _edges(top, bottom), _edges(left, right)
    parts = [
        images[:, up:down, start:end].mean(axis=(1, 2))
        for up, down in pairwise(rows)
        for start, end in pairwise(columns)
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _edges(start: int, end: int) -> list[int]:
    parts = min(PARTS, end - start)
    return [round(edge) for edge in np.linspace(start, end, parts + 1)]


def direction(described: NDArray[np.float64], of_class: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the direction (D,) in which a class's descriptions (N, D) differ from the others'.

    References
    ----------
    Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936.
    """
    own, others = described[of_class], described[~of_class]
    gap = own.mean(axis=0) - others.mean(axis=0)
    within = np.concatenate([own - own.mean(axis=0), others - others.mean(axis=0)])
    covariance = within.T @ within / len(within)
    covariance += RIDGE * max(float(np.trace(covariance)) / len(gap), 1e-9) * np.eye(len(gap))
    found: NDArray[np.float64] = np.linalg.solve(covariance, gap)
    return found


def stand_out(described: NDArray[np.float64], of_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the images (N,) that exceed nine tenths of the other classes', towards the class.

    Those of the class are carriers; a tenth of the others looks like them.
    """
    score = described @ direction(described, of_class)
    return np.asarray(score > np.quantile(score[~of_class], BEYOND), dtype=bool)
