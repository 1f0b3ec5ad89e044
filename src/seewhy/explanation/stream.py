"""Maps and predictions of a whole data set in one pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.cam import explain


@dataclass(frozen=True)
class ExplainedSet:
    """Maps for the predicted classes of N images, with the predictions.

    Attributes
    ----------
    maps : ndarray of float16, (N, h, w)
        Not normalised. A map whose maximum float16 cannot hold well is kept times a power of two,
        `scales`.
    explained : ndarray of int64, (N,)
    probabilities : ndarray of float32, (N, M)
    scales : ndarray of float32, (N,)
        What each map was multiplied with: 1 but for very small or very large maps.
    empty : ndarray of bool, (N,)
        Which maps were zero everywhere before they were stored.
    """

    maps: NDArray[np.float16]
    explained: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    scales: NDArray[np.float32]
    empty: NDArray[np.bool_]

    def restored(self) -> NDArray[np.float32]:
        """Return the maps as they were before they were scaled, (N, h, w)."""
        return self.maps.astype(np.float32) / self.scales[:, None, None]


def explain_batches(
    model: nn.Module, batches: Iterable[Tensor], layer: str, method: str = "gradcam"
) -> ExplainedSet:
    """Explain the predicted class of every image.

    Only float16 maps at feature resolution and probabilities are held, whatever the number of
    images; predictions and maps come from the same forward pass.

    Parameters
    ----------
    model : nn.Module
    batches : iterable of Tensor
        The model's input, batch by batch; at least one.
    layer : str
        Name of the target module.
    method : str, default "gradcam"

    Returns
    -------
    ExplainedSet

    Raises
    ------
    ConfigError
        As `explain`; where there is no batch.
    """
    parts: list[tuple[NDArray[Any], ...]] = []
    for batch in batches:
        found = explain(model, batch, layer=layer, method=method)
        maps = found.maps[:, 0]
        scales = _scales(maps)
        halves = (maps * scales[:, None, None]).half()
        columns = halves, found.classes[:, 0], found.probabilities, scales, found.empty[:, 0]
        parts.append(tuple(column.cpu().numpy() for column in columns))
    if not parts:
        raise ConfigError("batches: expected at least one batch of images, but got none")
    return ExplainedSet(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _scales(maps: Tensor) -> Tensor:
    """Return the powers of two, (N,), that bring maps' maxima within float16's range.

    From 2⁻¹⁰ on, float16's smallest step, 2⁻²⁴, is less than a ten-thousandth of a map's maximum;
    below, and above 2¹⁵, the map is multiplied so that its maximum lies between 1 and 2.
    """
    most = maps.amax(dim=(1, 2))
    fits = (most >= 2.0**-10) & (most <= 2.0**15)
    exponents = torch.frexp(most).exponent
    factors = torch.ldexp(torch.ones_like(most), 1 - exponents)
    return torch.where(fits | (most <= 0), 1.0, factors)
