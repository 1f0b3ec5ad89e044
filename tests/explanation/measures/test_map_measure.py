"""Maps beside random ones: paired differences and verdicts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from seewhy.explanation.measures.map_measure import compare, judge
from seewhy.statistics.bootstrap import Interval


def test_differences_are_paired() -> None:
    # Images differ a hundred times more than maps do: unpaired, nothing could be told.
    rng = np.random.default_rng(0)
    image = rng.normal(size=40)
    maps = image + 0.01 + 0.001 * rng.normal(size=40)
    found = compare(maps, np.stack([image, image], axis=1), maps, "high")
    assert found.maps.low < found.random.value < found.maps.high
    assert 0.009 < found.versus_random.low < found.versus_random.high < 0.011
    assert found.verdict == "better than random"
    assert found.versus_gaussian == Interval(0, 0, 0)
    assert found.gaussian_verdict == "no better than a centred Gaussian"
    assert compare(maps, image[:, None], maps, "low").verdict == "no better than random"


def test_random_maps_count_by_their_mean() -> None:
    found = compare([1.0, 2.0], [[0.0, 4.0], [1.0, 1.0]], [0.0, 0.0], "high")
    assert found.random.value == 1.5
    assert found.versus_random.value == 0
    assert found.images == 2


@pytest.mark.parametrize(
    ("low", "high", "good", "images", "verdict"),
    [
        (0.01, 0.2, "high", 10, "better than random"),
        (0.01, 0.2, "low", 10, "no better than random"),
        (-0.2, -0.01, "low", 10, "better than random"),
        (-0.2, 0.01, "low", 10, "no better than random"),
        (0.0, 0.2, "high", 10, "no better than random"),
        (0.01, 0.2, "high", 9, "too few images"),
        (0.01, 0.2, "neither", 99, "no good direction"),
    ],
)
def test_a_verdict_needs_an_interval_on_the_good_side_of_zero(
    low: float, high: float, good: str, images: int, verdict: str
) -> None:
    assert judge(Interval((low + high) / 2, low, high), good, images, "random") == verdict


def test_a_measure_is_plain_values() -> None:
    found = compare([1.0, 2.0], [[0.0], [1.0]], [0.0, 1.0], "high")
    assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["images"] == 2


def test_reading_measures_does_not_import_pytorch() -> None:
    command = (
        "import sys, seewhy.explanation.measures.map_measure; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
