"""How often the two kinds of interval hold the true calibration error, of simulated test sets.

    python -m benchmarks.calibration_intervals

Confidences are those of two classes with normal logits; answers are right as often as the logits
say, and the classifier says the logits times a factor: 1 is calibrated, more is too sure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seewhy.evaluation.calibration import weighted_error
from seewhy.statistics.bootstrap import bootstrap, interval

TEST_SETS, DRAWS = 200, 400


def sample(
    rng: np.random.Generator, images: int, factor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return confidences, chances to be right, and what came of them, (N,) each."""
    logits = np.abs(rng.normal(2, 1.5, images))
    chance = 1 / (1 + np.exp(-logits))
    right = (rng.random(images) < chance).astype(np.float64)
    return 1 / (1 + np.exp(-logits * factor)), chance, right


def main() -> None:
    """Print one line for each number of images and factor."""
    rng = np.random.default_rng(0)
    print("| images | true error | percentile | basic |\n|---|---|---|---|")
    for images in (200, 2000):
        for factor in (1.0, 1.3, 2.0):
            confidence, chance, _ = sample(rng, 2_000_000, factor)
            everything = np.ones((1, len(confidence)))
            truth = float(weighted_error(confidence, chance)(everything)[0, 0])
            held = {"percentile": 0, "basic": 0}
            for seed in range(TEST_SETS):
                confidence, _, right = sample(rng, images, factor)
                one_class = np.zeros(images, dtype=np.int64)
                error = weighted_error(confidence, right)
                (value,), drawn = bootstrap(error, one_class, DRAWS, seed)
                for kind in held:
                    found = interval(float(value), drawn[:, 0], kind)  # type: ignore[arg-type]
                    held[kind] += found.low <= truth <= found.high
            shares = " | ".join(f"{count / TEST_SETS:.2f}" for count in held.values())
            print(f"| {images:,} | {truth:.3f} | {shares} |")


if __name__ == "__main__":
    main()
