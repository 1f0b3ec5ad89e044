"""Sentences about calibration, agreement of predictions and maps, and folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seewhy.evaluation.statements import EvaluationResults, between, number, significant
from seewhy.storage.schemas.comparison import (
    ClassifierPair,
    FoldComparison,
    FoldDifference,
    MapAgreement,
)
from seewhy.wording import count, listing, p_value, share, signed

# With more pairs than this only the most and the least similar are described.
MOST_PAIRS = 3


def calibration(found: EvaluationResults) -> Iterator[str]:
    """Say whether the confidence of each backbone matches its accuracy."""
    for slug in found.ranked():
        stage = found.evaluations[slug].stages["finetuning"]
        given = stage.calibration
        if given is None:
            continue
        error = f"expected calibration error {share(given.error.value, 3)}"
        if given.error.value <= given.error_if_calibrated_high:
            yield (
                f"{found.subject(slug)} is well calibrated, as far as "
                f"{count(stage.images, 'test image')} can show ({error})."
            )
        else:
            much = "over" if given.confidence > stage.accuracy.value else "under"
            yield (
                f"{found.subject(slug)} is {much}confident: mean confidence "
                f"{share(given.confidence)}, accuracy {share(stage.accuracy.value)} ({error}, "
                f"{between(given.error)})."
            )
        scaling = stage.temperature
        if scaling and scaling.temperature and scaling.scaled:
            yield (
                f"Temperature scaling{found.of(slug)} (T = {scaling.temperature:.2f}, fitted on "
                f"{count(scaling.images, 'validation image')}) changes this error to "
                f"{share(scaling.scaled.error.value, 3)}."
            )


def agreement(found: EvaluationResults) -> Iterator[str]:
    """Say how often backbones make the same prediction."""
    pairs = [pair for pair in found.pairs if pair.stage == "finetuning"]
    for pair in _most_and_least(pairs, [pair.agreement for pair in pairs]):
        kappa = "" if pair.kappa is None else f" (Cohen's kappa {number(pair.kappa)})"
        one, two = found.names[pair.first], found.names[pair.second]
        yield (
            f"{one} and {two} make the same prediction for {share(pair.agreement)} of the test "
            f"images{kappa}; both are wrong on {count(pair.both_wrong, 'image')}."
        )


def maps(found: EvaluationResults) -> Iterator[str]:
    """Say how faithful maps are, how similar between backbones, how fine-tuning moved them."""
    for slug in found.ranked():
        measured = found.records[slug].faithfulness
        if measured:
            yield f"Faithfulness of the maps{found.of(slug)}: {measured.verdict}."
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
        most = ""
        if len(moved.class_shift) > 1:
            far = max(moved.class_shift, key=lambda one: moved.class_shift[one])
            most = f", most for {far} ({share(moved.class_shift[far])})"
        yield (
            f"Fine-tuning moved the centre of the maps{found.of(slug)} by "
            f"{share(moved.shift.value)} of the image side on average{most}. Maps before and after "
            f"{_alike(moved.agreement)}."
        )


def folds(found: EvaluationResults) -> Iterator[str]:
    """Say the accuracy of each backbone over folds, or seeds."""
    for one in found.folds:
        stage = "fine-tuning" if one.stage == "finetuning" else "adaptation"
        order = sorted(one.backbones, key=lambda slug: -one.backbones[slug].mean)
        means = [
            f"{f'{found.names[slug]} ' if len(found.names) > 1 else ''}"
            f"{share(one.backbones[slug].mean, 3)} ± {share(one.backbones[slug].deviation, 3)}"
            for slug in order
        ]
        times = count(len(one.repetitions), one.over.removesuffix("s"))
        if one.left_out is None:
            yield (
                f"Accuracy of {stage} over {times}, mean ± standard deviation: {listing(means)}."
            )
        else:
            best = one.backbones[order[0]]
            lowest = one.repetitions[best.values.index(min(best.values))]
            yield (
                f"With each value of {one.left_out!r} left out of training, accuracy of {stage} "
                f"on the images left out is {listing(means)} (mean ± standard deviation over "
                f"{len(one.repetitions)}); the lowest is {share(min(best.values), 3)}, for "
                f"{lowest}."
            )
        yield from _tested(found, one)


def _tested(found: EvaluationResults, one: FoldComparison) -> Iterator[str]:
    if one.test is None:
        if len(one.backbones) > 1 and one.untested:
            yield f"No test is possible over these {one.over}: {one.untested}."
        return
    tested = [pair for pair in one.pairs if pair.p_holm is not None]
    folds = one.test == "corrected t"
    test = "corrected resampled t-test" if folds else "paired t-test"
    test += ", Holm-corrected" if len(tested) > 1 else ""
    # Seeds share all their images: a difference over them may be specific to these images.
    where = "significantly" if folds else "by more than the variation between seeds"
    end = "" if folds else "; this holds for these images only"
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
            f"{len(apart)} of {len(tested)} pairs of backbones {verb} {where} ({test}): {named}"
            f"{end}."
        )


def _both(found: EvaluationResults, pair: FoldDifference) -> str:
    return f"{found.names[pair.first]} and {found.names[pair.second]}"


def _alike(found: MapAgreement) -> str:
    """Say how similar maps are."""
    if found.pearson is None or found.overlap is None:
        return "cannot be compared"
    text = f"correlate at {number(found.pearson.value)}"
    if found.pearson_other_image is not None:
        text += f" ({number(found.pearson_other_image)} for two different images)"
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
