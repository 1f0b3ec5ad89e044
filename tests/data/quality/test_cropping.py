"""What the crop removes, by hand."""

from __future__ import annotations

import numpy as np

from seewhy.data.quality.cropping import cropped_share, cropping_sentences


def test_the_median_share_outside_the_middle_square() -> None:
    # 200 × 100: half is outside; 100 × 100: nothing; 90 × 120: a quarter.
    assert cropped_share(np.array([[100, 200], [100, 100], [120, 90]])) == 0.25
    assert cropped_share(np.array([[10, 10]])) == 0
    assert cropped_share(np.zeros((0, 2), dtype=np.int64)) == 0


def test_only_much_is_a_warning() -> None:
    assert cropping_sentences(0.25) == []
    assert cropping_sentences(0.44) == [
        "The crop to the square in the middle removes 0.44 of an image (median): what is near the "
        "edges is not seen. Crop the pictures around the object first."
    ]
