"""Averages of predictions worked out by hand, and against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss

from seewhy.evaluation.calibration import at_temperature, nll
from seewhy.evaluation.ensemble import Member, average, best_by_validation, evaluate_ensemble
from seewhy.statistics.bootstrap import mean_interval
from seewhy.storage.schemas.predictions import Predictions

CLASSES = ("cat", "dog", "frog")
NAMES = {"a": "Net A", "b": "Net B"}
DRAWS = 50


def predictions(labels: list[int], rows: list[list[float]], prefix: str = "id") -> Predictions:
    ids = tuple(f"{prefix}{k}" for k in range(len(labels)))
    return Predictions(ids, np.array(labels), np.array(rows, dtype=np.float32))


# Three images of the three classes; at temperature 1/2 rows are squared and divided by their sum.
FIRST = predictions([0, 1, 2], [[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])
SECOND = predictions([0, 1, 2], [[0.25, 0.5, 0.25], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])


def answers(count: int, skill: float, seed: int, prefix: str = "id") -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    logits = rng.normal(0, 1, (count, len(CLASSES)))
    logits[np.arange(count), labels] += skill
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions(labels.tolist(), rows.tolist(), prefix)


def member(skill: float, seed: int, temperature: float | None = None) -> Member:
    return Member(
        answers(90, skill, seed), answers(60, skill, seed + 100, "held"), temperature=temperature
    )


@pytest.mark.parametrize("temperatures", [None, [None, None], [1.0, 1.0]])
def test_two_members_of_three_images_by_hand(temperatures: list[float | None] | None) -> None:
    found = average([FIRST, SECOND], temperatures)
    by_hand = [[0.375, 0.375, 0.25], [0.25, 0.75, 0.0], [0.375, 0.25, 0.375]]
    np.testing.assert_allclose(found.probabilities, by_hand, atol=1e-7)
    assert found.probabilities.dtype == np.float32
    assert (found.ids, found.labels.tolist()) == (FIRST.ids, [0, 1, 2])


def test_each_member_has_its_own_temperature_by_hand() -> None:
    """1/4 : 1/16 : 1/16 is 2/3 : 1/6 : 1/6, and so on; at temperature 2 roots are taken."""
    squared = [[2 / 3, 1 / 6, 1 / 6], [1 / 2, 1 / 2, 0], [1 / 6, 1 / 6, 2 / 3]]
    low, high = 1 / (2 + 2**0.5), 2**0.5 / (2 + 2**0.5)
    rooted = [[low, high, low], [0, 1, 0], [high, low, low]]
    found = average([FIRST, SECOND], [0.5, 2.0])
    np.testing.assert_allclose(
        found.probabilities, (np.array(squared) + np.array(rooted)) / 2, atol=1e-6
    )
    # The other way round it is another average.
    assert not np.allclose(average([FIRST, SECOND], [2.0, 0.5]).probabilities, found.probabilities)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.one_of(st.none(), st.floats(0.1, 10)), st.integers(1, 4))
def test_the_average_of_one_with_itself_is_that_one(
    seed: int, temperature: float | None, times: int
) -> None:
    one = answers(12, 1.0, seed)
    found = average([one] * times, [temperature] * times).probabilities
    expected = (
        one.probabilities if temperature is None else at_temperature(one.probabilities, temperature)
    )
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_the_log_loss_of_an_average_is_at_most_the_mean_of_its_members(number: int) -> None:
    """−log is convex (Jensen): no choice of members is worse than one of them by chance."""
    members = [answers(30, 1.0, seed) for seed in range(number)]
    labels = members[0].labels
    losses = [nll(labels, one.probabilities.astype(np.float64)) for one in members]
    found = average(members).probabilities.astype(np.float64)
    assert nll(labels, found) <= np.mean(losses) + 1e-6


def test_other_images_are_refused() -> None:
    for other in (
        replace(SECOND, ids=("x", "y", "z")),
        replace(SECOND, labels=np.array([0, 1, 1])),
    ):
        with pytest.raises(ValueError, match="same images in the same order"):
            average([FIRST, other])


def test_the_best_single_one_is_chosen_by_validation_and_never_by_test() -> None:
    good, bad = answers(60, 5.0, 0, "held"), answers(60, 0.0, 1, "held")
    members = {
        "a": Member(test=answers(90, 6.0, 2), validation=bad),
        "b": Member(test=answers(90, 0.0, 3), validation=good),
    }
    assert best_by_validation(members) == "b"
    found, _ = evaluate_ensemble(members, NAMES, CLASSES, draws=DRAWS)
    assert found.best == "b"
    assert found.pair is not None
    assert (found.pair.first, found.pair.second) == ("ensemble", "b")


def test_of_equal_accuracies_the_lower_calibrated_log_loss_counts() -> None:
    sure = predictions([0, 1], [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]], "held")
    unsure = predictions([0, 1], [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], "held")
    members = {"a": Member(FIRST, unsure), "b": Member(FIRST, sure)}
    assert best_by_validation(members) == "b"
    # At this temperature the sure one becomes less sure than the other.
    members["b"] = replace(members["b"], temperature=10.0)
    assert best_by_validation(members) == "a"
    # Of equals in both, the first.
    assert best_by_validation({"b": members["a"], "a": members["a"]}) == "b"


def test_the_record_agrees_with_scikit_learn() -> None:
    members = {"a": member(1.0, 1, 1.5), "b": member(1.2, 2, None)}
    found, given_ = evaluate_ensemble(members, NAMES, CLASSES, seed=3, draws=DRAWS)
    rows = (
        at_temperature(members["a"].test.probabilities, 1.5) + members["b"].test.probabilities
    ) / 2
    np.testing.assert_allclose(given_.probabilities, rows, atol=1e-6)
    labels, predicted = given_.labels, rows.argmax(axis=1)
    assert found.scores.accuracy.value == pytest.approx(accuracy_score(labels, predicted))
    assert found.scores.f1.value == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found.scores.calibration is not None
    assert found.scores.calibration.nll == pytest.approx(log_loss(labels, rows), rel=1e-5)
    assert [one.backbone for one in found.members] == ["a", "b"]
    assert [(one.weight, one.temperature) for one in found.members] == [(0.5, 1.5), (0.5, None)]
    assert found.best == best_by_validation(members)
    assert found.pair is not None
    assert found.log_loss is not None
    single = members[found.best].test if found.best else None
    assert single is not None
    apart = accuracy_score(labels, predicted) - accuracy_score(labels, single.predicted)
    assert found.pair.difference.value == pytest.approx(apart)
    assert found.log_loss.first.value == pytest.approx(log_loss(labels, rows), rel=1e-5)
    temperature = members[found.best or ""].temperature or 1.0
    alone = log_loss(labels, at_temperature(single.probabilities, temperature))
    assert found.log_loss.second.value == pytest.approx(alone, rel=1e-5)
    difference = found.log_loss.difference
    assert difference.value == pytest.approx(log_loss(labels, rows) - alone, abs=1e-5)
    # Images are paired: the interval is that of each image's difference.
    own = np.log(rows[np.arange(90), labels])
    theirs = np.log(at_temperature(single.probabilities, temperature)[np.arange(90), labels])
    by_hand = mean_interval(theirs - own, labels, DRAWS, 3)
    assert (difference.low, difference.high) == pytest.approx((by_hand.low, by_hand.high), abs=1e-5)


def test_groups_are_drawn_and_exchanged_as_a_whole() -> None:
    members = {"a": member(0.5, 1), "b": member(0.6, 2)}
    alone, _ = evaluate_ensemble(members, NAMES, CLASSES, draws=DRAWS)
    groups = np.arange(90) // 9
    grouped = {
        slug: replace(one, test=replace(one.test, groups=groups)) for slug, one in members.items()
    }
    found, given_ = evaluate_ensemble(grouped, NAMES, CLASSES, draws=DRAWS)
    assert given_.groups is not None
    assert found.pair is not None
    assert alone.pair is not None
    assert found.pair.test == "sign-flip" != alone.pair.test
    assert found.pair.difference.value == alone.pair.difference.value
    assert found.log_loss != alone.log_loss


@pytest.mark.parametrize(
    ("skills", "words"),
    [
        ((0.0, 9.0), "which is significantly lower than that of Net B"),
        ((1.0, 1.1), "which does not differ significantly from that of"),
    ],
)
def test_the_sentence_says_whether_it_is_beyond_chance(
    skills: tuple[float, float], words: str
) -> None:
    # Nets that are sure at random: the first outvotes the second where it is surer.
    members = {"a": member(skills[0], 1, 0.02), "b": member(skills[1], 2, 30.0)}
    found, _ = evaluate_ensemble(members, NAMES, CLASSES, draws=DRAWS)
    assert words in found.sentence
    assert "the best backbone on the validation images (difference " in found.sentence
    assert found.sentence.endswith(", 90 test images).")


def test_an_average_that_is_better_says_so() -> None:
    members = {str(k): member(0.9, k) for k in range(8)}
    found, _ = evaluate_ensemble(members, {k: k for k in members}, CLASSES, draws=DRAWS)
    assert found.pair is not None
    assert found.pair.p < 0.05
    assert "which is significantly higher than that of " in found.sentence


def test_without_validation_images_nothing_is_compared() -> None:
    none = replace(FIRST, ids=(), labels=FIRST.labels[:0],
                   probabilities=FIRST.probabilities[:0])  # fmt: skip
    members = {"a": Member(FIRST, none), "b": Member(SECOND, none)}
    found, _ = evaluate_ensemble(members, NAMES, CLASSES, draws=DRAWS)
    assert (found.best, found.pair, found.log_loss) == (None, None, None)
    assert "no validation images choose a backbone to compare it with" in found.sentence
