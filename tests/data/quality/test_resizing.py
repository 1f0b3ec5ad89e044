"""What the fit to the input costs, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seewhy.data.decoding.fit import Fit
from seewhy.data.quality.resizing import ResizingCost, resizing_cost, resizing_sentences

SIZES = np.array([[100, 200], [100, 100], [120, 90]])


def test_the_median_share_outside_the_middle_square() -> None:
    # 200 × 100: half is outside; 100 × 100: nothing; 90 × 120: a quarter.
    assert resizing_cost(SIZES, Fit(64)) == ResizingCost(cropped=0.25)
    assert resizing_cost(np.array([[10, 10]]), Fit(64)) == ResizingCost()
    assert resizing_cost(np.zeros((0, 2), dtype=np.int64), Fit(64)) == ResizingCost()


def test_the_share_of_padding_and_the_change_of_proportions() -> None:
    assert resizing_cost(SIZES, Fit(64, "pad")) == ResizingCost(padded=0.25)
    # 2, 1 and 4/3.
    cost = resizing_cost(SIZES, Fit(64, "squash"))
    assert (cost.cropped, cost.padded) == (0, 0)
    assert cost.stretched == pytest.approx(4 / 3)


def test_the_input_has_proportions_too() -> None:
    # Twice as wide as high: the first fits, half of the second's height is outside, and of the
    # third, 3 wide and 4 high, 1 − 1.5/4.
    wide = (64, 128)
    assert resizing_cost(SIZES, Fit(wide)) == ResizingCost(cropped=0.5)
    assert resizing_cost(SIZES[[0]], Fit(wide, "pad")) == ResizingCost()
    assert resizing_cost(SIZES[[2]], Fit(wide)).cropped == pytest.approx(1 - 1.5 / 4)
    assert resizing_cost(SIZES[[2]], Fit(wide, "squash")).stretched == pytest.approx(4 / 1.5)


def test_only_much_that_is_cropped_is_a_warning() -> None:
    assert resizing_sentences(ResizingCost(cropped=0.25), Fit(64)) == []
    assert resizing_sentences(ResizingCost(padded=0.9), Fit(64, "pad")) == []
    assert resizing_sentences(ResizingCost(cropped=0.44), Fit(64)) == [
        "The crop to the square in the middle removes 0.44 of an image (median): what is near the "
        "edges is not seen. To show whole pictures, run with --set input.resize=pad; or crop the "
        "pictures around the object first."
    ]
    (sentence,) = resizing_sentences(ResizingCost(cropped=0.44), Fit((64, 96)))
    assert sentence.startswith("The crop to the input's proportions removes 0.44 of an image")
