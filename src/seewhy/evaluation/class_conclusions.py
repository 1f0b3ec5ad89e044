"""Sentences about classes: highest and lowest recall, confusions, human accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from seewhy.evaluation.published_results import HUMAN_ACCURACY, has_cifar10_classes
from seewhy.evaluation.statements import EvaluationResults
from seewhy.storage.schemas.evaluation import ConfusionCell
from seewhy.wording import count, listing, share, signed

SHOWN = 3
# More names than this in one sentence are counted instead.
MOST_NAMES = 6


def best_and_worst(found: EvaluationResults) -> Iterator[str]:
    """Say for which classes the recall of each backbone is highest and lowest."""
    for slug in found.ranked():
        recall = _recall(found, slug)
        if len(recall) < 2:
            continue
        if len(set(recall.values())) == 1:
            same = share(max(recall.values()))
            yield f"Recall{found.of(slug)} is the same for all classes ({same})."
            continue
        best, worst = _extremes(recall)
        ends = _with_recall(best, recall), _with_recall(worst, recall)
        yield f"Recall{found.of(slug)} is highest for {ends[0]}, and lowest for {ends[1]}."


def shared(found: EvaluationResults) -> Iterator[str]:
    """Say which classes have the highest and the lowest recall in all backbones."""
    if len(found.names) < 2:
        return
    recalls = [_recall(found, slug) for slug in found.names]
    if any(len(set(recall.values())) < 2 for recall in recalls):
        return
    whose = "both backbones" if len(recalls) == 2 else f"all {len(recalls)} backbones"
    for k, end in enumerate(("highest", "lowest")):
        chosen = [_extremes(recall)[k] for recall in recalls]
        common = [name for name in found.classes if all(name in names for names in chosen)]
        if common:
            yield f"Recall is among the {end} in {whose} for {_names(common)}."
        else:
            yield f"No class is among those with the {end} recall in {whose}."


def confusions(found: EvaluationResults) -> Iterator[str]:
    """Say each backbone's most frequent errors, and whether they are the same."""
    tops: list[tuple[str, str] | None] = []
    for slug in found.ranked():
        stage = found.evaluations[slug].stages["finetuning"]
        wrong = [cell for cell in stage.confusion if cell.label != cell.predicted]
        wrong.sort(key=lambda cell: -cell.images)
        tops.append((wrong[0].label, wrong[0].predicted) if wrong else None)
        if not wrong:
            yield f"No errors{found.of(slug)} on the test images."
            continue
        images = {name: one.images for name, one in stage.classes.items()}
        errors = [_error(cell, images[cell.label]) for cell in wrong[:SHOWN]]
        kind = "Only type of error" if len(wrong) == 1 else "Most frequent errors"
        yield f"{kind}{found.of(slug)}: {listing(errors)}."
    if len(tops) > 1 and tops[0] and all(top == tops[0] for top in tops):
        label, predicted = tops[0]
        yield f"Every backbone has the same most frequent error: {label} predicted as {predicted}."


def changed(found: EvaluationResults, slug: str) -> Iterator[str]:
    """Say for which classes fine-tuning increased and decreased recall most."""
    change = {name: one.value for name, one in found.changes[slug].recall.items()}
    order = sorted(change, key=lambda name: -change[name])
    gained = [name for name in order if change[name] > 0]
    lost = [name for name in reversed(order) if change[name] < 0]
    if not gained and not lost:
        return
    up, down = "increased for no class", "decreased for no class"
    if gained:
        up = f"increased most for {_with_change(gained, change)}"
    if lost:
        classes = count(len(lost), "class", "classes")
        down = f"decreased for {classes}, most for {_with_change(lost, change)}"
    yield f"Recall{found.of(slug)} {up}; it {down}."


def people(found: EvaluationResults) -> Iterator[str]:
    """Say where recall is below human accuracy, where the classes are CIFAR-10's."""
    if not has_cifar10_classes(found.classes):
        return
    for slug in found.ranked():
        scores = found.evaluations[slug].stages["finetuning"].classes
        tested = {name: one.recall for name, one in scores.items() if one.images}
        below = [name for name in tested if tested[name].value < HUMAN_ACCURACY[name]]
        surely = [name for name in below if tested[name].high < HUMAN_ACCURACY[name]]
        rest = [name for name in tested if name not in below]
        if not below:
            yield f"Recall{found.of(slug)} is at least human accuracy in every class."
            continue
        widest = max(below, key=lambda one: HUMAN_ACCURACY[one] - tested[one].value)
        yield (
            f"Recall{found.of(slug)} is below human accuracy in {len(below)} of {len(tested)} "
            f"classes, in {len(surely)} of them by more than the 95 % CI"
            f"{f'; it reaches human accuracy for {listing(rest)}' if rest else ''}. The largest "
            f"gap is for {widest}: {share(tested[widest].value)} against "
            f"{share(HUMAN_ACCURACY[widest])}."
        )


def _recall(found: EvaluationResults, slug: str) -> dict[str, float]:
    """Return recall after fine-tuning, of the classes that have test images."""
    scores = found.evaluations[slug].stages["finetuning"].classes
    return {name: one.recall.value for name, one in scores.items() if one.images}


def _extremes(recall: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the best and worst classes: three each, fewer of few classes, more with ties."""
    shown = min(SHOWN, len(recall) // 2)
    values = sorted(recall.values())
    least, most = values[shown - 1], values[-shown]
    if least >= most:
        # Ties span both ends: only the extreme values themselves are used.
        least, most = values[0], values[-1]
    best = [name for name in recall if recall[name] >= most]
    worst = [name for name in recall if recall[name] <= least]
    return sorted(best, key=lambda name: -recall[name]), sorted(worst, key=recall.__getitem__)


def _with_recall(names: list[str], recall: Mapping[str, float]) -> str:
    ends = sorted({share(recall[names[0]]), share(recall[names[-1]])})
    if len(names) > MOST_NAMES:
        span = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[1]}"
        return f"{len(names)} classes (recall {span})"
    return listing([f"{name} ({share(recall[name])})" for name in names])


def _with_change(names: list[str], change: Mapping[str, float]) -> str:
    return listing([f"{name} ({signed(change[name])})" for name in names[:SHOWN]])


def _names(names: list[str]) -> str:
    return listing(names) if len(names) <= MOST_NAMES else count(len(names), "class", "classes")


def _error(cell: ConfusionCell, images: int) -> str:
    return f"{cell.label} predicted as {cell.predicted} ({cell.images} of {images})"
