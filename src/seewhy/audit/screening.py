"""Screening: every candidate is tried on a few images; what does too little is dropped.

Screening tests nothing: it spares confirmation, and so the correction for many tests, candidates
that do not matter. It also measures the usual effect in this data set, since colours and texture
are tried for every class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seewhy.audit.classifier_access import ClassifierAccess
from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.donors import locate
from seewhy.audit.image_pools import ImagePools, Role
from seewhy.audit.inference import RELEVANT, usual
from seewhy.audit.interventions import ablate, insert, plan

# Part of a relevant effect that is enough to be confirmed: the effect of a detail on its few
# carriers is known less well than that of colours, texture or a place.
PASSING_DETAIL, PASSING = 0.5, 1.0
# A range below this is no range: the classifier does not know the class.
LEAST_RANGE = 0.05


@dataclass(frozen=True)
class ScreenedCandidate:
    """A candidate after screening, with its donors for confirmation.

    `share` is the insertion's effect as a share of the class's range; None where too few images
    carry it to screen, so that confirmation alone decides.
    """

    candidate: Candidate
    share: float | None
    passed: bool


def screen(
    access: ClassifierAccess, pools: ImagePools, candidate: Candidate, span: float, seed: int
) -> ScreenedCandidate | None:
    """Try one candidate; None where there are too few images to confirm it.

    `span` is its class's range on the images that screen.
    """
    candidate = locate(pools, candidate)
    if plan(pools, candidate, "confirmation", seed) is None:
        return None
    design = plan(pools, candidate, "screening", seed)
    if design is None:
        return ScreenedCandidate(candidate, None, candidate.detail is not None)
    effects = [insert(access, pools, candidate, design).effect]
    if candidate.detail is not None:
        ablated = ablate(access, pools, candidate, "screening", seed)
        effects += [ablated] if ablated else []
    shares = [effect.change / span for effect in effects]
    part = PASSING if candidate.detail is None else PASSING_DETAIL
    return ScreenedCandidate(candidate, shares[0], max(shares) >= part * RELEVANT[candidate.kind])


def class_ranges(access: ClassifierAccess, pools: ImagePools, role: Role) -> list[float]:
    """Return each class's range: its mean probability on its own images less that on others'.

    At least `LEAST_RANGE`, so that an effect can be given as a share of it.
    """
    numbers = pools.numbers[role]
    labels, found = pools.labels[numbers], []
    answers = access.probabilities(pools.pixels[numbers])
    for label in range(answers.shape[1]):
        own, others = answers[labels == label, label], answers[labels != label, label]
        gap = float(own.mean() - others.mean()) if len(own) and len(others) else 0.0
        found.append(max(gap, LEAST_RANGE))
    return found


def usual_share(screened: Sequence[ScreenedCandidate], one: ScreenedCandidate) -> float | None:
    """Return what is usual for a candidate's kind in this data set, by all other classes.

    A share of a class's range; None for details, which are compared with ordinary parts of
    images, for places, which not every class has, and where there are too few other classes.
    """
    if one.candidate.kind not in ("colour", "texture"):
        return None
    return usual(
        [
            other.share
            for other in screened
            if other.candidate.kind == one.candidate.kind
            and other.candidate.label != one.candidate.label
            and other.share is not None
        ]
    )
