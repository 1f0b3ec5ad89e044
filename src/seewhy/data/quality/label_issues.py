"""Images that may be mislabelled, and images that may belong to no class, the most likely first.

Pure functions of labels, probabilities and features. A label is judged by probabilities of a
classifier that was not trained on the image; an image is compared with training images other than
itself. Each list says how many images its rule flags by chance, where nothing is wrong. No image
is excluded from a study because of a list: a person looks at it and decides.
"""

from __future__ import annotations

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from scipy.stats import norm

from seewhy.data.quality.label_noise import LEAST, estimate_label_noise
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.schemas.quality_issues import QualityIssue, QualityIssueList, QualityIssues
from seewhy.wording import count as counted
from seewhy.wording import share

MOST = 100
NEIGHBOURS = 10
# Tukey's fence with this many interquartile ranges: his 1.5 flagged 1 to 3 of 10 outliers planted
# among 2,500 images, this one 4 to 7, and about 20 others.
FENCE = 1.0
LABEL_RULE = (
    "Confident learning: a classifier that was not trained on the image prefers another class, and "
    "the image is among the least probable of its class, as many as are estimated to be wrong."
)
OUTLIER_RULE = (
    f"The mean distance to the {NEIGHBOURS} nearest training images, where neighbours with another "
    f"label count double, is above the third quartile by more than {FENCE:g} × the interquartile "
    "range (IQR)."
)
# Elements of a product of features at a time.
BLOCK = 2**24

Floats = NDArray[np.float32]


def find_quality_issues(data: Dataset, features: Floats, judged: Predictions) -> QualityIssues:
    """List likely label issues and outliers.

    `features` (N, C) are the pooled trunk features of all images, in the data set's order; `judged`
    are predictions of all images that a classifier judged without having been trained on them.
    """
    return QualityIssues(
        label_issues=_label_list(data, judged), outliers=_outlier_list(data, features)
    )


def label_issues(
    labels: NDArray[np.int64], probabilities: Floats
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find likely label issues by confident learning.

    How many images of class i carry label j is estimated from the images whose probability of i
    is above that class's mean; as many are then flagged, where both ways of choosing them agree
    (the least probable of their label, and the largest margin of another class). They are ordered
    by the probability of their own label: where a classifier is often wrong, that found more of
    the labels swapped on purpose than the margin did (docs/log.md).

    Parameters
    ----------
    labels : ndarray of int64, (N,)
    probabilities : ndarray of float32, (N, K)
        Out of sample: of a classifier that was not trained on the image.

    Returns
    -------
    indices : ndarray of int64, (E,)
        The most likely first.
    scores : ndarray of float64, (E,)
        1 minus the probability of the given label.

    References
    ----------
    Northcutt, Jiang and Chuang (2021), Confident learning: estimating uncertainty in dataset
    labels, arXiv:1911.00068; as the package cleanlab computes it.
    """
    known, numbered = np.unique(labels, return_inverse=True)
    shares = _of_classes(probabilities, known)
    found = np.empty(0, dtype=np.int64)
    if len(known) > 1:
        issues = find_label_issues(numbered, shares, filter_by="both", n_jobs=1)
        found = np.flatnonzero(issues)
    scores = 1 - probabilities[np.arange(len(labels)), labels].astype(np.float64)
    order = np.argsort(-scores[found], kind="stable")
    return found[order], scores[found[order]]


def _of_classes(probabilities: Floats, known: NDArray[np.int64]) -> Floats:
    """Return probabilities of the classes that have labels: one without images has no mean."""
    shares = probabilities[:, known].astype(np.float64)
    return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12))


def outliers_by_chance(images: int) -> float:
    """Return how many of `images` the outlier rule flags where none is an outlier.

    The rule is a fence on a score's distribution, third quartile + `FENCE` · IQR, and has no null
    distribution of its own. The usual reference for such a fence is a normal distribution, which
    has no outliers: with quartiles at ±0.674 σ the fence is at 2.02 σ, and 2.15 % of normally
    distributed scores are above it. Scores are often skewed to the right, and then more are.

    Examples
    --------
    >>> round(outliers_by_chance(1000), 1)
    21.5

    References
    ----------
    Hoaglin, Iglewicz and Tukey (1986), Performance of some resistant rules for outlier labeling,
    Journal of the American Statistical Association 81.
    """
    quartile = norm.ppf(0.75)
    return float(norm.sf(quartile + FENCE * 2 * quartile)) * images


def neighbour_distance(
    features: Floats, labels: NDArray[np.int64], training: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure how far each image is from the nearest training images but itself.

    Parameters
    ----------
    features : ndarray of float32, (N, C)
    labels : ndarray of int64, (N,)
    training : ndarray of int64, (T,)
        Indices of the training images; T at least 2.

    Returns
    -------
    distances : ndarray of float64, (N,)
        Mean cosine distance to the 10 nearest (all, where there are fewer), in 0 … 2.
    others : ndarray of float64, (N,)
        Share of them that have another label.

    References
    ----------
    Sun, Ming, Zhu and Li (2022), Out-of-distribution detection with deep nearest neighbors,
    arXiv:2204.06507: distances between normalised features, without a model of the classes.
    """
    count = len(features)
    length = np.sqrt(np.einsum("ij,ij->i", features, features))
    unit = features / np.maximum(length, 1e-12)[:, None]
    reference = unit[training].T
    place = np.full(count, -1, dtype=np.int64)
    place[training] = np.arange(len(training))
    wanted = min(NEIGHBOURS, len(training) - 1)
    distances, others = np.empty(count), np.empty(count)
    step = max(1, BLOCK // len(training))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        alike = unit[rows] @ reference
        itself = np.flatnonzero(place[rows] >= 0)
        alike[itself, place[rows][itself]] = -np.inf
        nearest = np.argpartition(alike, -wanted, axis=1)[:, -wanted:]
        distances[rows] = 1 - np.take_along_axis(alike, nearest, axis=1).mean(axis=1)
        others[rows] = (labels[training][nearest] != labels[rows, None]).mean(axis=1)
    return np.clip(distances, 0, 2), others


def _label_list(data: Dataset, judged: Predictions) -> QualityIssueList:
    if not len(judged.ids):
        return QualityIssueList(
            skipped="no image was judged by a classifier that was not trained on it"
        )
    found, scores = label_issues(judged.labels, judged.probabilities)
    number = {id_: i for i, id_ in enumerate(data.ids)}
    expected, expectation = _label_expectation(judged, found)
    issues = []
    for row, score in zip(found[:MOST].tolist(), scores[:MOST].tolist(), strict=True):
        given = int(judged.labels[row])
        shares = judged.probabilities[row]
        best = int(shares.argmax())
        reason = (
            f"probability of {data.classes[best]} {shares[best]:.3f}, of {data.classes[given]} "
            f"{shares[given]:.3f}"
        )
        issue = _issue(data, number[judged.ids[row]], score, reason, data.classes[best])
        issues.append(issue)
    return QualityIssueList(
        rule=LABEL_RULE,
        looked_at=len(judged.ids),
        count=len(found),
        expected=expected,
        expectation=expectation,
        first=issues,
    )


def _label_expectation(judged: Predictions, found: NDArray[np.int64]) -> tuple[float | None, str]:
    """Estimate how many of the listed labels are correct, and say it."""
    wrong = int((judged.predicted != judged.labels).sum())
    disagrees = f"The classifier disagrees with {wrong:,} of {counted(len(judged.ids), 'label')}."
    known, numbered = np.unique(judged.labels, return_inverse=True)
    noise = estimate_label_noise(numbered, _of_classes(judged.probabilities, known))
    if noise is None:
        return None, (
            "How many to expect by chance cannot be estimated from fewer than "
            f"{LEAST} labels: errors of the classifier look like wrong labels. {disagrees}"
        )
    expected = float(noise.correct[found].sum())
    return expected, (
        f"Expected by chance: about {expected:.0f} of the {len(found):,}, errors of the classifier "
        f"whose label is correct; a share of {share(noise.share, 3)} of all labels is estimated to "
        "be wrong. Both hold where wrong labels are spread over the classes: a mistake that always "
        f"swaps the same two looks like an error of the classifier. {disagrees}"
    )


def _outlier_list(data: Dataset, features: Floats) -> QualityIssueList:
    training = data.where("train")
    if len(training) <= NEIGHBOURS:
        return QualityIssueList(
            skipped=f"the study has no more than {NEIGHBOURS} training images to compare with"
        )
    distances, others = neighbour_distance(features, data.labels, training)
    scores = distances * (1 + others)
    low, high = np.percentile(scores, (25, 75))
    order = np.argsort(-scores, kind="stable")
    found = order[scores[order] > high + FENCE * (high - low)]
    usual = float(np.median(distances))
    issues = [
        _issue(
            data,
            i,
            # In 0 … 1: the distance is at most 2, and counts twice at most.
            float(scores[i]) / 4,
            f"mean distance to its {NEIGHBOURS} nearest training images {distances[i]:.3f} "
            f"(median: {usual:.3f}); {100 * others[i]:.0f} % of them have another label",
        )
        for i in found[:MOST].tolist()
    ]
    expected = outliers_by_chance(len(data.ids))
    return QualityIssueList(
        rule=OUTLIER_RULE,
        looked_at=len(data.ids),
        count=len(found),
        expected=expected,
        expectation=(
            f"Expected by chance: about {expected:.0f} of {counted(len(data.ids), 'image')}, as in "
            "normally distributed distances without outliers."
        ),
        first=issues,
    )


def _issue(
    data: Dataset, index: int, score: float, reason: str, suggested: str | None = None
) -> QualityIssue:
    return QualityIssue(
        id=data.ids[index],
        path=data.paths[index],
        split=data.splits[index],
        label=data.classes[data.labels[index]],
        suggested=suggested,
        score=round(score, 6),
        reason=reason,
    )
