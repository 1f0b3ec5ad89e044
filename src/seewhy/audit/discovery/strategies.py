"""Strategies: on how many different kinds of evidence one class is decided.

Each image's evidence is one vector: the activations of the layer, averaged with the map as weights.
Images decided by the same things have vectors that point the same way; a group far from the rest of
its class is decided by something else. A strategy is no shortcut: cats from the side and cats from
the front are two as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_samples

# Strategies of one class at most, the fewest images that are divided, and that make one: fewer
# are no strategy, but odd.
MOST, FEWEST, SMALLEST = 4, 8, 3
# Mean silhouette below which there is no substantial structure (Kaufman & Rousseeuw, "Finding
# Groups in Data", 1990, table 4).
STRUCTURE = 0.25


@dataclass(frozen=True)
class EvidenceCluster:
    """Images of one class, ascending `rows`, that are decided by the same things.

    `alike` is the mean cosine of the angle between two of its vectors, seen from the mean of all
    classes, 1 for a single image; `apart` its mean silhouette, None for a class's only group.
    """

    rows: NDArray[np.int64]
    alike: float
    apart: float | None


def cluster_evidence(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], label: int
) -> list[EvidenceCluster]:
    """Divide one class's images by what decides them, the largest group first.

    Average linkage on cosine distances of the `vectors` (N, C) of all classes; as many groups of at
    least `SMALLEST` as give the highest mean silhouette; one where none of these is substantial.

    References
    ----------
    Lapuschkin et al., "Unmasking Clever Hans predictors and assessing what machines really learn",
    Nature Communications 10, 2019: groups of heatmaps are where to look for shortcuts.
    """
    rows = np.flatnonzero(labels == label)
    if not len(rows):
        return []
    seen = (vectors - vectors.mean(axis=0))[rows].astype(np.float64)
    seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
    alike = seen @ seen.T
    gaps = np.clip(1 - alike, 0, 2)
    np.fill_diagonal(gaps, 0)
    names, silhouettes = _divide(gaps)
    found = [
        EvidenceCluster(
            rows=rows[names == name],
            alike=_mean_alike(alike[np.ix_(names == name, names == name)]),
            apart=None if silhouettes is None else float(silhouettes[names == name].mean()),
        )
        for name in np.unique(names)
    ]
    return sorted(found, key=lambda one: (-len(one.rows), int(one.rows[0])))


def _divide(
    gaps: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Return each image's group and silhouette; no silhouettes where there is one group."""
    whole = np.zeros(len(gaps), np.int64)
    if len(gaps) < FEWEST:
        return whole, None
    tree = hierarchy.linkage(squareform(gaps, checks=False), "average")
    best, least = (whole, None), STRUCTURE
    for count in range(2, MOST + 1):
        names = hierarchy.fcluster(tree, count, "maxclust").astype(np.int64)
        _, sizes = np.unique(names, return_counts=True)
        if len(sizes) < 2 or sizes.min() < SMALLEST:
            continue
        silhouettes = silhouette_samples(gaps, names, metric="precomputed")
        if silhouettes.mean() > least:
            best, least = (names, silhouettes), float(silhouettes.mean())
    return best


def _mean_alike(alike: NDArray[np.float64]) -> float:
    count = len(alike)
    if count < 2:
        return 1.0
    return float((alike.sum() - np.trace(alike)) / (count * (count - 1)))
