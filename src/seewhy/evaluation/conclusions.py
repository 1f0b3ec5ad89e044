"""What the numbers say, in plain sentences, as the paper's section 4.1 reads its results.

Sentences state only what the records hold, and call a difference significant only where a test
does. This file orders the topics and covers ranking, caution, stages and overfitting; classes are
in ``class_conclusions.py``, calibration, agreement, maps and folds in ``pair_conclusions.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import stats

from seewhy.evaluation import class_conclusions, pair_conclusions
from seewhy.evaluation.statements import (
    EvaluationResults,
    between,
    name_of_test,
    number,
    significant,
)
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.comparison import Sentence, Topic
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.schemas.training import Epoch
from seewhy.wording import count, listing, p_value, share, signed, some

# Below these numbers of test images, in all or per class, a sentence asks for caution.
FEW_IMAGES, FEW_OF_A_CLASS = 200, 20
FEW_GROUPS = 10  # likewise
# With fewer groups no way to exchange two classifiers is rarer than 5 %: 2 of 2 ** 5.
FEWEST_TESTED = 6
# Training accuracy this much above validation accuracy is called overfitting.
GAP = 0.05
STAGE_WORDS: dict[Stage, str] = {"adaptation": "adaptation", "finetuning": "fine-tuning"}


def read(found: EvaluationResults) -> list[Sentence]:
    """Return the sentences in reading order."""
    topics: list[tuple[Topic, Iterable[str]]] = [
        ("ranking", _ranking(found)),
        ("ranking", _significance(found)),
        ("caution", _caution(found)),
        ("stages", _stages(found)),
        ("overfitting", _overfitting(found)),
        ("classes", class_conclusions.best_and_worst(found)),
        ("classes", class_conclusions.shared(found)),
        ("confusions", class_conclusions.confusions(found)),
        ("people", class_conclusions.people(found)),
        ("calibration", pair_conclusions.calibration(found)),
        ("agreement", pair_conclusions.agreement(found)),
        ("maps", pair_conclusions.maps(found)),
        ("folds", pair_conclusions.folds(found)),
    ]
    return [Sentence(topic=topic, text=text) for topic, texts in topics for text in texts]


def _ranking(found: EvaluationResults) -> Iterator[str]:
    order = found.ranked()
    scores = {slug: found.evaluations[slug].stages["finetuning"].accuracy for slug in order}
    images = count(found.images, "test image")
    best = order[0]
    first = [slug for slug in order if scores[slug].value == scores[best].value]
    others = [slug for slug in order if slug not in first]
    names = listing([found.names[slug] for slug in first])
    reach = "reaches" if len(first) == 1 else "both reach" if len(first) == 2 else "all reach"
    text = (
        f"After fine-tuning {names} {reach} an accuracy of {share(scores[best].value, 3)} "
        f"on {images} ({between(scores[best])})"
    )
    if others:
        behind = [f"{found.names[slug]} ({share(scores[slug].value, 3)})" for slug in others]
        text += f", ahead of {listing(behind)}"
    yield f"{text}."


def _significance(found: EvaluationResults) -> Iterator[str]:
    pairs = [pair for pair in found.pairs if pair.stage == "finetuning"]
    if not pairs:
        return
    if len(pairs) == 1:
        (pair,) = pairs
        value, low, high = pair.difference.value, pair.difference.low, pair.difference.high
        # The better backbone is named first, so the difference loses its sign.
        low, high = (low, high) if value >= 0 else (-high, -low)
        verdict = "significant" if significant(pair.p_holm) else "not significant"
        yield (
            f"The difference in accuracy is {number(abs(value), 3)} (95 % CI {number(low, 3)} to "
            f"{number(high, 3)}, {name_of_test(pair.test)} {p_value(pair.p_holm)}): {verdict}."
        )
        return
    grouped = pairs[0].test == "sign-flip"
    name = "sign-flip test" if grouped else "McNemar's test"
    test = f"{name}, Holm-corrected"
    apart: list[str] = []
    alike: list[str] = []
    for pair in pairs:
        named = f"{found.names[pair.first]} and {found.names[pair.second]}"
        (apart if significant(pair.p_holm) else alike).append(f"{named} ({p_value(pair.p_holm)})")
    if not apart:
        yield f"None of the {len(pairs)} pairs of backbones differs significantly ({test})."
    elif not alike:
        yield f"All {len(pairs)} pairs of backbones differ significantly ({test})."
    else:
        verb = "differs" if len(apart) == 1 else "differ"
        yield (
            f"{len(apart)} of {len(pairs)} pairs of backbones {verb} significantly ({test}): "
            f"{'; '.join(apart)}."
        )
        yield f"Not significant: {'; '.join(alike)}."


def _caution(found: EvaluationResults) -> Iterator[str]:
    best = found.ranked()[0]
    stage = found.evaluations[best].stages["finetuning"]
    tested = {name: one.images for name, one in stage.classes.items() if one.images}
    fewest = min(tested.values())
    if found.images < FEW_IMAGES or fewest < FEW_OF_A_CLASS:
        yield (
            f"Small test set: {count(found.images, 'image')}, {fewest} in the smallest class. One "
            f"image changes accuracy by {share(1 / found.images, 3)} and the recall of that class "
            f"by {share(1 / fewest)}."
        )
    predictions = found.records[best].predictions["finetuning"]
    yield from _few_groups(predictions, found.classes)
    without = [name for name, one in stage.classes.items() if not one.images]
    if without:
        shown = listing(without[:5]) + f" and {len(without) - 5} others" * (len(without) > 5)
        yield f"No test images: {shown}. Their recall counts as 0 in the macro averages."
    if stage.accuracy.value in (0.0, 1.0):
        groups = predictions.groups
        units = found.images if groups is None else len(np.unique(groups))
        right = round(stage.accuracy.value * units)
        bounds = stats.binomtest(right, units).proportion_ci(0.95, "exact")
        end = f"down to {share(bounds.low)}" if right else f"up to {share(bounds.high)}"
        yield (
            f"{found.subject(best)} classifies {'all' if right else 'none'} of the test images "
            "correctly, so the bootstrap interval has no width; the exact binomial 95 % CI "
            f"{'' if groups is None else 'of the groups '}goes {end}."
        )


def _few_groups(predictions: Predictions, classes: Sequence[str]) -> Iterator[str]:
    """Say where groups are too few for what is drawn from them."""
    groups = predictions.groups
    if groups is None:
        return
    number = len(np.unique(groups))
    if number == 1:
        yield (
            "All test images are of one group, so intervals and tests take single images and say "
            "nothing about other groups."
        )
        return
    alone = [
        name
        for k, name in enumerate(classes)
        if len(np.unique(groups[predictions.labels == k])) == 1
    ]
    if alone:
        yield (
            f"All test images of {some(alone)} are of one group, so intervals take single images "
            "there and say nothing about other groups."
        )
    if number < FEW_GROUPS:
        tests = ", and no test can find a difference" if number < FEWEST_TESTED else ""
        too_narrow = "intervals from so few are too narrow"
        yield f"The test images are of {number} groups: {too_narrow}{tests}."


def _stages(found: EvaluationResults) -> Iterator[str]:
    for slug in found.ranked():
        accuracy = found.accuracy_of(slug)
        base = found.evaluations[slug].baseline
        before, after = (found.evaluations[slug].stages[s].accuracy.value for s in STAGES)
        if base is not None:
            first = base.accuracy.value
            verb = "improved" if before > first else "reduced" if before < first else "changed"
            yield (
                f"Adaptation {verb} {accuracy} from {share(first, 3)} (baseline) to "
                f"{share(before, 3)} ({signed(before - first, 3)})."
            )
        yield _fine_tuning(found, slug, before, after)
        yield from class_conclusions.changed(found, slug)


def _fine_tuning(found: EvaluationResults, slug: str, before: float, after: float) -> str:
    change = found.changes[slug]
    if before == after and not change.first_only + change.second_only:
        return f"Fine-tuning changed no prediction{found.of(slug)}."
    is_significant = significant(change.p)
    verb = "changed" if not is_significant else "improved" if after > before else "reduced"
    return (
        f"Fine-tuning {verb} {found.accuracy_of(slug)} from {share(before, 3)} to "
        f"{share(after, 3)} ({signed(change.accuracy.value, 3)}, {between(change.accuracy)}, "
        f"{name_of_test(change.test)} {p_value(change.p)})"
        f"{'' if is_significant else ', not significantly'}."
    )


def _overfitting(found: EvaluationResults) -> Iterator[str]:
    for slug in found.ranked():
        gaps: list[str] = []
        over = False
        for stage in STAGES:
            epoch = _shown_epoch(found.records[slug], stage)
            if epoch is None:
                continue
            gap = epoch.train_accuracy - epoch.validation_accuracy
            over |= gap > GAP
            side = "above" if gap > 0 else "below"
            far = "equal to" if share(abs(gap)) == "0.00" else f"{share(abs(gap))} {side}"
            gaps.append(
                f"{far} {'it' if gaps else 'validation accuracy'} in {STAGE_WORDS[stage]} "
                f"({share(epoch.train_accuracy)} against {share(epoch.validation_accuracy)})"
            )
        if gaps:
            verdict = ": overfitting" if over else ""
            yield f"Training accuracy{found.of(slug)} is {listing(gaps)}{verdict}."


def _shown_epoch(records: BackboneRecords, stage: Stage) -> Epoch | None:
    """Return the best epoch, else the last one; None where the stage has no epoch."""
    history, best = records.history[stage], records.metrics[stage].best_epoch
    return next((e for e in history if e.epoch == best), history[-1] if history else None)
