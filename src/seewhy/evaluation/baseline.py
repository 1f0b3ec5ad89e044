"""The baseline: what the untouched ImageNet classifier knows of the data set's classes.

Its probabilities are gathered into the data set's classes through WordNet and the highest group
is the prediction. This module gets the probabilities; it knows no network and no images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seewhy.config import BaselineConfig
from seewhy.evaluation.metrics import score
from seewhy.models.imagenet import ImageNetGrouping, NoImageNetClassError, group_classes
from seewhy.storage.schemas.predictions import Baseline, WordGroup


def baseline(
    probabilities: NDArray[np.float32] | None,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    wnids: Sequence[str] | None,
    config: BaselineConfig,
    reason: str | None = None,
) -> tuple[Baseline, NDArray[np.float32] | None]:
    """Score an ImageNet classifier on a data set's test images.

    Parameters
    ----------
    probabilities : ndarray of float32, (N, M), optional
        The classifier's softmax over its M outputs; None where the weights have no classifier.
    labels : ndarray of int64, (N,)
    classes : sequence of str, length K
    wnids : sequence of str, length M, optional
        WordNet ids of the outputs; None where they are not known.
    config : BaselineConfig
        How groups are scored, and other words for classes.
    reason : str, optional
        Why there are no probabilities.

    Returns
    -------
    record : Baseline
        With only ``skipped`` set where there is no classifier, where its classes have no WordNet
        ids, or where a class has no word.
    shares : ndarray of float32, (N, K), or None
        Each class's share of an image's scores, see `as_shares`; None where it was skipped.

    Raises
    ------
    ConfigError
        Where ``config.words`` names something that is no class.
    ValueError
        Where `probabilities` is not (N, M).
    """
    if probabilities is None:
        return Baseline(skipped=reason or "the weights hold no classifier"), None
    if wnids is None:
        return Baseline(skipped=reason or "the classifier's classes have no WordNet ids"), None
    if probabilities.shape != (len(labels), len(wnids)):
        raise ValueError(
            f"expected `probabilities` to be of shape {(len(labels), len(wnids))}, "
            f"but got {probabilities.shape}"
        )
    try:
        grouping = group_classes(classes, wnids, config.words)
    except NoImageNetClassError as error:
        return Baseline(skipped=str(error)), None
    shares = as_shares(group_scores(probabilities, grouping, config.grouping))
    scores = score(labels, shares.argmax(axis=1).astype(np.int64), classes)
    record = Baseline(
        accuracy=scores.accuracy,
        precision=scores.precision,
        recall=scores.recall,
        grouping=config.grouping,
        groups={
            name: WordGroup(word=word, synsets=list(synsets), members=len(members))
            for name, word, synsets, members in zip(
                classes, grouping.words, grouping.synsets, grouping.members, strict=True
            )
        },
        per_class_recall=scores.per_class_recall,
    )
    return record, shares


def group_scores(
    probabilities: NDArray[np.float32], grouping: ImageNetGrouping, how: Literal["max", "sum"]
) -> NDArray[np.float32]:
    """Score each group by its largest probability, or by their sum, (N, M) to (N, K).

    The sum favours large groups: 118 of the 1000 classes are dogs, one is a horse.
    """
    gather = np.max if how == "max" else np.sum
    columns = [gather(probabilities[:, members], axis=1) for members in grouping.members]
    return np.stack(columns, axis=1)  # (N, K)


def as_shares(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn the groups' scores (N, K) into shares of their sum, as if there were no other class.

    All shares of an image are equal where no group has a score.
    """
    shares = np.full(scores.shape, 1 / scores.shape[1], dtype=np.float32)
    total = scores.sum(axis=1, keepdims=True)
    np.divide(scores, total, out=shares, where=total > 0)
    return shares
