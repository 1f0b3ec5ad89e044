"""The proof: what is suspected is carried into other classes' images, and taken out of its own.

Every exchange has a comparison. Of a place, colours or texture it is the same exchange with an
image that is not suspected: something of that kind every image has. A same-looking detail is
compared with the untouched image instead: any small patch with an edge around it is a blot, and a
classifier that goes by a blot is moved by each. Each candidate is screened on a few images first;
what passes is measured on others, with nothing left to choose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.asking import Asked
from seewhy.audit.candidates import THRESHOLDS, Candidate
from seewhy.audit.exchange import DetailExchange, filled_in
from seewhy.audit.verdict import Effect, measure_effect

SCREENED, PROVEN = 24, 96
FILLINGS = 4
# Carriers of what every image has a kind of, in the screening: each gives twice.
GIVERS = 24
# A screened effect below this part of the threshold is not followed up.
PASSING = 0.4


@dataclass(frozen=True)
class Pool:
    """The images that prove.

    Attributes
    ----------
    pixels : ndarray of uint8, (N, S, S, 3)
        The data set's, memory-mapped.
    labels : ndarray of int64, (N,)
    proving : ndarray of int64, (V,)
        Those whose answers count: validation images.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    proving: NDArray[np.int64]


@dataclass(frozen=True)
class Screened:
    """A candidate after the first look.

    Attributes
    ----------
    candidate : Candidate
        Its carriers narrowed to those that give most, where every image has one of its kind.
    effect : Effect
    passed : bool
    """

    candidate: Candidate
    effect: Effect
    passed: bool


@dataclass(frozen=True)
class Proof:
    """A candidate carried into other images: pair by pair, and what it did.

    Attributes
    ----------
    candidate : Candidate
    effect : Effect
    takers, givers : ndarray of int64, (N,)
    change : ndarray of float32, (N,)
        Of the class's probability.
    strange : float or None
        Of a detail: the mean change by patches of the same shape from other images.
    """

    candidate: Candidate
    effect: Effect
    takers: NDArray[np.int64]
    givers: NDArray[np.int64]
    change: NDArray[np.float32]
    strange: float | None


def screen(asked: Asked, pool: Pool, candidate: Candidate, seed: int) -> Screened:
    """Look at a candidate with few images.

    A same-looking detail always passes: there are few of them. Of colour and texture every image
    has one; whose counts is told by the effect: each of the class's images gives to two others,
    and the half that gave most on either is tried on the other, so that chance does not choose
    and judge at once.
    """
    rng = np.random.default_rng([seed, candidate.label, 2])
    givers = _givers(pool, candidate)
    if candidate.everywhere:
        givers = rng.permutation(givers)[:GIVERS]
        givers = np.concatenate([givers, givers])
    else:
        givers = rng.choice(givers, SCREENED)
    takers = _takers(pool, candidate, len(givers), rng)
    with_it, without = _transplant(asked, pool, candidate, takers, givers, rng)
    effect = measure_effect(with_it, without, candidate.label, seed)
    if candidate.everywhere:
        each = (with_it - without)[:, candidate.label].reshape(2, -1)
        half = max(2, each.shape[1] // 2)
        order = np.argsort(-each, axis=1, kind="stable")[:, :half]
        held_out = float((each[1, order[0]].mean() + each[0, order[1]].mean()) / 2)
        most = np.argsort(-each.sum(axis=0), kind="stable")[:half]
        candidate = replace(candidate, carriers=np.sort(givers[: each.shape[1]][most]))
        value = held_out
    else:
        value = effect.change.value
    passed = candidate.detail is not None or value >= PASSING * THRESHOLDS[candidate.kind]
    return Screened(candidate, effect, passed)


def prove(asked: Asked, pool: Pool, candidate: Candidate, seed: int) -> Proof:
    """Measure what carrying a candidate into other classes' images does, on fresh pairs."""
    rng = np.random.default_rng([seed, candidate.label, 3])
    count = pairs(pool, candidate.label)
    givers = rng.choice(_givers(pool, candidate), count)
    takers = _takers(pool, candidate, count, rng)
    with_it, without = _transplant(asked, pool, candidate, takers, givers, rng)
    effect = measure_effect(with_it, without, candidate.label, seed)
    change = (with_it - without)[:, candidate.label]
    strange = None
    if candidate.detail is not None:
        strangers = rng.choice(_strangers(pool, candidate), len(takers))
        filled = asked.probabilities(exchanged(pool, candidate, takers, strangers, givers))
        strange = float((filled - without)[:, candidate.label].mean())
    return Proof(candidate, effect, takers, givers, change, strange)


def remove(asked: Asked, pool: Pool, candidate: Candidate, seed: int) -> Effect:
    """Measure what taking a candidate out of its own images costs.

    A detail is filled in from what lies around it, and compared with the untouched image.
    Anything else is exchanged with `FILLINGS` images of other classes, and compared with the same
    exchange among its carriers. The effect is the loss of the class's probability.
    """
    rng = np.random.default_rng([seed, candidate.label, 4])
    givers = _givers(pool, candidate)
    carriers = rng.permutation(givers)[:PROVEN]
    if isinstance(candidate.exchange, DetailExchange):
        size = pool.pixels.shape[1]
        filled = [
            filled_in(pool.pixels[one], candidate.exchange.mask(int(one), size)) for one in carriers
        ]
        kept = asked.probabilities(pool.pixels[carriers])
        emptied = asked.probabilities(np.stack(filled))
        return measure_effect(kept, emptied, candidate.label, seed)
    places = np.tile(carriers, FILLINGS)
    others = rng.choice(_strangers(pool, candidate), len(places))
    fellows = np.array([rng.choice(givers[givers != one]) for one in places])
    arms = [
        asked.probabilities(exchanged(pool, candidate, places, given, places))
        .reshape(FILLINGS, len(carriers), -1)
        .mean(axis=0)
        for given in (fellows, others)
    ]
    return measure_effect(arms[0], arms[1], candidate.label, seed)


def pairs(pool: Pool, label: int) -> int:
    """Return on how many pairs a candidate is proven: each image of other classes takes twice."""
    return min(PROVEN, 2 * len(_foreign(pool, label)))


def exchanged(
    pool: Pool,
    candidate: Candidate,
    takers: NDArray[np.int64],
    givers: NDArray[np.int64],
    places: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return the takers with the givers' part of them, (B, S, S, 3)."""
    pixels, exchange = pool.pixels, candidate.exchange
    return np.stack(
        [
            exchange(pixels[taker], pixels[giver], int(place))
            for taker, giver, place in zip(takers, givers, places, strict=True)
        ]
    )


def _transplant(
    asked: Asked,
    pool: Pool,
    candidate: Candidate,
    takers: NDArray[np.int64],
    givers: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give each giver's to another class's image, and answer the comparison too; (B, K) both."""
    carried = exchanged(pool, candidate, takers, givers, givers)
    if candidate.detail is None:
        strangers = rng.choice(_strangers(pool, candidate), len(givers))
        compared = exchanged(pool, candidate, takers, strangers, givers)
    else:
        compared = pool.pixels[takers]
    answers = asked.probabilities(np.concatenate([carried, compared]))
    return answers[: len(givers)], answers[len(givers) :]


def _givers(pool: Pool, candidate: Candidate) -> NDArray[np.int64]:
    """Return the carriers among the proving images; all carriers where these are too few."""
    among = np.intersect1d(candidate.carriers, pool.proving)
    return among if len(among) >= 4 else candidate.carriers


def _foreign(pool: Pool, label: int) -> NDArray[np.int64]:
    """Return the proving images of other classes."""
    others: NDArray[np.int64] = pool.proving[pool.labels[pool.proving] != label]
    return others


def _strangers(pool: Pool, candidate: Candidate) -> NDArray[np.int64]:
    """Return the proving images of other classes that do not carry the candidate."""
    foreign = _foreign(pool, candidate.label)
    if candidate.detail is None:
        return foreign
    clean = np.array([int(i) not in candidate.detail.places for i in foreign])
    return foreign[clean] if clean.any() else foreign


def _takers(
    pool: Pool, candidate: Candidate, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw proving images of other classes, each as often as any other."""
    foreign = _foreign(pool, candidate.label)
    rounds = [rng.permutation(foreign) for _ in range(-(-count // len(foreign)))]
    taken: NDArray[np.int64] = np.concatenate(rounds)[:count]
    return taken
