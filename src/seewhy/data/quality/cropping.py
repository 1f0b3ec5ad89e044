"""How much of the images the crop to the square in their middle removes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seewhy.wording import share

# From here on so much is removed that objects at the edges are likely to be cut off.
MUCH = 0.25


def cropped_share(sizes: NDArray[np.int64]) -> float:
    """Return the share of an image that is outside the square in its middle, the median.

    Parameters
    ----------
    sizes : ndarray of int64, (N, 2)
        Heights and widths, pixels.

    Examples
    --------
    >>> import numpy as np
    >>> cropped_share(np.array([[100, 200], [100, 100], [90, 120]]))
    0.25
    """
    outside = 1 - sizes.min(axis=1) / np.maximum(sizes.max(axis=1), 1)
    return float(np.median(outside)) if len(outside) else 0.0


def cropping_sentences(cropped: float) -> list[str]:
    """Warn where the crop removes much."""
    if cropped <= MUCH:
        return []
    return [
        f"The crop to the square in the middle removes {share(cropped)} of an image (median): what "
        "is near the edges is not seen. Crop the pictures around the object first."
    ]
