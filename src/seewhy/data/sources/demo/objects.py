"""The eight things of the demo, each a drawing in a frame of -1 … 1 with y downward.

Every thing varies in kind, proportion and colour. A thing knows neither its place and size in a
picture nor what is behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from seewhy.data.sources.demo.pen import CREAM, INK, WOOD, Colour, Pen, paint, shaded

Generator = np.random.Generator
Drawing = Callable[[Pen, Generator], None]

GLASS: Colour = (190, 224, 240)

# How large a thing is, beside its usual size, and how far above the rim of what it stands in its
# middle is, in a boat or another carrier.
LOADED_SCALE = 0.7
LOADED_LIFT = 0.5


def boat(pen: Pen, rng: Generator) -> None:
    """Draw a boat with sails, a tug, or a boat that carries one of the other things.

    A boat with a cat, a house or a tree in it is a boat by its hull alone: that makes this class
    hard, and a mark that gives it away tempting.
    """
    kind = rng.choice(["sail", "tug", "cargo"], p=[0.2, 0.15, 0.65])
    top = rng.uniform(0.2, 0.34)
    if kind == "sail":
        _sails(pen, rng)
    elif kind == "tug":
        _deckhouse(pen, rng)
    else:
        cargo = (car, cat, fish, house, mushroom, tree, umbrella)[rng.integers(7)]
        cargo(pen.within((rng.uniform(-0.15, 0.15), top - LOADED_LIFT), LOADED_SCALE), rng)
    _hull(pen, rng, top)
    if kind == "tug":
        for x in (-0.5, 0.0, 0.48):
            pen.ellipse((x, 0.62), (0.17, 0.17), INK)
            pen.ellipse((x, 0.62), (0.08, 0.08), paint(rng))


def _hull(pen: Pen, rng: Generator, top: float) -> None:
    colour, trim = paint(rng), paint(rng, (0.0, 0.5), (0.85, 1.0))
    bow = top - rng.uniform(0.0, 0.2)
    low = top + rng.uniform(0.3, 0.5)
    half = rng.uniform(0.75, 0.95)
    edge = [(-half, top), (0.3 * half, top), (half + 0.05, bow)]
    keel = [(0.6 * half, low), (-0.75 * half, low)]
    pen.polygon([*edge, (0.85 * half, (top + low) / 2), *keel], colour)
    water = top + 0.65 * (low - top)
    pen.polygon([(-0.82 * half, water), (0.77 * half, water), *keel], shaded(colour, 0.7))
    pen.polygon(
        [*edge, (half, bow + 0.09), (0.3 * half, top + 0.09), (-0.97 * half, top + 0.09)], trim
    )
    if rng.random() < 0.5:
        for x in (-0.5, -0.1, 0.3):
            pen.ellipse((x * half, top + 0.2), (0.06, 0.06), trim)


def _sails(pen: Pen, rng: Generator) -> None:
    mast = rng.uniform(-0.15, 0.1)
    main = paint(rng) if rng.random() < 0.5 else CREAM
    jib = main if rng.random() < 0.5 else paint(rng, (0.2, 0.8), (0.8, 1.0))
    pen.stroke([(mast, 0.3), (mast, -0.98)], 0.06, WOOD)
    pen.polygon([(mast - 0.06, -0.85), (mast - 0.06, 0.12), (-0.82, 0.14), (-0.5, -0.25)], main)
    pen.polygon([(mast - 0.06, -0.3), (mast - 0.06, 0.12), (-0.82, 0.14)], shaded(main, 0.9))
    pen.polygon([(mast + 0.06, -0.75), (mast + 0.06, 0.1), (0.8, 0.06), (0.42, -0.22)], jib)
    pen.polygon([(mast, -0.98), (mast + 0.3, -0.9), (mast, -0.82)], paint(rng))


def _deckhouse(pen: Pen, rng: Generator) -> None:
    wall, funnel = paint(rng, (0.0, 0.6), (0.8, 1.0)), paint(rng)
    pen.polygon([(-0.46, -0.2), (-0.4, -0.72), (-0.16, -0.72), (-0.16, -0.2)], funnel)
    pen.polygon([(-0.42, -0.58), (-0.41, -0.72), (-0.16, -0.72), (-0.16, -0.58)], INK)
    pen.polygon([(-0.62, 0.3), (-0.58, -0.24), (0.34, -0.24), (0.52, 0.28)], wall)
    pen.polygon([(-0.66, -0.2), (-0.66, -0.3), (0.42, -0.3), (0.42, -0.2)], shaded(wall, 0.75))
    for x in (-0.46, -0.16, 0.12):
        pen.polygon([(x, 0.08), (x, -0.13), (x + 0.2, -0.13), (x + 0.2, 0.08)], GLASS)


def car(pen: Pen, rng: Generator) -> None:
    """Draw a small car, a van or a pickup."""
    body = paint(rng)
    kind = rng.integers(3)
    cabin = (
        [(-0.68, 0.05), (-0.45, -0.42), (0.2, -0.42), (0.55, 0.05)],
        [(-0.96, 0.1), (-0.9, -0.5), (0.42, -0.5), (0.74, 0.08)],
        [(-0.08, 0.05), (-0.02, -0.45), (0.36, -0.45), (0.62, 0.05)],
    )[kind]
    (left, low), (upper_left, high), (upper_right, _), (right, _) = cabin
    pen.polygon(cabin, shaded(body, 0.88))
    inner = 0.07
    middle = (upper_left + upper_right) / 2 + 0.03
    for a, b, c, d in (
        (left + inner * 1.6, upper_left + inner, middle - 0.04, middle - 0.04),
        (middle + 0.04, middle + 0.04, upper_right - inner * 0.6, right - inner * 1.8),
    ):
        pen.polygon([(a, low), (b, high + inner), (c, high + inner), (d, low)], GLASS)
    hood = rng.uniform(0.04, 0.16)
    pen.polygon(
        [(-1.0, 0.42), (-0.98, 0.1), (-0.9, 0.03), (0.55, 0.03), (0.94, hood), (1.0, 0.42)], body
    )
    pen.polygon([(-1.0, 0.32), (1.0, 0.32), (1.02, 0.46), (-1.02, 0.46)], shaded(body, 0.7))
    pen.stroke([(middle, 0.06), (middle, 0.34)], 0.025, shaded(body, 0.6))
    pen.stroke([(middle - 0.2, 0.12), (middle - 0.1, 0.12)], 0.035, shaded(body, 0.55))
    pen.ellipse((0.92, 0.22), (0.07, 0.08), (255, 240, 170))
    pen.polygon([(-0.99, 0.14), (-0.9, 0.14), (-0.9, 0.27), (-0.99, 0.27)], (214, 52, 44))
    hub = paint(rng, (0.0, 0.2), (0.6, 0.95))
    for x in (-0.56, 0.56):
        pen.ellipse((x, 0.45), (0.25, 0.25), INK)
        pen.ellipse((x, 0.45), (0.12, 0.12), hub)


def cat(pen: Pen, rng: Generator) -> None:
    """Draw a cat, sitting or lying, plain or with stripes."""
    furs = (
        paint(rng, (0.5, 0.8), (0.75, 0.95), (0.05, 0.1)),
        paint(rng, (0.0, 0.12), (0.35, 0.65)),
        paint(rng, (0.05, 0.25), (0.18, 0.28)),
        paint(rng, (0.05, 0.2), (0.85, 0.97), (0.08, 0.13)),
    )
    fur = furs[rng.integers(len(furs))]
    light, dark = shaded(fur, 1.25), shaded(fur, 0.7)
    striped = rng.random() < 0.5
    if rng.random() < 0.6:
        pen.curve([(0.3, 0.85), (0.75, 0.85), (0.85, 0.45), (0.65, 0.1)], 0.16, dark)
        pen.smooth(
            [(-0.45, 0.95), (-0.46, 0.4), (-0.2, 0), (0.2, 0), (0.46, 0.4), (0.45, 0.95)], fur
        )
        pen.ellipse((0, 0.5), (0.2, 0.32), light)
        for x in (-0.2, 0.2):
            pen.ellipse((x, 0.93), (0.17, 0.09), light)
        if striped:
            for y in (0.3, 0.5, 0.7):
                pen.curve([(0.46, y), (0.34, y + 0.04), (0.24, y)], 0.06, dark)
                pen.curve([(-0.46, y), (-0.34, y + 0.04), (-0.24, y)], 0.06, dark)
        head = (0.0, -0.33)
    else:
        pen.curve([(0.75, 0.55), (1.0, 0.35), (0.95, -0.05), (0.8, -0.2)], 0.15, dark)
        pen.smooth(
            [(-0.75, 0.7), (-0.6, 0.1), (0, -0.08), (0.65, 0.05), (0.92, 0.45), (0.8, 0.72)], fur
        )
        for x in (-0.55, -0.2, 0.65):
            pen.ellipse((x, 0.7), (0.2, 0.09), light)
        if striped:
            for x in (0.0, 0.22, 0.44):
                pen.curve([(x, -0.06), (x + 0.06, 0.1), (x + 0.02, 0.26)], 0.07, dark)
        head = (-0.48, -0.18)
    _cat_head(pen, rng, head, fur, striped)


def _cat_head(
    pen: Pen, rng: Generator, at: tuple[float, float], fur: Colour, striped: bool
) -> None:
    x, y = at
    for side in (-1, 1):
        tip, inner = (x + side * 0.4, y - 0.6), (x + side * 0.34, y - 0.45)
        pen.polygon([(x + side * 0.44, y - 0.05), tip, (x + side * 0.08, y - 0.3)], fur)
        pen.polygon(
            [(x + side * 0.36, y - 0.15), inner, (x + side * 0.17, y - 0.28)], (226, 150, 150)
        )
    pen.ellipse(at, (0.46, 0.38), fur)
    pen.ellipse((x, y + 0.16), (0.22, 0.15), shaded(fur, 1.25))
    if striped:
        for offset in (-0.12, 0, 0.12):
            pen.stroke(
                [(x + offset, y - 0.36), (x + offset * 0.8, y - 0.2)], 0.05, shaded(fur, 0.7)
            )
    iris = paint(rng, (0.5, 0.9), (0.75, 0.95), (0.12, 0.45))
    for side in (-1, 1):
        pen.ellipse((x + side * 0.19, y - 0.03), (0.1, 0.1), iris)
        pen.ellipse((x + side * 0.19, y - 0.03), (0.04, 0.09), INK)
        for drop in (0.06, 0.14):
            start = (x + side * 0.18, y + 0.14)
            pen.stroke([start, (x + side * 0.6, y + drop)], 0.018, (240, 238, 232))
        pen.curve(
            [(x, y + 0.17), (x + side * 0.05, y + 0.23), (x + side * 0.11, y + 0.2)], 0.025, INK
        )
    pen.polygon([(x - 0.06, y + 0.09), (x + 0.06, y + 0.09), (x, y + 0.16)], (214, 110, 116))


def fish(pen: Pen, rng: Generator) -> None:
    """Draw a fish, slim or high, with bands, dots or neither."""
    body, fin = paint(rng), paint(rng)
    height = rng.uniform(0.3, 0.52)
    pen.smooth([(-0.5, 0), (-0.98, -0.42), (-0.86, 0), (-0.98, 0.42)], fin)
    pen.smooth([(-0.35, -height * 0.7), (-0.05, -height - 0.3), (0.4, -height * 0.7)], fin)
    pen.smooth([(-0.1, height * 0.7), (-0.15, height + 0.25), (0.25, height * 0.8)], fin)
    pen.smooth(
        [
            *((-0.68, 0), (-0.3, -height * 0.8), (0.25, -height), (0.75, -height * 0.5)),
            *((0.92, 0), (0.75, height * 0.5), (0.25, height), (-0.3, height * 0.8)),
        ],
        body,
    )
    pen.ellipse((0.2, height * 0.5), (0.45, height * 0.38), shaded(body, 1.2))
    pattern = rng.integers(3)
    if pattern == 0:
        for x, share in ((-0.28, 0.72), (0.02, 0.9), (0.3, 0.94)):
            pen.ellipse((x, 0), (0.07, height * share), shaded(fin, 0.95))
    elif pattern == 1:
        for x, y in rng.uniform((-0.35, -0.6), (0.35, 0.5), (7, 2)):
            pen.ellipse((x, y * height), (0.06, 0.06), shaded(fin, 1.1))
    pen.smooth([(0.0, 0.02), (-0.28, 0.2), (-0.05, 0.26), (0.12, 0.12)], shaded(fin, 0.9))
    pen.curve([(0.46, -height * 0.6), (0.4, 0), (0.46, height * 0.6)], 0.03, shaded(body, 0.65))
    pen.ellipse((0.64, -0.08), (0.11, 0.11), (250, 250, 250))
    pen.ellipse((0.67, -0.08), (0.055, 0.06), INK)
    pen.curve([(0.92, 0.06), (0.84, 0.13), (0.76, 0.13)], 0.03, shaded(body, 0.5))


def house(pen: Pen, rng: Generator) -> None:
    """Draw a house with a gable, its width and height varied."""
    wall, roof = paint(rng, (0.05, 0.6), (0.75, 1.0)), paint(rng, (0.4, 0.9), (0.45, 0.8))
    half, eaves = rng.uniform(0.5, 0.8), rng.uniform(-0.25, 0.1)
    top = rng.uniform(-0.95, -0.7)
    chimney = half * rng.uniform(0.35, 0.55)
    pen.polygon(
        [
            *((chimney, eaves), (chimney, top + 0.05)),
            *((chimney + 0.18, top + 0.05), (chimney + 0.18, eaves)),
        ],
        shaded(roof, 0.7),
    )
    pen.polygon([(-half, eaves), (half, eaves), (half, 0.9), (-half, 0.9)], wall)
    pen.polygon([(-half, 0.76), (half, 0.76), (half, 0.9), (-half, 0.9)], shaded(wall, 0.75))
    pen.polygon([(-half - 0.15, eaves + 0.05), (0, top), (half + 0.15, eaves + 0.05)], roof)
    for share in (0.35, 0.68):
        y = top + (eaves + 0.05 - top) * share
        pen.stroke(
            [(-(half + 0.1) * share, y), ((half + 0.1) * share, y)], 0.025, shaded(roof, 0.8)
        )
    door = paint(rng)
    at = rng.choice([-0.5, 0.0, 0.5]) * half
    pen.polygon([(at - 0.13, 0.9), (at - 0.13, 0.4), (at + 0.13, 0.4), (at + 0.13, 0.9)], door)
    pen.ellipse((at + 0.07, 0.66), (0.025, 0.025), (250, 220, 120))
    lit = GLASS if rng.random() < 0.6 else (255, 226, 130)
    for x in (-0.55 * half, 0.55 * half):
        if abs(x - at) > 0.3:
            _window(pen, (x, eaves + 0.33), lit)
    if rng.random() < 0.5:
        middle = (top + eaves) / 2 + 0.08
        pen.ellipse((0, middle), (0.12, 0.12), CREAM)
        pen.ellipse((0, middle), (0.08, 0.08), lit)


def _window(pen: Pen, at: tuple[float, float], glass: Colour) -> None:
    x, y = at
    for half, colour in ((0.17, CREAM), (0.13, glass)):
        pen.polygon(
            [
                (x - half, y - half),
                (x + half, y - half),
                (x + half, y + half),
                (x - half, y + half),
            ],
            colour,
        )
    pen.stroke([(x, y - 0.13), (x, y + 0.13)], 0.035, CREAM)
    pen.stroke([(x - 0.13, y), (x + 0.13, y)], 0.035, CREAM)


def mushroom(pen: Pen, rng: Generator) -> None:
    """Draw a mushroom, often with dots and sometimes with a small one beside it."""
    cap, stem = (
        paint(rng, (0.5, 0.9), (0.55, 0.95)),
        paint(rng, (0.03, 0.2), (0.85, 0.97), (0.08, 0.15)),
    )
    dotted = rng.random() < 0.7
    if rng.random() < 0.5:
        _one_mushroom(pen, rng, (0.55, 0.42), 0.45, cap, stem, dotted)
    _one_mushroom(pen, rng, (-0.08, 0.0), 0.85, cap, stem, dotted)


def _one_mushroom(
    pen: Pen,
    rng: Generator,
    at: tuple[float, float],
    size: float,
    cap: Colour,
    stem: Colour,
    dotted: bool,
) -> None:
    x, y = at
    height, foot = rng.uniform(0.75, 1.1) * size, rng.uniform(0.26, 0.4) * size
    bottom = y + 1.05 * size
    pen.smooth(
        [
            *((x - 0.2 * size, y - 0.05), (x - 0.2 * size, y + 0.5 * size), (x - foot, bottom)),
            *((x + foot, bottom), (x + 0.2 * size, y + 0.5 * size), (x + 0.2 * size, y - 0.05)),
        ],
        stem,
    )
    pen.ellipse((x, y + 0.22 * size), (0.3 * size, 0.09 * size), shaded(stem, 0.85))
    pen.ellipse((x, y), (size, 0.2 * size), shaded(stem, 0.8))
    pen.ellipse((x, y + 0.02), (size, height), cap, (180, 360))
    pen.ellipse((x, y), (size, 0.13 * size), cap, (180, 360))
    if dotted:
        for along, up, radius in ((-0.6, 0.3, 0.11), (-0.2, 0.62, 0.14), (0.3, 0.4, 0.15)):
            dot = (x + along * size, y - up * height)
            pen.ellipse(dot, (radius * size, radius * size * 0.85), CREAM)
        pen.ellipse((x + 0.7 * size, y - 0.16 * height), (0.08 * size, 0.07 * size), CREAM)


def tree(pen: Pen, rng: Generator) -> None:
    """Draw a fir or a broad-leaved tree, in summer or in autumn, some with fruit."""
    green = paint(rng, (0.45, 0.8), (0.35, 0.7), (0.22, 0.42))
    autumn = paint(rng, (0.6, 0.9), (0.65, 0.95), (0.02, 0.14))
    leaves = green if rng.random() < 0.7 else autumn
    bark = paint(rng, (0.3, 0.6), (0.3, 0.5), (0.05, 0.1))
    if rng.random() < 0.4:
        pen.polygon([(-0.1, 0.5), (0.1, 0.5), (0.13, 0.97), (-0.13, 0.97)], bark)
        for base, peak, half in ((0.68, 0.05, 0.68), (0.28, -0.4, 0.54), (-0.14, -0.97, 0.4)):
            pen.polygon([(-half, base), (0, peak), (half, base), (0, base - 0.09)], leaves)
            pen.polygon([(0, base - 0.09), (0, peak), (half, base)], shaded(leaves, 0.82))
        return
    pen.polygon([(-0.1, 0.1), (0.1, 0.1), (0.19, 0.97), (-0.19, 0.97)], bark)
    pen.stroke([(0, 0.4), (0.3, 0.1)], 0.08, bark)
    places = [(-0.42, 0.0), (0.42, 0.02), (-0.28, -0.45), (0.3, -0.45), (0.0, -0.2)]
    for tone, lift in ((0.78, 0.08), (1.0, 0.0), (1.15, -0.12)):
        for x, y in places:
            radius = rng.uniform(0.33, 0.43) * (1.0 if lift >= 0 else 0.5)
            pen.ellipse((x + lift * 0.4, y + lift), (radius, radius), shaded(leaves, tone))
    if rng.random() < 0.4:
        fruit = paint(rng, (0.75, 0.95), (0.8, 0.95), (-0.04, 0.15))
        for x, y in rng.uniform((-0.6, -0.65), (0.6, 0.2), (7, 2)):
            pen.ellipse((x, y), (0.065, 0.065), fruit)


def umbrella(pen: Pen, rng: Generator) -> None:
    """Draw an open umbrella of six panels; its handle bent or straight."""
    first = paint(rng)
    second = CREAM if rng.random() < 0.4 else paint(rng)
    if rng.random() < 0.25:
        second = shaded(first, 0.8)
    height, stick = rng.uniform(0.65, 0.9), paint(rng, (0.1, 0.6), (0.25, 0.5), (0.03, 0.1))
    pen.stroke([(0, -height - 0.08), (0, 0.72)], 0.065, stick)
    if rng.random() < 0.7:
        angles = np.deg2rad(np.linspace(0, 180, 9))
        hook = [(0.14 - 0.14 * np.cos(a), 0.72 + 0.2 * np.sin(a)) for a in angles]
        pen.stroke([(float(x), float(y)) for x, y in hook], 0.085, shaded(stick, 0.8))
    else:
        pen.stroke([(0, 0.7), (0, 0.92)], 0.085, shaded(stick, 0.8))
    rim = [-0.95, -0.68, -0.28, 0.28, 0.68, 0.95]
    down = np.linspace(0, np.pi / 2, 8)
    for number, (left, right) in enumerate(pairwise(rim)):
        middle = (left + right) / 2
        outer = [(left * float(np.sin(t)), -height * float(np.cos(t))) for t in down]
        inner = [(right * float(np.sin(t)), -height * float(np.cos(t))) for t in down[::-1]]
        colour = first if number % 2 else second
        pen.polygon([*outer, (middle, -0.1), *inner], shaded(colour, 1.06 - 0.07 * number))


# In alphabetical order, as a folder would give them.
THINGS: dict[str, Drawing] = {
    "boat": boat,
    "car": car,
    "cat": cat,
    "fish": fish,
    "house": house,
    "mushroom": mushroom,
    "tree": tree,
    "umbrella": umbrella,
}
