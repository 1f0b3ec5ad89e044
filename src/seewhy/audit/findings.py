"""Findings in words and pictures: what a confirmed candidate means to the reader of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.confirmation import ConfirmedCandidate
from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.discovery.details import places_in, reduced
from seewhy.audit.image_pools import ImagePools
from seewhy.audit.inference import FEWEST_OTHERS, Effect
from seewhy.audit.interventions import exchanged
from seewhy.audit.object_evidence import object_evidence
from seewhy.storage.schemas.audit import (
    AuditKind,
    CarrierScore,
    ClassAudit,
    EffectRecord,
    Finding,
    ObjectEvidence,
)
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import count, listing, share

EXAMPLES = 4
# A box that spans this much of both sides has no one place.
WIDE = 0.6
BORDER, ANYWHERE = "the border of the image", "varying places"
_PREPOSITIONS = {BORDER: "along", ANYWHERE: "at"}

_WHAT: dict[AuditKind, str] = {
    "detail": "details repeated at one place",
    "moving detail": "details repeated at varying places",
    "place": "the place where the evidence for one class differs most from that for others",
    "colour": "colours",
    "texture": "fine textures around the middle",
}


def describe_finding(
    data: Dataset,
    predictions: Predictions,
    confirmed: ConfirmedCandidate,
    outside: Mapping[int, float],
) -> Finding:
    """Describe a confirmed candidate, with the accuracy on the test images that carry it.

    For `outside`, see `object_evidence`.
    """
    candidate, insertion = confirmed.candidate, confirmed.insertion
    assert confirmed.verdict in ("shortcut", "needs judgement")
    detail, ablation = candidate.detail, confirmed.ablation
    with_it, without_it = _scores(data, predictions, candidate)
    objects = object_evidence(data, candidate, outside)
    return Finding(
        kind=candidate.kind,
        verdict=confirmed.verdict,
        sentence=_sentence(data.classes[candidate.label], confirmed, objects),
        where=where_in_words(candidate),
        box=list(candidate.box) if candidate.box else None,
        carriers=[data.ids[i] for i in candidate.carriers],
        share=detail.own if detail else None,
        share_of_others=detail.others if detail else None,
        insertion=_effect(insertion.effect, confirmed.insertion_p),
        other_patches=insertion.other_patches,
        own_patches=insertion.own_patches,
        ablation=_effect(ablation, confirmed.ablation_p) if ablation else None,
        range=confirmed.span,
        usual=confirmed.usual,
        with_it=with_it,
        without_it=without_it,
        objects=objects,
        examples=min(EXAMPLES, insertion.design.recipients.size),
    )


def where_in_words(candidate: Candidate) -> str:
    """Say where a candidate is, ``the lower left corner``."""
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
    """Add the preposition to what `where_in_words` returns, ``in the lower left corner``."""
    return f"{_PREPOSITIONS.get(where, 'in')} {where}"


def examples(pools: ImagePools, confirmed: ConfirmedCandidate) -> NDArray[np.uint8]:
    """Return the pairs with the largest effect: donor, recipient before, after; (n, 3, S, S, 3)."""
    design = confirmed.insertion.design
    order = np.argsort(-confirmed.insertion.change.ravel(), kind="stable")[:EXAMPLES]
    recipients = design.recipients.ravel()[order]
    donors = design.donors[order // design.recipients.shape[1]]
    after = exchanged(pools, confirmed.candidate, recipients, donors, donors)
    before, given = np.asarray(pools.pixels[recipients]), np.asarray(pools.pixels[donors])
    return np.stack([given, before, after], axis=1)


def searched(
    names: Sequence[str], classes: Sequence[ClassAudit], pools: ImagePools, candidates: int
) -> str:
    """Say in sentences what was searched, in which images, and where these were too few."""
    found, screened = len(pools.numbers["discovery"]), len(pools.numbers["screening"])
    confirmed = len(pools.numbers["confirmation"]) + len(pools.numbers["extra_donors"])
    parts = [
        f"Searched in every class: {'; '.join(_WHAT.values())}.",
        f"Disjoint sets of images: {found} for discovery, {screened} for screening, {confirmed} "
        f"for confirmation. {count(candidates, 'candidate')} "
        f"{'was' if candidates == 1 else 'were'} tested.",
    ]
    few = [one.name for one in classes if one.verdict == "too few images"]
    if few:
        parts.append(f"Too few images to decide: {listing(few)}.")
    joined = [names[label] for label in pools.joined if names[label] not in few]
    if joined:
        parts.append(
            f"Training images were added to the few validation images for confirmation: "
            f"{listing(joined)}."
        )
    if len(names) <= FEWEST_OTHERS:
        parts.append(
            "With so few classes the usual effect in this data set cannot be estimated, so colours "
            "and textures need your judgement."
        )
    return " ".join(parts)


def _sentence(name: str, confirmed: ConfirmedCandidate, objects: ObjectEvidence | None) -> str:
    """Return the finding in a few short sentences: what, where, and its effect in numbers."""
    candidate, effect = confirmed.candidate, confirmed.insertion.effect
    judge = confirmed.verdict == "needs judgement"
    place = where_in_words(candidate)
    control, alone, how_often = "images of other classes", "", ""
    if candidate.detail is not None:
        what, control = f"a detail {spot_in_words(place)}", "other patches"
        how_often = f", in {_percent(candidate.detail.own)} of its images"
    elif candidate.kind == "place":
        what = f"the content of {place}"
    else:
        what, alone = place, " alone"
    parts = [
        f"{'Possible shortcut' if judge else 'Shortcut'} for '{name}': {what}{how_often}.",
        f"Inserted{alone} into images of other classes, it changes the prediction to '{name}' in "
        f"{_percent(effect.turned)} of them ({control}: {_percent(effect.turned_control)}).",
    ]
    cost = confirmed.ablation
    if candidate.detail is not None and cost is not None and cost.low > 0:
        parts.append(
            f"Ablated from its own images, it lowers their probability of '{name}' by "
            f"{share(cost.change)}."
        )
    if objects is not None:
        parts += _off_the_object(objects)
    if judge:
        parts.append(f"It may be part of how '{name}' looks: please judge.")
    return " ".join(parts)


def _off_the_object(objects: ObjectEvidence) -> list[str]:
    """Say where the cue and the evidence for the class are, by the masks."""
    said = []
    if objects.placed_off is not None:
        images = count(objects.placed or objects.images, "image")
        said.append(f"it lies off the object in {_percent(objects.placed_off)} of {images}")
    if objects.evidence_off is not None:
        said.append(f"{_percent(objects.evidence_off)} of the map's energy is off the object")
    return [f"By the object masks, {' and '.join(said)}."] if said else []


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _effect(effect: Effect, p: float | None) -> EffectRecord:
    return EffectRecord(**{**asdict(effect), "p": p})


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
    """Count images and return the share that is correct, from bool (n,)."""
    return CarrierScore(images=len(right), accuracy=float(right.mean()) if len(right) else None)
