"""Bootstrap intervals against the spread they must have, and against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seewhy.errors import ConfigError
from seewhy.statistics.bootstrap import (
    Interval,
    bootstrap,
    interval,
    mean_interval,
    share_interval,
    weights,
)

LABELS = np.array([2, 0, 2, 1, 0, 2, 2])


def _close(expected: Interval) -> Interval:
    return Interval(*(pytest.approx(one) for one in (expected.value, expected.low, expected.high)))


def test_every_draw_has_as_many_images_of_each_class_as_the_test_set() -> None:
    (drawn,) = weights(LABELS, draws=50, seed=1)
    assert drawn.shape == (50, 7)
    for label, images in ((0, 2), (1, 1), (2, 4)):
        assert (drawn[:, label == LABELS].sum(axis=1) == images).all()
    # The one image of class 1 is in every draw; of the others some are left out of some.
    assert (drawn[:, 3] == 1).all()
    assert (drawn[:, 0] == 0).any()
    assert drawn[:, 0].max() > 1


def test_blocks_hold_all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seewhy.statistics.bootstrap._BLOCK", 21)
    assert [len(block) for block in weights(LABELS, draws=8)] == [3, 3, 2]
    values, drawn = bootstrap(lambda w: w[:, :2], LABELS, draws=8)
    assert values.tolist() == [1, 1]
    assert drawn.shape == (8, 2)


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(0).random(7)
    assert mean_interval(values, LABELS, seed=3) == mean_interval(values, LABELS, seed=3)
    assert mean_interval(values, LABELS, seed=3) != mean_interval(values, LABELS, seed=4)


def test_one_class_gives_scipys_percentile_interval() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 200)
    ours = mean_interval(values, np.zeros(200, dtype=np.int64), draws=8000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_classes_are_drawn_each_for_itself() -> None:
    """Class 0 always right and class 1 never: nothing depends on the draw, the interval is a point.

    Drawn without regard to class the mean of 100 images would spread by 0.05.
    """
    labels = np.repeat([0, 1], 50)
    found = mean_interval(1.0 - labels, labels)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_the_spread_is_the_classes_spreads_together() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 140])
    right = (rng.random(200) < np.where(labels, 0.9, 0.4)).astype(float)
    found = mean_interval(right, labels, draws=20000)
    variance = sum(images * right[labels == k].var() for k, images in ((0, 60), (1, 140))) / 200**2
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.05)


def test_the_basic_interval_mirrors_the_draws() -> None:
    drawn = np.linspace(0.1, 0.3, 1001)
    percentile, basic = interval(0.12, drawn), interval(0.12, drawn, "basic")
    assert (percentile.low, percentile.high) == (pytest.approx(0.105), pytest.approx(0.295))
    assert (basic.low, basic.high) == (0, pytest.approx(0.135))


@pytest.mark.parametrize(("count", "fewest"), [(30, 0.91), (100, 0.925)])
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(
    count: int, fewest: float
) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(1000):
        found = mean_interval(rng.beta(2, 5, count), seed=seed, draws=500)
        held += found.low <= 2 / 7 <= found.high
    assert fewest <= held / 1000 <= 0.965


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]]])
def test_values_without_a_mean_are_named(values: list[float]) -> None:
    with pytest.raises(ConfigError, match="expected finite values"):
        mean_interval(values)


def test_clusters_are_drawn_as_a_whole_in_the_stratum_of_most_of_their_images() -> None:
    strata = np.array([0, 0, 1, 1, 1, 0, 1])
    clusters = np.array([5, 5, 5, 9, 9, 7, 8])
    (drawn,) = weights(strata, draws=200, seed=1, clusters=clusters)
    # Clusters 5 and 7 are in stratum 0, clusters 8 and 9 in stratum 1: two drawn of each two.
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 1] == drawn[:, 2]).all()
    assert (drawn[:, 3] == drawn[:, 4]).all()
    assert (drawn[:, 0] + drawn[:, 5] == 2).all()
    assert (drawn[:, 3] + drawn[:, 6] == 2).all()
    assert set(drawn[:, 0]) == {0, 1, 2}


def test_clusters_of_one_image_are_no_clusters() -> None:
    values = np.random.default_rng(0).random(7)
    clustered = mean_interval(values, LABELS, clusters=np.array([3, 4, 5, 6, 7, 8, 9]))
    assert clustered == mean_interval(values, LABELS)


def test_an_interval_of_clusters_is_as_wide_as_their_means_spread() -> None:
    """Forty clusters of 25 equal values are 40 values, not 1,000."""
    means = np.random.default_rng(0).normal(size=40)
    values, clusters = np.repeat(means, 25), np.repeat(np.arange(40), 25)
    assert mean_interval(values, clusters=clusters) == _close(mean_interval(means))


@pytest.mark.parametrize("clustered", [True, False])
def test_only_clusters_hold_the_true_mean_where_images_depend_on_each_other(
    clustered: bool,
) -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 10)
    held = 0
    for seed in range(300):
        values = np.repeat(rng.normal(size=40), 10) + rng.normal(size=400)
        found = mean_interval(
            values, draws=400, seed=seed, clusters=clusters if clustered else None
        )
        held += found.low <= 0 <= found.high
    assert held / 300 >= 0.9 if clustered else held / 300 < 0.7


def test_a_single_cluster_is_drawn_by_its_images() -> None:
    values = np.array([0.0, 1.0] * 20)
    one = mean_interval(values, clusters=np.zeros(40, dtype=np.int64))
    assert one == mean_interval(values)
    assert one.high - one.low > 0.2
    assert share_interval(values, np.zeros(40, dtype=np.int64)) == share_interval(values)


def test_a_cluster_that_is_alone_in_its_stratum_is_drawn_by_its_images() -> None:
    # Two patients of ten images, one per class: nothing would vary.
    labels, patients = np.repeat([0, 1], 10), np.repeat([7, 3], 10)
    (drawn,) = weights(labels, draws=200, seed=1, clusters=patients)
    (images,) = weights(labels, draws=200, seed=1)
    np.testing.assert_array_equal(drawn, images)
    # A third patient, of class 1: class 1 draws whole patients, class 0 images.
    labels, patients = np.repeat([0, 1, 1], 10), np.repeat([7, 3, 5], 10)
    (drawn,) = weights(labels, draws=200, seed=1, clusters=patients)
    assert (drawn[:, :10].sum(axis=1) == 10).all()
    assert drawn[:, :10].std(axis=1).max() > 0
    for patient in (drawn[:, 10:20], drawn[:, 20:]):
        assert (patient == patient[:, :1]).all()
    assert (drawn[:, 10:].sum(axis=1) == 20).all()


def test_images_of_few_clusters_that_are_all_right_are_no_certainty() -> None:
    found = share_interval(np.ones(60), np.repeat(np.arange(3), 20))
    assert found == share_interval(np.ones(3))
    none = share_interval(np.zeros(60), np.repeat(np.arange(3), 20))
    assert none == share_interval(np.zeros(3))
