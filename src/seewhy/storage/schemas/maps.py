"""The class activation maps of one stage: maps.npz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.storage.schemas.base import Stage


@dataclass(frozen=True)
class Maps:
    """Class activation maps of the test images, two an image, of one stage.

    Attributes
    ----------
    ids : tuple of str
    maps : ndarray of float16, (N, h, w)
        For the predicted class, at feature resolution, not normalised, never negative. A map
        that float16 cannot hold well is kept times a power of two, its scale.
    label_maps : ndarray of float16, (N, h, w)
        For the labelled class, from the same forward pass; the same where the prediction is
        right.
    explained : ndarray of int64, (N,)
        The predicted class, which `maps` are for.
    scales, label_scales : ndarray of float32, (N,)
        What each map was multiplied with: 1 but for very small or very large maps.
    empty, label_empty : ndarray of bool, (N,)
        Which maps are zero everywhere: nothing spoke for the class.
    method, layer : str
    stage : {"adaptation", "finetuning"}
    """

    ids: tuple[str, ...]
    maps: NDArray[np.float16]
    label_maps: NDArray[np.float16]
    explained: NDArray[np.int64]
    scales: NDArray[np.float32]
    label_scales: NDArray[np.float32]
    empty: NDArray[np.bool_]
    label_empty: NDArray[np.bool_]
    method: str
    layer: str
    stage: Stage
