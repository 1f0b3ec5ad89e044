"""The average of several classifiers' predictions, and whether it is better than a single one.

Pure functions of predictions; this module knows no networks and no files.

References
----------
B. Lakshminarayanan, A. Pritzel, C. Blundell. Simple and Scalable Predictive Uncertainty Estimation
using Deep Ensembles. NeurIPS 2017 (the mean of the members' probabilities).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seewhy.evaluation.calibration import calibrated, log_losses, nll
from seewhy.evaluation.performance import evaluate_stage
from seewhy.evaluation.significance import compare_pair
from seewhy.evaluation.statements import between, name_of_test, significant
from seewhy.statistics.bootstrap import DRAWS, mean_intervals
from seewhy.storage.schemas.comparison import ClassifierPair, LogLosses
from seewhy.storage.schemas.ensemble import Ensemble, EnsembleMember
from seewhy.storage.schemas.predictions import Predictions
from seewhy.wording import count, p_value, share, signed

# What it is called in the record of a pair.
ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Member:
    """One classifier's predictions of the test and the validation images, not calibrated.

    `temperature` calibrates them; None where none was fitted.
    """

    test: Predictions
    validation: Predictions
    temperature: float | None = None


def average(
    members: Sequence[Predictions], temperatures: Sequence[float | None] | None = None
) -> Predictions:
    """Average predictions of the same images: p = Σ_m softmax(z_m / T_m) / M.

    Parameters
    ----------
    members : sequence of Predictions
        M of them, at least one, not calibrated; with the same ids and labels, in the same order.
    temperatures : sequence of float or None, optional
        One per member; default, and where one is None: the probabilities as they are.

    Returns
    -------
    Predictions
        With metadata and groups of the first member.

    Raises
    ------
    ValueError
        Where ids or labels differ.

    Examples
    --------
    >>> labels, ids = np.array([0]), ("a",)
    >>> sure, unsure = (
    ...     Predictions(ids, labels, np.array([row], dtype=np.float32))
    ...     for row in ([0.75, 0.25], [0.25, 0.75])
    ... )
    >>> average([sure, unsure]).probabilities
    array([[0.5, 0.5]], dtype=float32)
    """
    first = members[0]
    for other in members[1:]:
        if first.ids != other.ids or not np.array_equal(first.labels, other.labels):
            raise ValueError("expected predictions of the same images in the same order")
    chosen = [None] * len(members) if temperatures is None else temperatures
    rows = [
        calibrated(one.probabilities, temperature)
        for one, temperature in zip(members, chosen, strict=True)
    ]
    return replace(first, probabilities=np.mean(rows, axis=0).astype(np.float32))


def best_by_validation(members: Mapping[str, Member]) -> str | None:
    """Return the member with the highest validation accuracy, of equals the lower log loss.

    None where there are no validation images.
    """
    if any(not len(one.validation.ids) for one in members.values()):
        return None

    def rank(name: str) -> tuple[float, float]:
        found, temperature = members[name].validation, members[name].temperature
        accuracy = float((found.predicted == found.labels).mean())
        return accuracy, -nll(found.labels, calibrated(found.probabilities, temperature))

    return max(members, key=rank)


def evaluate_ensemble(
    members: Mapping[str, Member],
    names: Mapping[str, str],
    classes: Sequence[str],
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[Ensemble, Predictions]:
    """Average classifiers and compare that with the single one that validation would choose.

    Parameters
    ----------
    members : mapping of str to Member
        By slug, at least two; test images in the same order.
    names : mapping of str to str
        What each one is called in the sentence, by slug.
    classes : sequence of str
    seed, draws : int
        Of the bootstrap.

    Returns
    -------
    ensemble : Ensemble
    predictions : Predictions
        The average, of the test images.
    """
    temperatures = [one.temperature for one in members.values()]
    found = average([one.test for one in members.values()], temperatures)
    scores = evaluate_stage(found, classes, seed, draws)
    best = best_by_validation(members)
    pair = losses = None
    whose = f"The mean of the {len(members)} backbones’ calibrated probabilities"
    reached = f"{whose} has an accuracy of {share(scores.accuracy.value, 3)}"
    if best is None:
        sentence = f"{reached}; no validation images choose a backbone to compare it with."
    else:
        own = members[best]
        pair = compare_pair("finetuning", (ENSEMBLE, best), (found, own.test), classes, seed, draws)
        single = calibrated(own.test.probabilities, own.temperature)
        losses = paired_log_losses(
            found, found.probabilities.astype(np.float64), single, seed, draws
        )
        against = f"that of {names[best]}, the best backbone on the validation images"
        sentence = f"{reached}, which {verdict(pair, against)}."
    share_of_each = 1 / len(members)
    record = Ensemble(
        draws=draws,
        seed=seed,
        members=[
            EnsembleMember(backbone=slug, weight=share_of_each, temperature=one.temperature)
            for slug, one in members.items()
        ],
        scores=scores,
        best=best,
        pair=pair,
        log_loss=losses,
        sentence=sentence,
    )
    return record, found


def paired_log_losses(
    found: Predictions,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    seed: int,
    draws: int,
) -> LogLosses:
    """Return the log losses of two sets of probabilities (N, K) of the images of `found`."""
    labels = found.labels
    one, two = (log_losses(labels, rows) for rows in (first, second))
    intervals = mean_intervals([one, two, one - two], labels, draws, seed, found.groups)
    return LogLosses(first=intervals[0], second=intervals[1], difference=intervals[2])


def verdict(pair: ClassifierPair, other: str) -> str:
    """Say whether the first classifier is better than the other beyond chance."""
    apart = pair.difference
    if not significant(pair.p):
        text = f"does not differ significantly from {other}"
    else:
        text = f"is significantly {'higher' if apart.value > 0 else 'lower'} than {other}"
    images = count(pair.images, "test image")
    return (
        f"{text} (difference {signed(apart.value, 3)}, {between(apart)}, "
        f"{name_of_test(pair.test)} {p_value(pair.p)}, {images})"
    )
