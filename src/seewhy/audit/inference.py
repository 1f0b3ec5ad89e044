"""From changes of a probability to verdicts: effects, intervals, corrections, what is usual.

Plain numbers in, plain numbers out; knows neither images nor networks. The unit of inference is
the donor, since all its recipients share it. Every donor has recipients and controls of its own, so
the donors' means are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from seewhy.storage.schemas.audit import AuditKind, Verdict

LEVEL = 0.05
# Fewer donors than this say nothing: with three, a 95 % interval is 4.3 standard errors wide.
FEWEST_DONORS = 4
# A standard deviation between donors is taken to be at least this: a few donors that agree by
# chance must not make an interval of no width.
LEAST_DEVIATION = 0.01
# Effects from which on a candidate matters, as shares of the class's range. Every image has
# colours, a texture and something at a place, so these must do more than a detail must.
RELEVANT: dict[AuditKind, float] = {
    "detail": 0.05,
    "moving detail": 0.05,
    "place": 0.15,
    "colour": 0.15,
    "texture": 0.15,
}
# Of a new class of the same data set, the probability of an effect beyond what is usual.
UNUSUAL = 0.01
# With fewer other classes nothing is known of what is usual.
FEWEST_OTHERS = 3


@dataclass(frozen=True)
class Effect:
    """What an intervention does to a class's probability, compared with its control.

    `change` is the mean over the donors, `low` and `high` its 95 % interval, `p` one-sided.
    `turned` and `turned_control` are the shares of the images predicted as the class, with the
    intervention and with its control.
    """

    change: float
    low: float
    high: float
    p: float
    turned: float
    turned_control: float
    donors: int
    images: int


def measure_effect(
    with_it: NDArray[np.float32], control: NDArray[np.float32], label: int
) -> Effect:
    """Compare probabilities after an intervention with those of its control.

    Parameters
    ----------
    with_it, control : ndarray of float32, (D, m, K)
        Of D donors with m images each; the same image at the same place in both.
    label : int
        The class whose probability counts.

    Returns
    -------
    Effect
        Student's t over the D donors' mean differences, D - 1 degrees of freedom.
    """
    changes = (with_it[..., label] - control[..., label]).astype(np.float64)
    donors = changes.mean(axis=1)
    mean, error = float(donors.mean()), standard_error(donors)
    wide = float(stdtrit(len(donors) - 1, 0.975)) * error
    return Effect(
        change=mean,
        low=mean - wide,
        high=mean + wide,
        p=float(stdtr(len(donors) - 1, -mean / error)),
        turned=float((with_it.argmax(axis=2) == label).mean()),
        turned_control=float((control.argmax(axis=2) == label).mean()),
        donors=len(donors),
        images=changes.size,
    )


def standard_error(donors: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of at least two donors' means, (D,)."""
    deviation = max(float(donors.std(ddof=1)), LEAST_DEVIATION)
    return deviation / float(np.sqrt(len(donors)))


def usual(others: Sequence[float]) -> float | None:
    """Return the bound below which the effect of one more ordinary class is expected.

    The upper end of the one-sided prediction interval, at the level `UNUSUAL`, of a normal sample:
    `others` are the effects of the same intervention for the other classes, as shares of each
    class's range. None where there are fewer than `FEWEST_OTHERS`.

    References
    ----------
    Whitmore, "Prediction limits for a univariate normal observation", The American Statistician
    40, 1986.
    """
    count = len(others)
    if count < FEWEST_OTHERS:
        return None
    spread = max(float(np.std(others, ddof=1)), LEAST_DEVIATION)
    reach = float(stdtrit(count - 1, 1 - UNUSUAL)) * spread * float(np.sqrt(1 + 1 / count))
    return float(np.mean(others)) + reach


def decide_verdict(
    effect: Effect, p: float, span: float, kind: AuditKind, bound: float | None
) -> Verdict:
    """Turn one confirmed effect into a verdict.

    `p` is corrected for all tests of the audit. `span` is the class's range, and `bound` what is
    usual in this data set as a share of it (see `usual`); a detail, whose control already is an
    ordinary part of an image, needs none.

    Returns
    -------
    {"shortcut", "needs judgement", "none"}
        None where chance is not ruled out or the effect is not relevant. A shortcut where it also
        exceeds what is usual, and its interval stays above half of that; else it may be part of how
        the object looks, and a person must judge. So it is with a place: its content may be a part
        of the object, and its pixels do not show which.
    """
    relevant = RELEVANT[kind] * span
    if p > LEVEL or effect.change < relevant:
        return "none"
    if kind in ("detail", "moving detail"):
        return "shortcut" if effect.low >= relevant / 2 else "needs judgement"
    if bound is None or kind == "place":
        return "needs judgement"
    least = max(bound * span, relevant)
    beyond = effect.change >= least and effect.low >= least / 2
    return "shortcut" if beyond else "needs judgement"


def more_severe(one: Verdict, other: Verdict) -> Verdict:
    """Return the more severe of two verdicts."""
    order: tuple[Verdict, ...] = ("none", "too few images", "needs judgement", "shortcut")
    return max(one, other, key=order.index)
