"""Backbones trained again on folds or with several seeds: whose figures are set beside whose.

Takes `FoldsRecord` apart into accuracies over the same repetitions; ``ranking.py`` tests them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seewhy.evaluation.ranking import over_folds
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.comparison import FoldComparison, Over
from seewhy.storage.schemas.repetitions import FoldsRecord, RepetitionScores, StageRepetitions


def over_repetitions(records: Mapping[str, FoldsRecord | None]) -> list[FoldComparison]:
    """Compare backbones over their folds and over their seeds, a stage at a time.

    Over folds the accuracy is that of the held-out images, over seeds that of the test images.
    Backbones that were trained or scored on other images than the first one in `records` are left
    out: their figures are not paired.
    """
    known = {slug: one for slug, one in records.items() if one}
    division = next((one.division for one in known.values()), None)
    paired = {slug: one for slug, one in known.items() if one.division == division}
    kinds: tuple[Over, ...] = ("folds", "seeds")
    found = [_over(over, stage, paired) for over in kinds for stage in STAGES]
    return [one for one in found if one]


def _over(over: Over, stage: Stage, records: Mapping[str, FoldsRecord]) -> FoldComparison | None:
    repeats: dict[str, StageRepetitions] = {}
    for slug, one in records.items():
        at_stage = one.stages.get(stage)
        has = getattr(at_stage, over) if at_stage else None
        if has:
            repeats[slug] = has
    if not repeats:
        return None
    names = [one.name for one in next(iter(repeats.values())).repeats]
    accuracies = {
        slug: [_accuracy(one, over) for one in found.repeats]
        for slug, found in repeats.items()
        if [one.name for one in found.repeats] == names
    }
    # Paired trainings have the same images, so one backbone's numbers are everyone's.
    ratio = held_out_ratio(next(iter(repeats.values())).repeats) if over == "folds" else 0.0
    found = over_folds(stage, accuracies, names, ratio, over)
    left_out = next(iter(records.values())).left_out if over == "folds" else None
    return found.model_copy(update={"left_out": left_out})


def held_out_ratio(folds: Sequence[RepetitionScores]) -> float:
    """Return images held out over images trained on, the mean over all folds of a division.

    Images that stop a training early are not trained on. Each image is held out once, so the images
    that the k folds leave (to train on and to stop by) are k − 1 times all images.
    """
    left = [one.train + one.validation for one in folds]
    if len(folds) < 2:
        return 0.0
    every = sum(left) / (len(folds) - 1)
    shares = [(every - rest) / one.train for rest, one in zip(left, folds, strict=True)]
    return sum(shares) / len(folds)


def _accuracy(repeat: RepetitionScores, over: Over) -> float:
    rates = repeat.held_out if over == "folds" and repeat.held_out else repeat.test
    return rates.accuracy
