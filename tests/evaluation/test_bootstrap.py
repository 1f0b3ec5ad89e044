"""Bootstrap intervals against the spread they must have, and against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seewhy.evaluation.bootstrap import bootstrap, interval, mean_interval, weights

LABELS = np.array([2, 0, 2, 1, 0, 2, 2])


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
    monkeypatch.setattr("seewhy.evaluation.bootstrap._BLOCK", 21)
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
