"""Bootstrap intervals against SciPy and against data whose mean is known; verdicts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from seewhy.errors import ConfigError
from seewhy.explanation.measures.intervals import ImageMeanInterval, bootstrap_mean, compare, judge


def test_the_interval_equals_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    ours = bootstrap_mean(values, draws=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    # Two samples of 20,000 draws: quantiles differ by some hundredths of the interval's width.
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


@pytest.mark.parametrize(("count", "fewest"), [(30, 0.91), (100, 0.925)])
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(
    count: int, fewest: float
) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(1000):
        found = bootstrap_mean(rng.beta(2, 5, count), seed=seed, draws=500)
        held += found.low <= 2 / 7 <= found.high
    assert fewest <= held / 1000 <= 0.965


def test_one_value_has_an_interval_without_width() -> None:
    assert bootstrap_mean([0.25]) == ImageMeanInterval(0.25, 0.25, 0.25)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]]])
def test_values_without_a_mean_are_named(values: list[float]) -> None:
    with pytest.raises(ConfigError, match="expected finite values"):
        bootstrap_mean(values)


def test_differences_are_paired() -> None:
    # Images differ a hundred times more than maps do: unpaired, nothing could be told.
    rng = np.random.default_rng(0)
    image = rng.normal(size=40)
    maps = image + 0.01 + 0.001 * rng.normal(size=40)
    found = compare(maps, np.stack([image, image], axis=1), maps, "high")
    assert found.maps.low < found.random.value < found.maps.high
    assert 0.009 < found.versus_random.low < found.versus_random.high < 0.011
    assert found.verdict == "better than random"
    assert found.versus_gaussian == ImageMeanInterval(0, 0, 0)
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
    assert judge(ImageMeanInterval((low + high) / 2, low, high), good, images, "random") == verdict


def test_a_measure_is_plain_values() -> None:
    found = compare([1.0, 2.0], [[0.0], [1.0]], [0.0, 1.0], "high")
    assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["images"] == 2


def test_reading_measures_does_not_import_pytorch() -> None:
    command = "import sys, seewhy.explanation.measures.intervals; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
