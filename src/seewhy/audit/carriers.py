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
    right as shares of the sides.
    """
    images, shape = pixels.astype(np.float32), (pixels.shape[1], pixels.shape[2])
    if kind == "colour":
        parts = [images.mean(axis=(1, 2)), images.std(axis=(1, 2))]
    elif kind == "texture":
        blur = FINE * min(shape)
        fine = images - ndimage.gaussian_filter(images, (0, blur, blur, 0))
        fine = fine[:, ground(shape)]
        parts = [fine.std(axis=1), np.abs(fine).mean(axis=1)]
    else:
        assert box is not None
        top, left, bottom, right = box_pixels(box, shape)
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
