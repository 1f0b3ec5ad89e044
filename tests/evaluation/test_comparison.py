"""Comparisons put together from records, and each sentence against the numbers behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from seewhy.evaluation.comparison import compare, stage_change
from seewhy.evaluation.published_results import HUMAN_ACCURACY
from seewhy.evaluation.ranking import over_folds
from seewhy.evaluation.test_metrics import evaluate
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
    assert "+0.250 (95 % interval +0.250 to +0.250), is significant" in ranking
    assert "allows an accuracy as low as 0.98" in _said(found, "caution")
    stages = _said(found, "stages")
    assert "Fine-tuning took A from 0.500 to 1.000 (+0.500" in stages
    assert "Recall of B by class: most gained cat (+0.50), dog (+0.50) and fox (+0.50); " in stages
    assert "1 class lost, most elk (−0.50)." in stages
    assert "A knows all classes equally well (recall 1.00)." in _said(found, "classes")
    assert "B knows best cat (1.00), dog (1.00) and fox (1.00), and least elk (0.00)." in _said(
        found, "classes"
    )
    confusions = _said(found, "confusions")
    assert "A makes no mistake on the test images." in confusions
    assert "B: its only kind of mistake is elk taken for cat (40 of 40)." in confusions
    assert "lies 0.10 above validation accuracy in adaptation (0.90 against 0.80)" in _said(
        found, "overfitting"
    )
    assert "it overfits" in _said(found, "overfitting")
    assert "A and B give the same answer for 0.75 of the test images" in _said(found, "agreement")
    assert "0 images are named wrongly by both" in _said(found, "agreement")
    assert not _said(found, "people")


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
    assert "A knows best ant (1.00), bee (0.90) and cat (0.80), and least fox (0.10)" in said
    assert "All 3 backbones know best: ant and bee." in said
    assert "All 3 backbones know least: dog and fox." in said


def test_people_are_there_for_cifar10s_classes_alone() -> None:
    names = tuple(HUMAN_ACCURACY)
    labels = np.repeat(np.arange(10), 100)
    predicted = labels.copy()
    predicted[:20] = 1  # 80 of 100 airplanes, against 0.94
    predicted[100:104] = 2  # 96 of 100 automobiles, against 0.97: chance
    found = _compared({"a": _with_answers(predicted, predicted, labels, 10)}, names, draws=200)
    said = _said(found, "people")
    assert "A stays below people's accuracy in 2 of 10 classes, in 1 of them by more" in said
    assert "The widest gap is in airplane: 0.80 against 0.94." in said
    perfect = {"a": _with_answers(labels, labels, labels, 10)}
    assert "at least as accurate as people in every class" in _said(
        _compared(perfect, names, draws=20), "people"
    )


def test_the_verdict_on_faithfulness_is_said(make: Make) -> None:
    verdict = "better than random on 3 of 4 measures"
    measured = Faithfulness.model_construct(verdict=verdict)
    one = replace(make(np.repeat(np.arange(4), 10), 4), faithfulness=measured)
    assert f"Faithfulness of A's maps: {verdict}." in _said(_compared({"a": one}, BEASTS), "maps")


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
        "Of 2 pairs of backbones 2 differ significantly over them (corrected resampled t-test, "
        "corrected after Holm): A and B (+0.365, p < 0.001); B and C (+0.135, p < 0.001)." in said
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
        "None of the 3 pairs of backbones differs significantly over them (corrected resampled "
        "t-test, corrected after Holm)." in said
    )
    assert "A and B differ over them by more than the seeds do (+0.161, paired" in said
    assert said.endswith("; of other images this says nothing.")


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
