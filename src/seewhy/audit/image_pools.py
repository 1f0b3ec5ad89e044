"""Which images discover, which screen and which confirm: sets with no image in common.

Otherwise chance would choose a candidate and then confirm it. Validation images confirm; donors may
be training images, since they are inserted into images that the classifier was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from seewhy.storage.schemas.dataset import Dataset

Role = Literal["discovery", "screening", "extra_donors", "confirmation"]

# Images per class: at most for each role, and of all classes together for discovery.
DISCOVERY, SCREENING, EXTRA_DONORS, CONFIRMATION = 200, 24, 40, 48
MOST_DISCOVERY = 8000
# With fewer validation images per class, training images join them for confirmation.
FEWEST_CONFIRMATION = 12
# Of the training images, the largest part that may join or give, and of the rest that screens.
EXTRA_DONORS_PART, SCREENING_PART = 0.25, 1 / 3


@dataclass(frozen=True)
class ImagePools:
    """The images of an audit by their role.

    `numbers` are ascending, by role; no image has two. `joined` are the labels of the classes whose
    confirmation also has training images.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    numbers: dict[Role, NDArray[np.int64]]
    joined: tuple[int, ...] = ()

    def own(self, role: Role, label: int) -> NDArray[np.int64]:
        """Return one class's images with a role."""
        chosen = self.numbers[role]
        own: NDArray[np.int64] = chosen[self.labels[chosen] == label]
        return own

    def others(self, role: Role, label: int) -> NDArray[np.int64]:
        """Return the other classes' images with a role."""
        chosen = self.numbers[role]
        others: NDArray[np.int64] = chosen[self.labels[chosen] != label]
        return others


def divide(data: Dataset, seed: int) -> ImagePools:
    """Give training and validation images their roles; test images get none.

    Validation images confirm, since the classifier was not trained on them. Training images
    discover, screen, and are donors in confirmation; where a class has fewer than
    `FEWEST_CONFIRMATION` validation images, some of its training images confirm too.
    """
    rng = np.random.default_rng([seed, 5])
    train, validation = data.where("train"), data.where("validation")
    most = max(SCREENING, min(DISCOVERY, MOST_DISCOVERY // len(data.classes)))
    found: dict[Role, list[NDArray[np.int64]]] = {role: [] for role in get_args(Role)}
    joined = []
    for label in range(len(data.classes)):
        held = rng.permutation(validation[data.labels[validation] == label])[:CONFIRMATION]
        shown = rng.permutation(train[data.labels[train] == label])
        more = min(max(FEWEST_CONFIRMATION - len(held), 0), int(EXTRA_DONORS_PART * len(shown)))
        if more:
            joined.append(label)
        extra_donors = min(EXTRA_DONORS, int(EXTRA_DONORS_PART * len(shown)) - more)
        rest = shown[more + extra_donors :]
        screening = min(SCREENING, int(SCREENING_PART * len(rest)))
        found["confirmation"].append(np.concatenate([held, shown[:more]]))
        found["extra_donors"].append(shown[more : more + extra_donors])
        found["screening"].append(rest[:screening])
        found["discovery"].append(rest[screening:][:most])
    numbers: dict[Role, NDArray[np.int64]] = {
        role: np.sort(np.concatenate(parts)).astype(np.int64) for role, parts in found.items()
    }
    return ImagePools(data.pixels, data.labels, numbers, tuple(joined))
