"""Backbones trained again on folds or with several seeds: whose figures are set beside whose.

Takes `FoldsRecord` apart into accuracies over the same repetitions; ``ranking.py`` tests them.
"""

from __future__ import annotations

from collections.abc import Mapping

from seewhy.evaluation.ranking import over_folds
from seewhy.evaluation_records import Over, OverFolds
from seewhy.records import STAGES, FoldsRecord, Repeat, Repeats, Stage


def over_repetitions(records: Mapping[str, FoldsRecord | None]) -> list[OverFolds]:
    """Compare backbones over their folds and over their seeds, a stage at a time.

    Over folds the accuracy is that of the held-out images, over seeds that of the test images.

    Parameters
    ----------
    records : mapping of str to FoldsRecord or None
        By slug. Backbones that were trained or scored on other images than the first one that
        has any are left out: their figures are not paired.

    Returns
    -------
    list of OverFolds
        Empty where nothing was trained again.
    """
    known = {slug: one for slug, one in records.items() if one}
    division = next((one.division for one in known.values()), None)
    paired = {slug: one for slug, one in known.items() if one.division == division}
    kinds: tuple[Over, ...] = ("folds", "seeds")
    found = [_over(over, stage, paired) for over in kinds for stage in STAGES]
    return [one for one in found if one]


def _over(over: Over, stage: Stage, records: Mapping[str, FoldsRecord]) -> OverFolds | None:
    repeats: dict[str, Repeats] = {}
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
    # Seeds share all their images: their spread is that of the seeds alone.
    ratio = 1 / (len(names) - 1) if over == "folds" and len(names) > 1 else 0.0
    return over_folds(stage, accuracies, names, ratio, over)


def _accuracy(repeat: Repeat, over: Over) -> float:
    rates = repeat.held_out if over == "folds" and repeat.held_out else repeat.test
    return rates.accuracy
