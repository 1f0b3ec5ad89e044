"""What the numbers say, in plain sentences, as the paper's section 4.1 reads its results.

Only what the records hold is said, and a difference is called one only where a test says so. This
file orders the topics and speaks of ranking, stages, overfitting and caution; classes are in
``reading_classes.py``, calibration, agreement, maps and folds in ``reading_pairs.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scipy import stats

from seewhy.evaluation import class_conclusions as reading_classes
from seewhy.evaluation import pair_conclusions as reading_pairs
from seewhy.evaluation.statements import EvaluationResults, between, significant
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.comparison import Sentence, Topic
from seewhy.storage.schemas.training import Epoch
from seewhy.wording import count, listing, p_value, share, signed

# Fewer test images than this, in all or of a class, and the sentences warn of it.
FEW_IMAGES, FEW_OF_A_CLASS = 200, 20
# Training accuracy this much above validation accuracy is called overfitting.
GAP = 0.05
STAGE_WORDS: dict[Stage, str] = {"adaptation": "adaptation", "finetuning": "fine-tuning"}


def read(found: EvaluationResults) -> list[Sentence]:
    """Return the sentences, in the order in which they are to be read."""
    said: list[tuple[Topic, Iterable[str]]] = [
        ("ranking", _ranking(found)),
        ("ranking", _significance(found)),
        ("caution", _caution(found)),
        ("stages", _stages(found)),
        ("overfitting", _overfitting(found)),
        ("classes", reading_classes.best_and_worst(found)),
        ("classes", reading_classes.shared(found)),
        ("confusions", reading_classes.confusions(found)),
        ("people", reading_classes.people(found)),
        ("calibration", reading_pairs.calibration(found)),
        ("agreement", reading_pairs.agreement(found)),
        ("maps", reading_pairs.maps(found)),
        ("folds", reading_pairs.folds(found)),
    ]
    return [Sentence(topic=topic, text=text) for topic, texts in said for text in texts]


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
    test = "McNemar's test" + (", corrected after Holm" if len(pairs) > 1 else "")
    apart: list[str] = []
    alike: list[str] = []
    for pair in pairs:
        named = f"{found.names[pair.first]} and {found.names[pair.second]}"
        (apart if significant(pair.p_holm) else alike).append(f"{named} ({p_value(pair.p_holm)})")
    if len(pairs) == 1:
        pair = pairs[0]
        verdict = "is significant" if apart else "is not significant"
        yield (
            f"The difference in accuracy, {signed(abs(pair.difference.value), 3)} "
            f"({_width(pair.difference.value, pair.difference.low, pair.difference.high)}), "
            f"{verdict} ({test}, {p_value(pair.p_holm)})."
        )
    elif not apart:
        yield f"None of the {len(pairs)} pairs of backbones differs significantly ({test})."
    elif not alike:
        yield f"All {len(pairs)} pairs of backbones differ significantly ({test})."
    else:
        verb = "differs" if len(apart) == 1 else "differ"
        yield (
            f"Of {len(pairs)} pairs of backbones {len(apart)} {verb} significantly ({test}): "
            f"{'; '.join(apart)}."
        )
        yield f"Not told apart: {'; '.join(alike)}."


def _width(value: float, low: float, high: float) -> str:
    """Write the interval of a difference whose sign was dropped."""
    ends = (low, high) if value >= 0 else (-high, -low)
    return f"95 % interval {signed(ends[0], 3)} to {signed(ends[1], 3)}"


def _caution(found: EvaluationResults) -> Iterator[str]:
    best = found.ranked()[0]
    stage = found.evaluations[best].stages["finetuning"]
    tested = {name: one.images for name, one in stage.classes.items() if one.images}
    fewest = min(tested.values())
    if found.images < FEW_IMAGES or fewest < FEW_OF_A_CLASS:
        yield (
            f"Read with caution: there {'is' if found.images == 1 else 'are'} "
            f"{count(found.images, 'test image')}, {fewest} of the smallest class, so one image "
            f"is {share(1 / found.images, 3)} of the accuracy and {share(1 / fewest)} of a "
            "class's recall."
        )
    without = [name for name, one in stage.classes.items() if not one.images]
    if without:
        shown = listing(without[:5]) + f" and {len(without) - 5} others" * (len(without) > 5)
        yield (
            f"Without test images: {shown}. The recall of such a class counts as 0 in the macro "
            "means."
        )
    if stage.accuracy.value in (0.0, 1.0):
        right = round(stage.accuracy.value * found.images)
        bounds = stats.binomtest(right, found.images).proportion_ci(0.95, "exact")
        which = "all" if right else "none"
        end = f"as low as {share(bounds.low)}" if right else f"as high as {share(bounds.high)}"
        yield (
            f"{found.names[best]} names {which} of the test images rightly, where the bootstrap "
            f"cannot see any doubt; the exact binomial 95 % interval allows an accuracy {end}."
        )


def _stages(found: EvaluationResults) -> Iterator[str]:
    for slug in found.ranked():
        name, change = found.names[slug], found.changes[slug]
        base = found.evaluations[slug].baseline
        before, after = (found.evaluations[slug].stages[s].accuracy.value for s in STAGES)
        if base is not None:
            gain = before - base.accuracy.value
            side = "above" if gain > 0 else "below" if gain < 0 else "level with"
            far = f"{share(abs(gain), 3)} {side}" if gain else side
            yield f"Adaptation of {name} ends {far} the baseline's accuracy."
        if before == after and not change.first_only + change.second_only:
            yield f"Fine-tuning of {name} changed no answer."
            continue
        verdict = "significant" if significant(change.p) else "not significant"
        yield (
            f"Fine-tuning took {name} from {share(before, 3)} to {share(after, 3)} "
            f"({signed(change.accuracy.value, 3)}, 95 % interval "
            f"{signed(change.accuracy.low, 3)} to {signed(change.accuracy.high, 3)}; {verdict}, "
            f"McNemar's {p_value(change.p)})."
        )
        yield from reading_classes.changed(found, slug)


def _overfitting(found: EvaluationResults) -> Iterator[str]:
    for slug in found.ranked():
        said, over = [], False
        for stage in STAGES:
            epoch = _shown_epoch(found.records[slug], stage)
            if epoch is None:
                continue
            gap = epoch.train_accuracy - epoch.validation_accuracy
            over |= gap > GAP
            side = "above" if gap > 0 else "below"
            far = "level with" if share(abs(gap)) == "0.00" else f"{share(abs(gap))} {side}"
            said.append(
                f"{far} validation accuracy in {STAGE_WORDS[stage]} "
                f"({share(epoch.train_accuracy)} against {share(epoch.validation_accuracy)})"
            )
        if said:
            verdict = ": it overfits" if over else ""
            yield f"Training accuracy of {found.names[slug]} lies {listing(said)}{verdict}."


def _shown_epoch(records: BackboneRecords, stage: Stage) -> Epoch | None:
    """Return the best epoch, or the last where none beat the start; None where there is none."""
    history, best = records.history[stage], records.metrics[stage].best_epoch
    return next((e for e in history if e.epoch == best), history[-1] if history else None)
