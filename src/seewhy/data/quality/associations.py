"""Labels that can be told from a picture's file or brightness, without its content.

Where one class comes from another camera, site or export, a classifier can learn that instead of
the object. The idea is cleanlab's correlation check of image properties; here a small decision
tree is scored on images it was not fitted on, so that chance counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from seewhy.data.sources.picture_suffixes import suffix_of
from seewhy.wording import share

# More images make the tree no better, only slower.
MOST_IMAGES = 10_000
FOLDS = 5
# Classes with fewer images say nothing.
FEWEST = 10
# A warning from half of the way between chance and certainty on.
HALF_WAY = 0.5
_LEAVES = 8


def image_properties(
    files: Sequence[Path], sizes: NDArray[np.int64], thumbs: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """Return what is known of each image without its content.

    Parameters
    ----------
    files : sequence of Path
        Of N images, or none: the images of an array have no files.
    sizes : ndarray of int64, (N, 2)
        Heights and widths.
    thumbs : ndarray of uint8, (N, S, S)

    Returns
    -------
    dict of str to ndarray of float64, (N,)
        By name: brightness, proportions, and of files their size in bytes and their type.
    """
    found = {
        "brightness": thumbs.reshape(len(thumbs), -1).mean(axis=1),
        "proportions (width over height)": sizes[:, 1] / np.maximum(sizes[:, 0], 1),
    }
    if len(files):
        _, kinds = np.unique([suffix_of(file.name) for file in files], return_inverse=True)
        found["file type"] = kinds.astype(np.float64)
        found["file size in bytes"] = np.array([_bytes(file) for file in files])
    return found


def told_labels(
    labels: NDArray[np.int64], properties: Mapping[str, NDArray[np.float64]], seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the properties from which labels can be told, alone.

    Parameters
    ----------
    labels : ndarray of int64, (N,)
    properties : mapping of str to ndarray of float64, (N,)
    seed : int, default 0

    Returns
    -------
    dict of str to (float, float)
        Balanced accuracy of a tree on images that it was not fitted on, and that of chance; only
        where it is at least half of the way from chance to 1.
    """
    numbers = np.bincount(labels)
    usable = np.flatnonzero(numbers[labels] >= FEWEST)
    if len(usable) > MOST_IMAGES:
        usable = np.sort(np.random.default_rng(seed).choice(usable, MOST_IMAGES, replace=False))
        numbers = np.bincount(labels[usable], minlength=len(numbers))
        usable = usable[numbers[labels[usable]] >= FOLDS]
    known = labels[usable]
    classes = len(np.unique(known))
    if classes < 2:
        return {}
    chance = 1 / classes
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    tree = DecisionTreeClassifier(
        max_leaf_nodes=max(_LEAVES, 2 * classes), min_samples_leaf=3, class_weight="balanced"
    )
    found = {}
    for name, values in properties.items():
        mine = values[usable, None]
        if np.ptp(mine) == 0:
            continue
        predicted = cross_val_predict(tree, mine, known, cv=folds)
        accuracy = float(balanced_accuracy_score(known, predicted))
        if accuracy >= chance + HALF_WAY * (1 - chance):
            found[name] = accuracy, chance
    return found


def association_sentences(found: Mapping[str, tuple[float, float]]) -> list[str]:
    """Say which properties labels can be told from."""
    return [
        f"Labels can be told from the {name} alone: balanced accuracy {share(accuracy)}, by chance "
        f"{share(chance)}. A classifier may learn what causes that (another camera, another "
        "export) instead of the object."
        for name, (accuracy, chance) in found.items()
    ]


def _bytes(file: Path) -> float:
    try:
        return float(file.stat().st_size)
    except OSError:
        return 0.0
