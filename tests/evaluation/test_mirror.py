"""Averages over images and their mirror images, against predictions of the images alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from seewhy.evaluation.calibration import at_temperature, fit_temperature
from seewhy.evaluation.ensemble import Member, average
from seewhy.evaluation.mirror import evaluate_mirror
from seewhy.storage.schemas.predictions import Predictions

CLASSES = ("left", "right")


def predictions(labels: list[int], sure_of_first: list[float], prefix: str = "id") -> Predictions:
    first = np.array(sure_of_first)
    ids = tuple(f"{prefix}{k}" for k in range(len(labels)))
    rows = np.stack([first, 1 - first], axis=1).astype(np.float32)
    return Predictions(ids, np.array(labels), rows)


# Three of four images are right alone, the average of each with its mirror image is right always.
LABELS = [0, 0, 1, 1]
ALONE = predictions(LABELS, [0.75, 0.4375, 0.25, 0.125])
MIRRORED = predictions(LABELS, [0.75, 0.6875, 0.25, 0.125])
HELD = [0, 0, 0, 1, 1]
HELD_ALONE = predictions(HELD, [0.9, 0.8, 0.4, 0.3, 0.1], "held")
HELD_MIRRORED = predictions(HELD, [0.7, 0.9, 0.3, 0.2, 0.6], "held")


def test_worked_out_by_hand() -> None:
    test, held = average([ALONE, MIRRORED]), average([HELD_ALONE, HELD_MIRRORED])
    np.testing.assert_allclose(test.probabilities[:, 0], [0.75, 0.5625, 0.25, 0.125])
    found = evaluate_mirror(Member(ALONE, HELD_ALONE, 2.0), test, held, CLASSES, draws=50)
    assert found.scores.accuracy.value == 1.0
    assert found.pair.difference.value == 0.25
    assert (found.pair.first_only, found.pair.second_only, found.pair.p) == (1, 0, 1.0)
    assert (found.pair.first, found.pair.second) == ("mirrored", "plain")
    # Its own temperature, of the averages of the validation images.
    temperature = fit_temperature(held.labels, held.probabilities)
    assert temperature is not None
    assert temperature != fit_temperature(held.labels, HELD_ALONE.probabilities)
    scaling = found.scores.temperature
    assert scaling is not None
    assert scaling.temperature == temperature
    ours = log_loss(LABELS, at_temperature(test.probabilities, temperature))
    theirs = log_loss(LABELS, at_temperature(ALONE.probabilities, 2.0))
    assert found.log_loss.first.value == pytest.approx(ours)
    assert found.log_loss.second.value == pytest.approx(theirs)
    assert found.log_loss.difference.value == pytest.approx(ours - theirs)
    assert found.sentence.startswith(
        "Averaged over each image and its mirror image, the accuracy is 1.000, which does not "
        "differ significantly from that of the images alone (difference +0.250, 95 % CI "
    )


def test_a_network_that_sees_no_difference_changes_nothing() -> None:
    found = evaluate_mirror(
        Member(ALONE, HELD_ALONE, fit_temperature(np.array(HELD), HELD_ALONE.probabilities)),
        average([ALONE, ALONE]),
        average([HELD_ALONE, HELD_ALONE]),
        CLASSES,
        draws=50,
    )
    assert (found.pair.difference.value, found.pair.p) == (0, 1)
    assert found.log_loss.first == found.log_loss.second
    assert found.log_loss.difference.high == found.log_loss.difference.low == 0


def test_where_no_temperature_can_be_fitted_the_probabilities_stay() -> None:
    right = predictions(HELD, [0.9, 0.8, 0.7, 0.3, 0.1], "held")
    found = evaluate_mirror(Member(ALONE, right), MIRRORED, right, CLASSES, draws=50)
    assert found.scores.temperature is not None
    assert found.scores.temperature.temperature is None
    assert found.log_loss.first.value == pytest.approx(
        log_loss(LABELS, MIRRORED.probabilities.astype(np.float64))
    )


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        evaluate_mirror(Member(ALONE, HELD_ALONE), HELD_ALONE, HELD_ALONE, CLASSES)
