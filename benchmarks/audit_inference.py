"""Whether the audit's intervals and p-values keep what they promise when donors differ.

    python -m benchmarks.audit_inference

Changes of a probability are simulated without an effect on average: what is common to all that
one donor gives has a share of the variance, the rest is each recipient's own. "Pairs" treats
every pair of donor and recipient as independent, with donors drawn with replacement, signs turned
by chance and a bootstrap over pairs. "Donors" is what the audit does: Student's t over the donors'
means, each donor with recipients of its own. A p-value of at most 0.05 should come about in 5 % of
the cases, and a 95 % interval should hold the true mean, 0, in 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.inference import measure_effect

DONORS = (4, 6, 8, 10, 16, 24)
SHARES = (0.1, 0.2, 0.3, 0.4)
# Pairs and recipients of one audit; standard deviation of a change of a probability.
PAIRS, DEVIATION = 96, 0.2
FLIPS = DRAWS = 400

# (donors, each) standardised parts: the donor's and the recipients' own.
Noise = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return normal noise of mean 0 and variance 1."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return noise of mean 0 and variance 1 that is mostly small, and large in one case of eight.

    So are changes of a probability where few images are turned.
    """
    large = rng.random(shape) < 1 / 8
    return (large - 1 / 8) / np.sqrt(1 / 8 * 7 / 8)


def pairs_of(
    rng: np.random.Generator, donors: int, share: float, noise: Noise
) -> tuple[bool, bool]:
    """Return whether 0 is rejected and covered, where pairs count as independent."""
    of_donor = np.sqrt(share) * noise(rng, (donors,))[rng.integers(0, donors, PAIRS)]
    change = DEVIATION * (of_donor + np.sqrt(1 - share) * noise(rng, (PAIRS,)))
    signs = rng.integers(0, 2, (FLIPS, PAIRS)) * 2 - 1
    p = (1 + (signs @ change >= change.sum()).sum()) / (FLIPS + 1)
    means = change[rng.integers(0, PAIRS, (DRAWS, PAIRS))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return bool(p <= 0.05), bool(low <= 0 <= high)


def donors_of(
    rng: np.random.Generator, donors: int, each: int, share: float, noise: Noise
) -> tuple[bool, bool]:
    """Return whether 0 is rejected and covered by the audit's own inference."""
    of_donor = np.sqrt(share) * noise(rng, (donors, 1))
    change = DEVIATION * (of_donor + np.sqrt(1 - share) * noise(rng, (donors, each)))
    answers = np.stack([change, np.zeros_like(change)], axis=2).astype(np.float32)
    found = measure_effect(answers, np.zeros_like(answers), 0)
    return found.p <= 0.05, found.low <= 0 <= found.high


def table(rounds: int, seed: int) -> str:
    """Return the simulation as Markdown."""
    rng = np.random.default_rng(seed)
    lines = [
        "| changes | donors | variance between donors | pairs: rejected | covered "
        "| insertion: rejected | covered | ablation: rejected | covered |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, noise in (("normal", normal), ("skewed", skewed)):
        for donors in DONORS:
            for share in SHARES:
                runs = [
                    [pairs_of(rng, donors, share, noise) for _ in range(rounds // 5)],
                    [
                        donors_of(rng, donors, max(1, 64 // donors), share, noise)
                        for _ in range(rounds)
                    ],
                    [donors_of(rng, donors, 1, share, noise) for _ in range(rounds)],
                ]
                cells = [f"{rate:.3f}" for run in runs for rate in np.mean(run, axis=0)]
                lines.append(f"| {name} | {donors} | {share:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(table(given.rounds, given.seed))


if __name__ == "__main__":
    main()
