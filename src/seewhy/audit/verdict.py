"""From paired answers to a verdict: effects, intervals, a null, a correction, thresholds.

Plain numbers in, plain numbers out; knows neither images nor networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seewhy.audit_records import Verdict
from seewhy.explanation.intervals import Interval, bootstrap_mean

PERMUTATIONS = 20_000
LEVEL = 0.05
# Part of the threshold from which on an effect is worth a look.
SUSPICIOUS = 0.75


@dataclass(frozen=True)
class Effect:
    """What an exchange does to the class's probability, beside the same exchange without it.

    Attributes
    ----------
    change : Interval
        Mean difference of the probability, paired image by image.
    p : float
        Of the permutation null: signs of the differences turned by chance.
    turned, turned_without : float
        Share of the images that were decided for the class with it, and with the comparison.
    images : int
    deviation : float
        Standard deviation of the differences.
    """

    change: Interval
    p: float
    turned: float
    turned_without: float
    images: int
    deviation: float


def measure_effect(
    with_it: NDArray[np.float32], without: NDArray[np.float32], label: int, seed: int
) -> Effect:
    """Compare answers to images with something against answers to the same with something else.

    Parameters
    ----------
    with_it, without : ndarray of float32, (N, K)
        Probabilities; row by row the same image.
    label : int
        The class whose probability counts.
    seed : int
        Of the bootstrap and the permutations.
    """
    difference = (with_it[:, label] - without[:, label]).astype(np.float64)
    return Effect(
        change=bootstrap_mean(difference, seed),
        p=permutation_p(difference, seed),
        turned=float((with_it.argmax(axis=1) == label).mean()),
        turned_without=float((without.argmax(axis=1) == label).mean()),
        images=len(difference),
        deviation=float(difference.std()),
    )


def permutation_p(difference: NDArray[np.float64], seed: int) -> float:
    """Return how often a mean as large comes about when each sign is a coin's throw.

    One-sided, and never below 1 / (`PERMUTATIONS` + 1).
    """
    rng = np.random.default_rng([seed, 1])
    signs = rng.integers(0, 2, (PERMUTATIONS, len(difference)), dtype=np.int8) * 2 - 1
    by_chance = signs @ difference
    return float((1 + (by_chance >= difference.sum() - 1e-12).sum()) / (PERMUTATIONS + 1))


def judge(effect: Effect, corrected_p: float, threshold: float) -> Verdict:
    """Turn an effect into a verdict.

    ``shortcut`` where the effect reaches the threshold, its interval stays above half of it, and
    chance is ruled out; ``suspicious`` where `SUSPICIOUS` of the threshold is reached and chance
    is ruled out.
    """
    if corrected_p > LEVEL or effect.change.value < SUSPICIOUS * threshold:
        return "none"
    if effect.change.value >= threshold and effect.change.low >= threshold / 2:
        return "shortcut"
    return "suspicious"


def graver(one: Verdict, other: Verdict) -> Verdict:
    """Return the graver of two verdicts."""
    order: tuple[Verdict, ...] = ("none", "suspicious", "shortcut")
    return max(one, other, key=order.index)


def detectable(deviation: float, images: int, threshold: float) -> float:
    """Return the effect that would have been found in nine of ten cases.

    Parameters
    ----------
    deviation : float
        Standard deviation of the paired differences.
    images : int
        On which an effect is proven.
    threshold : float
        What an effect must reach; below it none counts, however sure.
    """
    return threshold + 1.282 * deviation / float(np.sqrt(images))
