"""Sentences about classes: best and worst, what backbones share, confusions, people."""

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
    """Say which classes each backbone knows best and least."""
    for slug in found.ranked():
        recall = _recall(found, slug)
        name = found.names[slug]
        if len(recall) < 2:
            continue
        if len(set(recall.values())) == 1:
            yield f"{name} knows all classes equally well (recall {share(max(recall.values()))})."
            continue
        best, worst = _extremes(recall)
        ends = _with_recall(best, recall), _with_recall(worst, recall)
        yield f"{name} knows best {ends[0]}, and least {ends[1]}."


def shared(found: EvaluationResults) -> Iterator[str]:
    """Say which of their best and worst classes all backbones share."""
    if len(found.names) < 2:
        return
    recalls = [_recall(found, slug) for slug in found.names]
    if any(len(set(recall.values())) < 2 for recall in recalls):
        return
    whose = "Both backbones" if len(recalls) == 2 else f"All {len(recalls)} backbones"
    for k, (place, verb) in enumerate((("best", "know best"), ("least", "know least"))):
        chosen = [_extremes(recall)[k] for recall in recalls]
        common = [name for name in found.classes if all(name in names for names in chosen)]
        if common:
            yield f"{whose} {verb}: {_names(common)}."
        else:
            yield f"No class is among those that every backbone knows {place}."


def confusions(found: EvaluationResults) -> Iterator[str]:
    """Say each backbone's most frequent mistakes, and whether they are the same."""
    tops: list[tuple[str, str] | None] = []
    for slug in found.ranked():
        stage = found.evaluations[slug].stages["finetuning"]
        wrong = [cell for cell in stage.confusion if cell.label != cell.predicted]
        wrong.sort(key=lambda cell: -cell.images)
        tops.append((wrong[0].label, wrong[0].predicted) if wrong else None)
        if not wrong:
            yield f"{found.names[slug]} makes no mistake on the test images."
            continue
        images = {name: one.images for name, one in stage.classes.items()}
        said = [_mistake(cell, images[cell.label]) for cell in wrong[:SHOWN]]
        kind = "only kind of mistake is" if len(wrong) == 1 else "most frequent mistakes are"
        yield f"{found.names[slug]}: its {kind} {listing(said)}."
    if len(tops) > 1 and tops[0] and all(top == tops[0] for top in tops):
        label, taken = tops[0]
        yield f"Most often every backbone takes {label} for {taken}."


def changed(found: EvaluationResults, slug: str) -> Iterator[str]:
    """Say in which classes fine-tuning gained and lost most."""
    change = {name: one.value for name, one in found.changes[slug].recall.items()}
    order = sorted(change, key=lambda name: -change[name])
    gained = [name for name in order if change[name] > 0]
    lost = [name for name in reversed(order) if change[name] < 0]
    parts = []
    if gained:
        said = [f"{name} ({signed(change[name])})" for name in gained[:SHOWN]]
        parts.append(f"most gained {listing(said)}")
    if lost:
        said = [f"{name} ({signed(change[name])})" for name in lost[:SHOWN]]
        parts.append(f"{count(len(lost), 'class', 'classes')} lost, most {listing(said)}")
    else:
        parts.append("no class lost")
    yield f"Recall of {found.names[slug]} by class: {'; '.join(parts)}."


def people(found: EvaluationResults) -> Iterator[str]:
    """Say where backbones stay below people, where the classes are CIFAR-10's."""
    if not has_cifar10_classes(found.classes):
        return
    for slug in found.ranked():
        scores = found.evaluations[slug].stages["finetuning"].classes
        tested = {name: one.recall for name, one in scores.items() if one.images}
        below = [name for name in tested if tested[name].value < HUMAN_ACCURACY[name]]
        surely = [name for name in below if tested[name].high < HUMAN_ACCURACY[name]]
        rest = [name for name in tested if name not in below]
        name = found.names[slug]
        if not below:
            yield f"{name} is at least as accurate as people in every class."
            continue
        text = f"{name} stays below people's accuracy in {len(below)} of {len(tested)} classes"
        if len(surely) == len(below):
            text += ", each time by more than the 95 % interval"
        else:
            text += f", in {len(surely) or 'none'} of them by more than the 95 % interval"
        if rest:
            text += f"; it reaches it in {listing(rest)}"
        widest = max(below, key=lambda one: HUMAN_ACCURACY[one] - tested[one].value)
        yield (
            f"{text}. The widest gap is in {widest}: {share(tested[widest].value)} against "
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
        # Ties reach from one end to the other: only the ends themselves are told apart.
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


def _names(names: list[str]) -> str:
    return listing(names) if len(names) <= MOST_NAMES else count(len(names), "class", "classes")


def _mistake(cell: ConfusionCell, images: int) -> str:
    return f"{cell.label} taken for {cell.predicted} ({cell.images} of {images})"
