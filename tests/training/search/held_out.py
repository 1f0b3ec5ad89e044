"""What two classifiers say of held-out images, made up so that the difference is known."""

from __future__ import annotations

import numpy as np

from seewhy.training.search.acceptance import HeldOut


def held_out(better: int, worse: int, count: int = 400) -> HeldOut:
    """Of `count` images the best settings win `better` that the others lose, and lose `worse`."""
    labels = np.arange(count) % 2
    right = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    configured, best = right.copy(), right.copy()
    configured[:better] = right[:better, ::-1]
    best[better : better + worse] = right[better : better + worse, ::-1]
    return HeldOut(labels, configured, best)
