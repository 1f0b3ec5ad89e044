"""Confirmation: what passed is measured on images that had no part in choosing it.

Insertion and ablation are tested separately. The correction (Holm) is for all tests that decide a
verdict; screening was on other images and needs none. The usual effect is known of insertions only,
so the ablation of colours, a texture or a place decides nothing and is reported without a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seewhy.audit.classifier_access import ClassifierAccess
from seewhy.audit.discovery.candidates import Candidate
from seewhy.audit.image_pools import ImagePools
from seewhy.audit.inference import Effect, decide_verdict, more_severe
from seewhy.audit.interventions import Insertion, ablate, insert, plan
from seewhy.audit.screening import ScreenedCandidate, class_ranges, usual_share
from seewhy.evaluation.significance import holm
from seewhy.storage.schemas.audit import Verdict


@dataclass(frozen=True)
class ConfirmedCandidate:
    """A candidate after confirmation.

    `ablation` is None where too few images carry the candidate. `insertion_p` and `ablation_p` are
    corrected for all tests of the audit; the latter is None where the ablation decides nothing.
    `span` is the class's range on the images of confirmation, `usual` the usual effect in this data
    set, as a share of a class's range.
    """

    candidate: Candidate
    insertion: Insertion
    ablation: Effect | None
    insertion_p: float
    ablation_p: float | None
    span: float
    usual: float | None
    verdict: Verdict


def confirm(
    access: ClassifierAccess, pools: ImagePools, screened: Sequence[ScreenedCandidate], seed: int
) -> list[ConfirmedCandidate]:
    """Measure the candidates that passed, correct for all tests, and give each its verdict."""
    measured: list[tuple[ScreenedCandidate, Insertion, Effect | None]] = []
    for one in screened:
        design = plan(pools, one.candidate, "confirmation", seed) if one.passed else None
        if design is not None:
            insertion = insert(access, pools, one.candidate, design)
            ablation = ablate(access, pools, one.candidate, "confirmation", seed)
            measured.append((one, insertion, ablation))
    tests: list[float] = []
    for one, insertion, ablation in measured:
        tests += [insertion.effect.p, *_deciding(one, ablation)]
    corrected = iter(holm(tests))
    spans = class_ranges(access, pools, "confirmation") if measured else []
    found = []
    for one, insertion, ablation in measured:
        insertion_p = next(corrected)
        ablation_p = next(corrected) if _deciding(one, ablation) else None
        span = spans[one.candidate.label]
        bound = usual_share(screened, one)
        verdict = _verdict(one, insertion.effect, insertion_p, ablation, ablation_p, span, bound)
        found.append(
            ConfirmedCandidate(
                one.candidate, insertion, ablation, insertion_p, ablation_p, span, bound, verdict
            )
        )
    return found


def _deciding(one: ScreenedCandidate, ablation: Effect | None) -> list[float]:
    """Return the p-value of an ablation, where it decides anything."""
    return [ablation.p] if ablation is not None and one.candidate.detail is not None else []


def _verdict(
    one: ScreenedCandidate,
    insertion: Effect,
    insertion_p: float,
    ablation: Effect | None,
    ablation_p: float | None,
    span: float,
    bound: float | None,
) -> Verdict:
    """Return the more severe of the verdicts of insertion and ablation.

    A candidate must be unusual where it was screened and where it was confirmed.
    """
    kind = one.candidate.kind
    unusual = bound is not None and one.share is not None and one.share >= bound
    verdict = decide_verdict(insertion, insertion_p, span, kind, bound if unusual else None)
    if ablation is not None and ablation_p is not None:
        verdict = more_severe(verdict, decide_verdict(ablation, ablation_p, span, kind, None))
    return verdict
