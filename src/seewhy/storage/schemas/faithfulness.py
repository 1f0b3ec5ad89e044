"""How faithful a backbone's maps are: faithfulness.json, and its part of summary.json.

Plain values that JSON can hold, so that the report draws them without computing anything. How
each number is computed is in ``explanation/measures/faithfulness.py``.
"""

from __future__ import annotations

from typing import Literal

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import FrozenRecord

Good = Literal["low", "high", "neither"]


class MeasureSummary(FrozenRecord):
    """One measure for the maps, beside the same for random maps and a centred Gaussian.

    `good` says which direction speaks for the maps; `verdict` is ``better than random``, ``no
    better than random``, ``too few images`` or ``no good direction``.
    """

    good: Good
    images: int
    maps: Interval
    random: Interval
    gaussian: Interval
    verdict: str


class FaithfulnessMeasure(MeasureSummary):
    """As `MeasureSummary`, with the differences, paired image by image."""

    versus_random: Interval
    versus_gaussian: Interval
    gaussian_verdict: str


class FaithfulnessCurve(FrozenRecord):
    """Mean probability of the explained class over the shares of pixels exchanged."""

    shares: tuple[float, ...]
    maps: tuple[float, ...]
    random: tuple[float, ...]
    gaussian: tuple[float, ...]


class Faithfulness(FrozenRecord):
    """faithfulness.json: how far the fine-tuned classifier's maps agree with what it uses.

    `ids` are the test images that were measured; `empty` of their maps are zero everywhere and in
    no measure, `masked` have an object mask. The other values are `measure_faithfulness`'s.
    """

    method: str
    layer: str
    ids: tuple[str, ...]
    images: int
    empty: int
    masked: int
    seed: int
    steps: int
    baselines: tuple[str, ...]
    road_shares: tuple[float, ...]
    random_maps: int
    iou_threshold: float
    forward_passes: int
    measures: dict[str, FaithfulnessMeasure]
    curves: dict[str, FaithfulnessCurve]
    verdict: str


class FaithfulnessSummary(FrozenRecord):
    """``explanation.faithfulness`` in summary.json."""

    verdict: str
    images: int
    empty: int
    masked: int
    measures: dict[str, MeasureSummary]
    seconds: float
