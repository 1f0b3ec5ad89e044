"""How faithful a backbone's maps are: faithfulness.json, and its part of summary.json.

Plain values that JSON can hold, so that the report draws them without computing anything. How
each number is worked out is in ``explanation/faithfulness.py``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Good = Literal["low", "high", "neither"]


class _Finding(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeanInterval(_Finding):
    """A mean over images and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class MeasureSummary(_Finding):
    """One measure for the maps, beside the same for random maps and a centred Gaussian.

    `good` says which direction speaks for the maps; `verdict` is ``better than random``, ``no
    better than random``, ``too few images`` or ``no good direction``.
    """

    good: Good
    images: int
    maps: MeanInterval
    random: MeanInterval
    gaussian: MeanInterval
    verdict: str


class FaithfulnessMeasure(MeasureSummary):
    """As `MeasureSummary`, with the differences, paired image by image."""

    versus_random: MeanInterval
    versus_gaussian: MeanInterval
    gaussian_verdict: str


class FaithfulnessCurve(_Finding):
    """Mean probability of the explained class over the shares of pixels exchanged."""

    shares: tuple[float, ...]
    maps: tuple[float, ...]
    random: tuple[float, ...]
    gaussian: tuple[float, ...]


class Faithfulness(_Finding):
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


class FaithfulnessSummary(_Finding):
    """``explanation.faithfulness`` in summary.json."""

    verdict: str
    images: int
    empty: int
    masked: int
    measures: dict[str, MeasureSummary]
    seconds: float
