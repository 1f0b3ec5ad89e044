"""What stands around the demo's objects and is none of them: carriers and small litter.

A carrier is what a thing may stand in, so that a boat cannot be recognised by being below another
thing. Clutter is drawn without knowing which thing it surrounds.
"""

from __future__ import annotations

import numpy as np

from seewhy.data.sources.demo.pen import CREAM, INK, WOOD, Pen, hsv, paint, shaded

Generator = np.random.Generator

# Where the middle of a carrier's rim is, about, in its frame.
RIM = 0.27


def carrier(pen: Pen, rng: Generator) -> None:
    """Draw something that another thing may stand in, a little like a hull: bowl, crate, sledge."""
    kind, colour = rng.integers(3), paint(rng)
    top, half = RIM + rng.uniform(-0.05, 0.07), rng.uniform(0.7, 0.95)
    low = top + rng.uniform(0.34, 0.5)
    middle = (top + low) / 2
    if kind == 0:
        pen.polygon([(-0.28, low), (0.28, low), (0.36, low + 0.1), (-0.36, low + 0.1)], INK)
        pen.ellipse((0, top), (half, low - top + 0.04), colour, (0, 180))
        pen.ellipse((0, top), (half, (low - top) * 0.6), shaded(colour, 1.2), (0, 180))
        for x in (-0.5, 0.0, 0.5):
            pen.ellipse((x * half, top + 0.13), (0.09, 0.07), CREAM)
    elif kind == 1:
        wood = paint(rng, (0.4, 0.6), (0.5, 0.8), (0.07, 0.1))
        pen.polygon([(-half, top), (half, top), (0.92 * half, low), (-0.92 * half, low)], wood)
        pen.stroke([(-0.95 * half, middle), (0.95 * half, middle)], 0.04, shaded(wood, 0.6))
        for x in (-0.85, 0.0, 0.85):
            pen.stroke([(x * half, top + 0.05), (x * half, low - 0.05)], 0.1, shaded(wood, 0.8))
    else:
        rail = shaded(WOOD, rng.uniform(0.7, 1.2))
        for x in (-0.5, 0.4):
            pen.stroke([(x, top), (x, low)], 0.08, rail)
        pen.curve([(half + 0.1, top), (half + 0.05, low), (-half, low)], 0.08, rail)
        pen.polygon([(-half, top), (half, top), (half, middle), (-half, middle)], colour)


def distractor(pen: Pen, rng: Generator) -> None:
    """Draw something that is none of the things: a pebble, a ball, a leaf, a plank, a shard."""
    kind, colour = rng.integers(5), paint(rng, (0.2, 0.9), (0.35, 0.95))
    if kind == 0:
        angles = np.linspace(0, 2 * np.pi, 7, endpoint=False)
        radii = rng.uniform(0.6, 1.0, 7)
        pen.smooth(
            [
                (float(r * np.cos(a)), float(r * np.sin(a)))
                for a, r in zip(angles, radii, strict=True)
            ],
            hsv(0.08, 0.12, rng.uniform(0.4, 0.8)),
        )
    elif kind == 1:
        pen.ellipse((0, 0), (0.8, 0.8), colour)
        pen.ellipse((0, 0), (0.28, 0.8), shaded(colour, 0.75))
        pen.ellipse((-0.3, -0.35), (0.18, 0.14), shaded(colour, 1.4))
    elif kind == 2:
        pen.smooth([(-1.0, 0), (-0.2, -0.45), (0.8, 0), (-0.2, 0.45)], colour)
        pen.stroke([(-1.1, 0), (0.7, 0)], 0.07, shaded(colour, 0.7))
    elif kind == 3:
        pen.polygon([(-1.1, -0.2), (1.1, -0.25), (1.1, 0.2), (-1.1, 0.22)], shaded(WOOD, 1.2))
        pen.stroke([(-0.9, 0), (0.9, -0.02)], 0.04, shaded(WOOD, 0.9))
    else:
        corners = np.deg2rad(rng.uniform(0, 60) + np.array([0, 110, 230]))
        pen.polygon(np.stack([np.cos(corners), np.sin(corners)], axis=1), colour)
