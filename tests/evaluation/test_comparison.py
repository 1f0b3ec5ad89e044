"""Comparisons put together from records, and each sentence against the numbers behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from seewhy.evaluation.comparison import compare, stage_change
from seewhy.evaluation.performance import evaluate
from seewhy.evaluation.published_results import HUMAN_ACCURACY
from seewhy.evaluation.ranking import over_folds
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.comparison import Comparison
from seewhy.storage.schemas.faithfulness import Faithfulness
from seewhy.storage.schemas.predictions import Predictions

from .conftest import Make, make_backbone

BEASTS = ("cat", "dog", "elk", "fox")


def _compared(
    records: dict[str, BackboneRecords], classes: Sequence[str], draws: int = 60, **more: object
) -> Comparison:
    evaluations = {
        slug: evaluate(one.predictions, {}, None, classes, draws=draws)
        for slug, one in records.items()
    }
    names = {slug: slug.upper() for slug in records}
    return compare(records, evaluations, names, classes, draws=draws, **more)  # type: ignore[arg-type]


def _answering(predicted: Sequence[int], labels: Sequence[int], classes: int) -> Predictions:
    shares = np.full((len(labels), classes), 0.1 / (classes - 1), dtype=np.float32)
    shares[np.arange(len(labels)), list(predicted)] = 0.9
    return Predictions(tuple(f"id{k}" for k in range(len(labels))), np.array(labels), shares)


def _with_answers(
    adaptation: Sequence[int], finetuning: Sequence[int], labels: Sequence[int], classes: int
) -> BackboneRecords:
    found = {
        stage: _answering(predicted, labels, classes)
        for stage, predicted in zip(STAGES, (adaptation, finetuning), strict=True)
    }
    return replace(make_backbone(labels, classes), predictions=found)


def _said(comparison: Comparison, topic: str) -> str:
    return " ".join(one.text for one in comparison.sentences if one.topic == topic)


def test_every_pair_at_both_stages_and_holm_within_a_stage(make: Make) -> None:
    labels = np.repeat(np.arange(4), 30)
    records = {
        "a": make(labels, 4, (1.0, 3.0), 1),
        "b": make(labels, 4, (1.1, 1.2), 5),
        "c": make(labels, 4, (1.2, 2.0), 9),
    }
    found = _compared(records, BEASTS)
    named = [(pair.stage, pair.first, pair.second) for pair in found.pairs]
    both = [("a", "b"), ("a", "c"), ("b", "c")]
    assert named == [(stage, *pair) for stage in STAGES for pair in both]
    for stage in STAGES:
        pairs = [pair for pair in found.pairs if pair.stage == stage]
        least = min(pairs, key=lambda pair: pair.p)
        assert least.p_holm == pytest.approx(min(1, 3 * least.p))
    assert all(pair.maps and pair.maps.images == 120 for pair in found.pairs)
    assert found.images == 120
    assert Comparison.model_validate_json(found.model_dump_json(exclude_none=True)) == found


def test_a_stages_change_worked_out_by_hand() -> None:
    labels = [0, 0, 0, 0, 1, 1]
    before, after = [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 0, 1]
    found = stage_change(_with_answers(before, after, labels, 3), ("cat", "dog", "elk"), draws=200)
    assert (found.first_only, found.second_only) == (1, 2)
    assert found.accuracy.value == pytest.approx(1 / 6)
    # Of four cats one was right, then three; of two dogs both, then one. There are no elks.
    assert {name: one.value for name, one in found.recall.items()} == {"cat": 0.5, "dog": -0.5}
    assert found.recall["cat"].low < 0.5 < found.recall["cat"].high
    assert found.p == 1
    assert found.maps is not None
    assert found.maps.agreement.images == 6


def test_sentences_of_two_backbones_worked_out_by_hand() -> None:
    """Forty images of each beast; b takes every elk for a cat."""
    labels = np.repeat(np.arange(4), 40)
    half = np.where(np.arange(160) % 2, labels, (labels + 1) % 4)
    wrong = np.where(labels == 2, 0, labels)
    records = {
        "a": _with_answers(half, labels, labels, 4),
        "b": _with_answers(half, wrong, labels, 4),
    }
    found = _compared(records, BEASTS)
    ranking = _said(found, "ranking")
    assert "A reaches an accuracy of 1.000 on 160 test images" in ranking
    assert "ahead of B (0.750)" in ranking
    assert (
        "The difference in accuracy is 0.250 (95 % CI 0.250 to 0.250, McNemar p < 0.001): "
        "significant." in ranking
    )
    assert (
        "A classifies all of the test images correctly, so the bootstrap interval has no width; "
        "the exact binomial 95 % CI goes down to 0.98." in _said(found, "caution")
    )
    stages = _said(found, "stages")
    assert "Fine-tuning improved the accuracy of A from 0.500 to 1.000 (+0.500, 95 % CI" in stages
    assert "Recall of B increased most for cat (+0.50), dog (+0.50) and fox (+0.50); " in stages
    assert "it decreased for 1 class, most for elk (−0.50)." in stages
    classes = _said(found, "classes")
    assert "Recall of A is the same for all classes (1.00)." in classes
    assert (
        "Recall of B is highest for cat (1.00), dog (1.00) and fox (1.00), and lowest for elk "
        "(0.00)." in classes
    )
    confusions = _said(found, "confusions")
    assert "No errors of A on the test images." in confusions
    assert "Only type of error of B: elk predicted as cat (40 of 40)." in confusions
    overfitting = _said(found, "overfitting")
    assert (
        "Training accuracy of A is 0.10 above validation accuracy in adaptation (0.90 against "
        "0.80)" in overfitting
    )
    assert ": overfitting." in overfitting
    agreement = _said(found, "agreement")
    assert "A and B make the same prediction for 0.75 of the test images" in agreement
    assert "both are wrong on 0 images" in agreement
    assert not _said(found, "people")


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (1, "All test images are of one group, so intervals and tests take single images and say "),
        (
            5,
            "of 5 groups: intervals from so few are too narrow, and no test can find a difference.",
        ),
        (9, "The test images are of 9 groups: intervals from so few are too narrow."),
        (10, None),
    ],
)
def test_few_groups_ask_for_caution(groups: int, said: str | None) -> None:
    labels = np.repeat(np.arange(4), 40)
    answers = np.where(np.arange(160) % 5, labels, (labels + 1) % 4)
    records = _with_answers(answers, answers, labels, 4)
    of = np.arange(160) % groups
    grouped = replace(
        records, predictions={k: replace(v, groups=of) for k, v in records.predictions.items()}
    )
    found = _said(_compared({"a": grouped}, BEASTS), "caution")
    assert "group" not in found if said is None else said in found


def test_a_class_of_one_group_is_named() -> None:
    labels = np.repeat(np.arange(4), 40)
    records = _with_answers(labels, labels, labels, 4)
    of = np.where(labels == 2, 99, np.arange(160) % 20)
    grouped = replace(
        records, predictions={k: replace(v, groups=of) for k, v in records.predictions.items()}
    )
    found = _said(_compared({"a": grouped}, BEASTS), "caution")
    assert f"All test images of {BEASTS[2]} are of one group, so intervals take single" in found
    # 21 groups, all right: what is known is known of as many groups.
    bounds = stats.binomtest(21, 21).proportion_ci(0.95, "exact")
    assert f"exact binomial 95 % CI of the groups goes down to {bounds.low:.2f}." in found


def test_one_backbone_is_named_once() -> None:
    labels = np.repeat(np.arange(4), 40)
    half = np.where(np.arange(160) % 2, labels, (labels + 1) % 4)
    wrong = np.where(labels == 2, 0, labels)
    found = _compared({"net": _with_answers(half, wrong, labels, 4)}, BEASTS)
    said = [one.text for one in found.sentences]
    assert said[0].startswith("After fine-tuning NET reaches an accuracy of 0.750 on 160 ")
    assert not any("NET" in text for text in said[1:])
    assert any(text.startswith("Fine-tuning improved accuracy from 0.500 to") for text in said)
    assert "Only type of error: elk predicted as cat (40 of 40)." in said


def test_what_is_not_significant_is_said_to_be_a_change_only() -> None:
    labels = np.repeat(np.arange(4), 40)
    one_off = labels.copy()
    one_off[0] = 1
    found = _compared({"a": _with_answers(one_off, labels, labels, 4)}, BEASTS)
    said = _said(found, "stages")
    assert "Fine-tuning changed accuracy from 0.994 to 1.000 (+0.006, 95 % CI" in said
    assert "McNemar p = 1.00), not significantly." in said


def test_what_backbones_share() -> None:
    """The paper's reading: best and worst classes that every backbone has."""
    labels = np.repeat(np.arange(6), 10)
    names = ("ant", "bee", "cat", "dog", "elk", "fox")
    rights = {"a": (10, 9, 8, 3, 2, 1), "b": (9, 10, 1, 2, 8, 3), "c": (10, 9, 8, 1, 2, 3)}
    records = {}
    for slug, right in rights.items():
        predicted = labels.copy()
        for k, count in enumerate(right):
            predicted[10 * k + count : 10 * (k + 1)] = (k + 1) % 6
        records[slug] = _with_answers(labels, predicted, labels, 6)
    said = _said(_compared(records, names, draws=20), "classes")
    best = "Recall of A is highest for ant (1.00), bee (0.90) and cat (0.80)"
    assert f"{best}, and lowest for fox (0.10)" in said
    assert "Recall is among the highest in all 3 backbones for ant and bee." in said
    assert "Recall is among the lowest in all 3 backbones for dog and fox." in said


def test_people_are_there_for_cifar10s_classes_alone() -> None:
    names = tuple(HUMAN_ACCURACY)
    labels = np.repeat(np.arange(10), 100)
    predicted = labels.copy()
    predicted[:20] = 1  # 80 of 100 airplanes, against 0.94
    predicted[100:104] = 2  # 96 of 100 automobiles, against 0.97: chance
    found = _compared({"a": _with_answers(predicted, predicted, labels, 10)}, names, draws=200)
    said = _said(found, "people")
    assert (
        "Recall is below human accuracy in 2 of 10 classes, in 1 of them by more than the 95 % CI"
        in said
    )
    assert "The largest gap is for airplane: 0.80 against 0.94." in said
    perfect = {"a": _with_answers(labels, labels, labels, 10)}
    assert "Recall is at least human accuracy in every class." in _said(
        _compared(perfect, names, draws=20), "people"
    )


def test_the_verdict_on_faithfulness_is_said(make: Make) -> None:
    verdict = "better than random on 3 of 4 measures"
    measured = Faithfulness.model_construct(verdict=verdict)
    one = replace(make(np.repeat(np.arange(4), 10), 4), faithfulness=measured)
    assert f"Faithfulness of the maps: {verdict}." in _said(_compared({"a": one}, BEASTS), "maps")


def test_folds_are_read(make: Make) -> None:
    labels = np.repeat(np.arange(4), 10)
    records = {slug: make(labels, 4, seed=k) for k, slug in enumerate("abc")}
    scores = {"a": [0.9] * 8, "b": [0.5 + 0.01 * k for k in range(8)], "c": [0.4] * 8}
    found = over_folds("adaptation", scores, [f"fold {k}" for k in range(8)], 1 / 7)
    said = _said(_compared(records, BEASTS, 20, folds=[found]), "folds")
    assert "A 0.900 ± 0.000, B 0.535 ± 0.024 and C 0.400 ± 0.000" in said
    # A and C lie 0.5 apart throughout: without any spread nothing can be tested.
    assert "All" not in said
    assert (
        "2 of 2 pairs of backbones differ significantly (corrected resampled t-test, "
        "Holm-corrected): A and B (+0.365, p < 0.001); B and C (+0.135, p < 0.001)." in said
    )
    assert "Friedman" not in said


def test_folds_that_tell_nothing_apart_and_seeds_that_do(make: Make) -> None:
    labels = np.repeat(np.arange(4), 10)
    records = {slug: make(labels, 4, seed=k) for k, slug in enumerate("abc")}
    rng = np.random.default_rng(0)
    scores = {slug: (0.5 + 0.1 * rng.random(5)).tolist() for slug in "abc"}
    folds = over_folds("adaptation", scores, [f"fold {k}" for k in range(5)], 0.28)
    far = {slug: [one + 0.2 * (slug == "a") for one in scores[slug]] for slug in "ab"}
    seeds = over_folds("adaptation", far, [f"seed {k}" for k in range(5)], 0.0, "seeds")
    said = _said(_compared(records, BEASTS, 20, folds=[folds, seeds]), "folds")
    assert (
        "None of the 3 pairs of backbones differs significantly (corrected resampled t-test, "
        "Holm-corrected)." in said
    )
    assert "A and B differ by more than the variation between seeds (+0.161, paired" in said
    assert said.endswith("; this holds for these images only.")


@pytest.mark.parametrize("seed", range(16))
def test_sentences_are_sentences_for_any_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, classes, backbones = (int(rng.integers(*span)) for span in ((1, 12), (2, 6), (1, 5)))
    skills = [(-9.0, -9.0), (0.0, 1.0), (9.0, 2.0), (9.0, 9.0)][seed % 4]
    labels = rng.integers(0, classes, images)
    records = {f"n{k}": make_backbone(labels, classes, skills, seed + k) for k in range(backbones)}
    found = _compared(records, [f"c{k}" for k in range(classes)], draws=10)
    assert {"ranking", "caution", "stages", "confusions"} <= {one.topic for one in found.sentences}
    for one in found.sentences:
        text = one.text
        assert text[0].isupper()
        assert text.endswith(".")
        assert not re.search(r"nan|inf\b|None\b(?! of)|  |\(\)|\.\.|, \.|-0", text), text
        assert not re.search(r"\b1 (images|classes|pairs|repetitions)\b", text), text
        assert text.count("(") == text.count(")"), text
