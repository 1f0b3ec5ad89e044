"""Whether a search's best candidate is taken: only beyond chance, and never without folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from seewhy.errors import DataError
from seewhy.training.search.acceptance import HeldOut, judge, metric_difference

from .held_out import held_out


def test_a_candidate_is_taken_where_it_is_better_beyond_chance() -> None:
    found = judge(lambda: held_out(40, 4), "accuracy", 0, "head")
    # 36 of 400 images.
    assert found.accepted
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.09)
    assert (found.folds, found.images) == (3, 400)
    assert found.reason.startswith(
        "the best candidate was better than the configured head: +0.090 (+0.0"
    )
    assert found.reason.endswith("in accuracy on 400 images that 3 folds held out")


@pytest.mark.parametrize(("better", "worse"), [(10, 8), (4, 40), (0, 0)])
def test_within_chance_or_worse_what_is_configured_stays(better: int, worse: int) -> None:
    found = judge(lambda: held_out(better, worse), "accuracy", 0, "settings")
    assert not found.accepted
    assert found.difference is not None
    assert found.difference.value == pytest.approx((better - worse) / 400)
    assert found.reason.startswith(
        "the best candidate was not better beyond chance, so the configured settings stay: "
    )


def test_without_folds_what_is_configured_stays_and_the_reason_is_given() -> None:
    def compare() -> HeldOut:
        raise DataError("class 'cat' has 2 images, too few for 3 folds")

    found = judge(compare, "accuracy", 0, "head")
    assert not found.accepted
    assert found.difference is None
    assert found.reason == (
        "the configured head stays, since no folds could judge the best candidate: "
        "class 'cat' has 2 images, too few for 3 folds"
    )


def test_differences_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 300)
    one, other = (rng.dirichlet(np.ones(3), 300) for _ in range(2))
    given = HeldOut(labels, one, other)
    found = metric_difference(given, "accuracy", 0)
    expected = accuracy_score(labels, other.argmax(1)) - accuracy_score(labels, one.argmax(1))
    assert found.value == pytest.approx(expected)
    loss = metric_difference(given, "log_loss", 0)
    assert loss.value == pytest.approx(log_loss(labels, one) - log_loss(labels, other))
    assert loss.low < loss.value < loss.high


def test_images_that_depend_on_each_other_are_drawn_together() -> None:
    given = held_out(40, 4)
    # Groups of eight, of which the images fall on one side together.
    grouped = replace(given, clusters=np.arange(400) // 8)
    alone, together = (metric_difference(one, "accuracy", 0) for one in (given, grouped))
    assert alone.value == together.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
