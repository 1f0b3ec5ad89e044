"""Sentences about calibration, agreement of answers and maps, and folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seewhy.evaluation.statements import EvaluationResults, between, correlation, significant
from seewhy.storage.schemas.comparison import (
    ClassifierPair,
    FoldComparison,
    FoldDifference,
    MapAgreement,
)
from seewhy.wording import count, listing, p_value, share, signed

# With more pairs than this only the most and the least alike are spoken of.
MOST_PAIRS = 3


def calibration(found: EvaluationResults) -> Iterator[str]:
    """Say whether each backbone is as right as it is sure."""
    for slug in found.ranked():
        stage = found.evaluations[slug].stages["finetuning"]
        name, given = found.names[slug], stage.calibration
        if given is None:
            continue
        error = f"expected calibration error {share(given.error.value, 3)}"
        if given.error.value <= given.error_if_calibrated_high:
            yield (
                f"{name} is as right as it is sure, as far as {count(stage.images, 'test image')} "
                f"can show ({error})."
            )
        else:
            much = (
                "surer than it is right"
                if given.confidence > stage.accuracy.value
                else ("righter than it is sure")
            )
            yield (
                f"{name} is {much}: mean confidence {share(given.confidence)}, accuracy "
                f"{share(stage.accuracy.value)} ({error}, {between(given.error)})."
            )
        scaling = stage.temperature
        if scaling and scaling.temperature and scaling.scaled:
            yield (
                f"Temperature scaling of {name} (T = {scaling.temperature:.2f}, fitted on "
                f"{count(scaling.images, 'validation image')}) takes the error to "
                f"{share(scaling.scaled.error.value, 3)}."
            )


def agreement(found: EvaluationResults) -> Iterator[str]:
    """Say how often backbones give the same answer."""
    pairs = [pair for pair in found.pairs if pair.stage == "finetuning"]
    for pair in _most_and_least(pairs, [pair.agreement for pair in pairs]):
        kappa = "" if pair.kappa is None else f" (Cohen's kappa {correlation(pair.kappa)})"
        one, two = found.names[pair.first], found.names[pair.second]
        wrong = pair.both_wrong
        yield (
            f"{one} and {two} give the same answer for {share(pair.agreement)} of the test "
            f"images{kappa}; {count(wrong, 'image')} {'is' if wrong == 1 else 'are'} named "
            f"wrongly by both."
        )


def maps(found: EvaluationResults) -> Iterator[str]:
    """Say how faithful maps are, how alike those of backbones, how they moved in fine-tuning."""
    for slug in found.ranked():
        measured = found.records[slug].faithfulness
        if measured:
            yield f"Faithfulness of {found.names[slug]}'s maps: {measured.verdict}."
    pairs = [pair for pair in found.pairs if pair.stage == "finetuning" and pair.maps]
    values = [pair.maps.pearson.value if pair.maps and pair.maps.pearson else 0 for pair in pairs]
    for pair in _most_and_least(pairs, values):
        if pair.maps and pair.maps.pearson:
            names = f"{found.names[pair.first]} and {found.names[pair.second]}"
            yield f"The maps of {names} for the same image and class {_alike(pair.maps)}."
    for slug in found.ranked():
        moved = found.changes[slug].maps
        if moved is None or moved.shift is None or moved.agreement.pearson is None:
            continue
        name = found.names[slug]
        text = (
            f"Fine-tuning moved the centre of {name}'s maps by {share(moved.shift.value)} of the "
            f"image's side on average; before and after they {_alike(moved.agreement)}"
        )
        if len(moved.class_shift) > 1:
            most = max(moved.class_shift, key=lambda one: moved.class_shift[one])
            text += f". They moved most in {most} ({share(moved.class_shift[most])})"
        yield f"{text}."


def folds(found: EvaluationResults) -> Iterator[str]:
    """Say how backbones do over folds, or seeds."""
    for one in found.folds:
        stage = "fine-tuning" if one.stage == "finetuning" else "adaptation"
        order = sorted(one.backbones, key=lambda slug: -one.backbones[slug].mean)
        said = [
            f"{found.names[slug]} {share(one.backbones[slug].mean, 3)} ± "
            f"{share(one.backbones[slug].deviation, 3)}"
            for slug in order
        ]
        times = count(len(one.repetitions), one.over.removesuffix("s"))
        yield f"Accuracy of {stage} over {times}, mean ± deviation: {listing(said)}."
        yield from _tested(found, one)


def _tested(found: EvaluationResults, one: FoldComparison) -> Iterator[str]:
    if one.test is None:
        if len(one.backbones) > 1 and one.untested:
            yield f"Over these no test is possible: {one.untested}."
        return
    tested = [pair for pair in one.pairs if pair.p_holm is not None]
    folds = one.test == "corrected t"
    test = "corrected resampled t-test" if folds else "paired t-test"
    test += ", corrected after Holm" if len(tested) > 1 else ""
    # Seeds share all their images: what differs over them may be chance of these images.
    where = "significantly over them" if folds else "over them by more than the seeds do"
    end = "" if folds else "; of other images this says nothing"
    apart = [pair for pair in tested if significant(pair.p_holm or 0.0)]
    if len(tested) == 1:
        pair = tested[0]
        verdict = "differ" if apart else "do not differ"
        yield (
            f"{_both(found, pair)} {verdict} {where} ({signed(pair.difference, 3)}, {test}, "
            f"{p_value(pair.p or 0.0)}){end}."
        )
    elif not apart:
        yield f"None of the {len(tested)} pairs of backbones differs {where} ({test}){end}."
    else:
        verb = "differs" if len(apart) == 1 else "differ"
        named = "; ".join(
            f"{_both(found, pair)} ({signed(pair.difference, 3)}, {p_value(pair.p_holm or 0.0)})"
            for pair in apart
        )
        yield (
            f"Of {len(tested)} pairs of backbones {len(apart)} {verb} {where} ({test}): {named}"
            f"{end}."
        )


def _both(found: EvaluationResults, pair: FoldDifference) -> str:
    return f"{found.names[pair.first]} and {found.names[pair.second]}"


def _alike(found: MapAgreement) -> str:
    """Say how alike maps are, as what they do."""
    if found.pearson is None or found.overlap is None:
        return "cannot be compared"
    text = f"correlate at {correlation(found.pearson.value)}"
    if found.pearson_other_image is not None:
        text += f" ({correlation(found.pearson_other_image)} for two different images)"
    text += f" and share {share(found.overlap.value)} of their highest fifth"
    if found.overlap_by_chance is not None:
        text += f" ({share(found.overlap_by_chance)} by chance)"
    return text


def _most_and_least(
    pairs: Sequence[ClassifierPair], values: Sequence[float]
) -> list[ClassifierPair]:
    """Return all of a few pairs; of many the one with the highest and the lowest value."""
    if len(pairs) <= MOST_PAIRS:
        return list(pairs)
    order = sorted(range(len(pairs)), key=lambda k: -values[k])
    return [pairs[order[0]], pairs[order[-1]]]
