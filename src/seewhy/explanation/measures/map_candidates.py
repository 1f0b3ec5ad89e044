"""Which of several maps of the same images marks best what a classifier uses: one number per map.

The number is insertion minus deletion: the area under the explained class's probability while the
marked pixels are put into a blurred image, minus that while they are taken out of the image. It
takes fewer passes than ``faithfulness.py``, which has many measures of one map. Knows nothing of
how maps were made, or of studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.engine import undisturbed
from seewhy.explanation.measures.curves import Predict, area, class_probability, exchange_curve
from seewhy.explanation.measures.map_measure import judge
from seewhy.explanation.measures.pixel_removal import blurred, ranks
from seewhy.explanation.measures.reference_maps import reference_patterns
from seewhy.statistics.bootstrap import Interval, mean_intervals

STEPS = 4
# Per image and resolution.
RANDOM_MAPS = 1
_DRAWS = 2000


def forward_passes(sizes: Sequence[tuple[int, int]]) -> int:
    """Return how often an image passes the network for candidates whose maps have these sizes."""
    return 2 + 2 * (STEPS - 1) * (len(sizes) + RANDOM_MAPS * len(set(sizes)))


def score_candidates(
    model: nn.Module,
    images: Tensor,
    candidates: Sequence[Tensor],
    classes: Tensor,
    numbers: Tensor,
    *,
    seed: int = 0,
    filled: NDArray[np.float64] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Return insertion minus deletion of each candidate's maps, and of random maps.

    .. math:: \int_0^1 p(x_{\mathrm{blur}} \leftarrow s) - p(x \setminus s) \, ds

    with :math:`s` the share of the pixels, most relevant first. An order that knows nothing has 0
    on average; a map that is zero everywhere has the order of a random map.

    Parameters
    ----------
    model : nn.Module
        Images to logits (N, M).
    images : Tensor, (n, C, H, W)
    candidates : sequence of Tensor, (n, h, w) each
        Maps of the images; their resolutions may differ.
    classes : Tensor of int64, (n,)
        The class that all of an image's maps are for.
    numbers : Tensor of int64, (n,)
        The images' numbers among all that are measured, which its random maps depend on.
    seed : int, default 0
    filled : ndarray of float64, (n, 4), optional
        The part of each image that is no padding, as `measure_faithfulness` takes it.

    Returns
    -------
    maps, random : Tensor, (len(candidates), n) float32
        Beside each candidate, the mean of `RANDOM_MAPS` random maps of its resolution: candidates
        of one resolution have the same.

    Raises
    ------
    ConfigError
        Where the classifier's probabilities are not finite.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models",
    BMVC 2018 (deletion and insertion).
    """
    with undisturbed(model, images):
        predict = class_probability(model, classes.to(images.device))
        curves = _Exchange(predict, images)
        boxes = None if filled is None else torch.from_numpy(filled)
        found, chance = list[Tensor](), list[Tensor]()
        by_size: dict[tuple[int, int], Tensor] = {}
        for maps in candidates:
            size = (int(maps.shape[1]), int(maps.shape[2]))
            patterns, ties = reference_patterns(numbers, size, seed, RANDOM_MAPS, boxes)
            if size not in by_size:
                random = [curves.difference(pattern, ties) for pattern in patterns[:RANDOM_MAPS]]
                by_size[size] = torch.stack(random).mean(dim=0)
            found.append(curves.difference(maps.detach().float(), ties))
            chance.append(by_size[size])
    both = torch.stack(found), torch.stack(chance)
    if not all(bool(values.isfinite().all()) for values in both):
        raise ConfigError(
            "the classifier's probabilities are not finite; check the images and its weights"
        )
    return both


@dataclass(frozen=True)
class BesideRandom:
    """A candidate's mean, that of random maps, and their difference, paired image by image.

    `better` says whether the difference's interval is wholly above zero.
    """

    maps: Interval
    random: Interval
    difference: Interval
    better: bool


def beside_random(maps: ArrayLike, random: ArrayLike, seed: int = 0) -> BesideRandom:
    """Compare a candidate's values (n,) with those of random maps (n,)."""
    ours, chance = np.asarray(maps, np.float64), np.asarray(random, np.float64)
    each = mean_intervals((ours, chance, ours - chance), None, _DRAWS, seed)
    verdict = judge(each[2], "high", len(ours), "random")
    return BesideRandom(each[0], each[1], each[2], verdict == "better than random")


class _Exchange:
    """A batch of images, their blurred copies, and the probabilities of both."""

    def __init__(self, predict: Predict, images: Tensor) -> None:
        self._predict = predict
        self._images, self._blurred = images, blurred(images)
        self._ends = predict(images), predict(self._blurred)

    def difference(self, maps: Tensor, ties: Tensor) -> Tensor:
        """Return the area under the insertion curve minus that under the deletion curve, (n,)."""
        images = self._images
        size = (int(images.shape[2]), int(images.shape[3]))
        ranked = ranks(maps.to(images.device), ties.to(images.device), size)
        kept, gone = self._ends
        insertion = exchange_curve(
            self._predict, self._blurred, images, ranked, STEPS, (gone, kept)
        )
        deletion = exchange_curve(self._predict, images, self._blurred, ranked, STEPS, (kept, gone))
        return (area(insertion) - area(deletion)).float().cpu()
