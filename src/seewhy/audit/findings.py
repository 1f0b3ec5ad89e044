"""Findings in words and pictures: what a proven candidate means to the reader of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.candidates import Candidate
from seewhy.audit.details import places_in, reduced
from seewhy.audit.prove import Pool, Proof, exchanged
from seewhy.audit.verdict import Effect
from seewhy.audit_records import (
    AuditKind,
    CarrierScore,
    ClassAudit,
    EffectRecord,
    Finding,
    Verdict,
)
from seewhy.records import Dataset, Predictions
from seewhy.wording import count, share

EXAMPLES = 4
# A box that spans this much of both sides has no one place.
WIDE = 0.6
BORDER, ANYWHERE = "the border of the image", "places that differ"
_PREPOSITIONS = {BORDER: "along", ANYWHERE: "at"}

_WHAT: dict[AuditKind, str] = {
    "detail": "details that look the same at one place",
    "moving detail": "details that look the same at places that differ",
    "place": "places where one class's evidence lies and others' does not",
    "colour": "colours",
    "texture": "fine textures around the middle",
}


_COMPARED = {True: "with other images' instead", False: "without it"}


@dataclass(frozen=True)
class Told:
    """A proven candidate: its proof, the corrected p, the verdict, what removing it costs."""

    proof: Proof
    p: float
    verdict: Verdict
    removal: Effect


def tell(data: Dataset, predictions: Predictions, told: Told) -> Finding:
    """Put a proven candidate into words, and say how its carriers among the test images fare.

    Parameters
    ----------
    data : Dataset
    predictions : Predictions
        Of the test images.
    told : Told
    """
    candidate, verdict = told.proof.candidate, told.verdict
    assert verdict != "none"
    detail = candidate.detail
    with_it, without_it = _scores(data, predictions, candidate)
    return Finding(
        kind=candidate.kind,
        verdict=verdict,
        sentence=_sentence(data.classes[candidate.label], told),
        where=where_in_words(candidate),
        box=list(candidate.box) if candidate.box else None,
        carriers=[data.ids[i] for i in candidate.carriers],
        share=detail.own if detail else None,
        share_of_others=detail.others if detail else None,
        transplant=_effect(told.proof.effect, told.p),
        strange=told.proof.strange,
        removal=_effect(told.removal, told.p),
        with_it=with_it,
        without_it=without_it,
        examples=min(EXAMPLES, len(told.proof.takers)),
    )


def where_in_words(candidate: Candidate) -> str:
    """Say where a candidate lies, ``the lower left corner``."""
    if candidate.kind == "colour":
        return "the colours of the whole image"
    if candidate.kind == "texture":
        return "the fine texture around the middle"
    if candidate.box is None:
        return ANYWHERE
    top, left, bottom, right = candidate.box
    if bottom - top >= WIDE and right - left >= WIDE:
        return BORDER
    middle = ((top + bottom) / 2, (left + right) / 2)
    row, column = (0 if part < 1 / 3 else 2 if part > 2 / 3 else 1 for part in middle)
    across, down = ("left", "", "right")[column], ("upper", "", "lower")[row]
    if across and down:
        return f"the {down} {across} corner"
    if across or down:
        return f"the {across or down} edge"
    return "the middle"


def spot_in_words(where: str) -> str:
    """Put the fitting preposition to what `where_in_words` says, ``in the lower left corner``."""
    return f"{_PREPOSITIONS.get(where, 'in')} {where}"


def examples(pool: Pool, proof: Proof) -> NDArray[np.uint8]:
    """Return the pairs that were moved most, (n, 3, S, S, 3): giver, taker before, taker after."""
    order = np.argsort(-proof.change, kind="stable")[:EXAMPLES]
    takers, givers = proof.takers[order], proof.givers[order]
    after = exchanged(pool, proof.candidate, takers, givers, givers)
    before, given = np.asarray(pool.pixels[takers]), np.asarray(pool.pixels[givers])
    return np.stack([given, before, after], axis=1)


def searched(classes: Sequence[ClassAudit], candidates: int, images: int) -> str:
    """Say in sentences what was looked for and how strong an effect would have been found."""
    worst: dict[AuditKind, float] = {}
    for one in classes:
        for kind, value in one.detectable.items():
            worst[kind] = max(worst.get(kind, 0.0), value)
    if not candidates:
        return (
            f"Nothing could be tried: {count(images, 'validation image')} "
            "are too few, or no class has a candidate."
        )
    kinds = "; ".join(
        f"{what}{f' (an effect of {share(worst[kind])} or more)' if kind in worst else ''}"
        for kind, what in _WHAT.items()
    )
    return (
        f"Looked for, in every class: {kinds}. {count(candidates, 'candidate')} "
        f"{'was' if candidates == 1 else 'were'} tried on {count(images, 'validation image')}. "
        "The effects in brackets, changes of the class's probability, would have been found in "
        "nine of ten cases; a kind without one had no candidate."
    )


def _sentence(name: str, told: Told) -> str:
    """Return the finding as one plain sentence."""
    candidate, effect = told.proof.candidate, told.proof.effect
    moved = (
        f"turns {_percent(effect.turned)} of other classes' images into '{name}' "
        f"({_percent(effect.turned_without)} {_COMPARED[candidate.detail is None]})"
    )
    place = where_in_words(candidate)
    if candidate.detail is not None:
        carrying = f"{_percent(candidate.detail.own)} of its images"
        spot = spot_in_words(place)
        text = f"'{name}': {carrying} look the same {spot}; that detail alone {moved}"
        cost = told.removal.change
        if cost.value > 0:
            text += f", and without it its own images lose {share(cost.value)} of their probability"
        return text + "."
    if candidate.kind == "place":
        return f"'{name}': its evidence gathers in {place}; what lies there {moved}."
    return f"'{name}': carrying {place} over, and nothing else, {moved}."


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _effect(effect: Effect, p: float) -> EffectRecord:
    return EffectRecord(
        change=effect.change.value,
        low=effect.change.low,
        high=effect.change.high,
        p=p,
        turned=effect.turned,
        turned_without=effect.turned_without,
        images=effect.images,
    )


def _scores(
    data: Dataset, predictions: Predictions, candidate: Candidate
) -> tuple[CarrierScore | None, CarrierScore | None]:
    """Return the accuracy on the class's test images with and without a detail."""
    if candidate.detail is None:
        return None, None
    test = data.where("test")
    rows = np.flatnonzero(data.labels[test] == candidate.label)
    if not len(rows):
        return None, None
    places = places_in(reduced(data.pixels[test[rows]]), candidate.detail)
    carries = np.array([i in places for i in range(len(rows))])
    right = predictions.predicted[rows] == candidate.label
    return score(right[carries]), score(right[~carries])


def score(right: NDArray[np.bool_]) -> CarrierScore:
    """Count images and say how many of them are right, from bool (n,)."""
    return CarrierScore(images=len(right), accuracy=float(right.mean()) if len(right) else None)
