"""What it costs to bring images to the input's proportions: parts cropped, padding, stretching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.data.decoding.fit import Fit
from seewhy.storage.schemas.input_size import sides
from seewhy.wording import share

# From here on so much is removed that objects at the edges are likely to be cut off.
MUCH = 0.25


@dataclass(frozen=True)
class ResizingCost:
    """Medians over the images; two of the three are what costs nothing.

    `cropped` is the share of an image that the crop removes, `padded` the share of the input that
    is padding, `stretched` the factor by which the proportions change.
    """

    cropped: float = 0.0
    padded: float = 0.0
    stretched: float = 1.0


def resizing_cost(sizes: NDArray[np.int64], fit: Fit) -> ResizingCost:
    """Measure what a fit does to images of these sizes.

    Parameters
    ----------
    sizes : ndarray of int64, (N, 2)
        Heights and widths, pixels.
    fit : Fit

    Examples
    --------
    >>> import numpy as np
    >>> sizes = np.array([[100, 200], [100, 100], [90, 120]])
    >>> resizing_cost(sizes, Fit(224))
    ResizingCost(cropped=0.25, padded=0.0, stretched=1.0)
    >>> resizing_cost(sizes, Fit((100, 200), "pad"))
    ResizingCost(cropped=0.0, padded=0.33333333333333337, stretched=1.0)
    """
    if not len(sizes):
        return ResizingCost()
    height, width = sides(fit.size)
    # Both over the input's side: equal where the proportions are.
    relative = np.sort(np.maximum(sizes, 1) * np.array([width, height]), axis=1)
    if fit.mode == "squash":
        return ResizingCost(stretched=float(np.median(relative[:, 1] / relative[:, 0])))
    lost = float(np.median(1 - relative[:, 0] / relative[:, 1]))
    return ResizingCost(cropped=lost) if fit.mode == "crop" else ResizingCost(padded=lost)


def resizing_sentences(cost: ResizingCost, fit: Fit) -> list[str]:
    """Warn where the crop removes much."""
    if cost.cropped <= MUCH:
        return []
    height, width = sides(fit.size)
    crop = "the square in the middle" if height == width else "the input's proportions"
    return [
        f"The crop to {crop} removes {share(cost.cropped)} of an image (median): what is near the "
        "edges is not seen. To show whole pictures, run with --set input.resize=pad; or crop the "
        "pictures around the object first."
    ]
