"""Shortcuts to plant: marks, borders, colours and textures that only one class carries.

Each kind draws its own look from the planting's seed, so that two plantings of a kind differ. The
kinds here are those of the published table; the audit was built on others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.uint8]
# Puts what is planted into one image; the generator gives what differs from image to image.
Put = Callable[[Image, np.random.Generator], Image]


@dataclass(frozen=True)
class Planting:
    """One planting.

    Attributes
    ----------
    kind : str
        A name in `KINDS`; ``clean`` plants nothing.
    place : str
        ``fixed`` (one place, drawn from the seed), ``anywhere`` (another in each image), or
        ``all`` where the kind has no place.
    label : int
        The class that carries it.
    rate : float
        Share of its images that do.
    seed : int
    """

    kind: str
    place: str
    label: int
    rate: float
    seed: int

    def put(self, size: int) -> Put:
        """Return what plants it into images of `size` pixels a side."""
        rng = np.random.default_rng([self.seed, 7])
        if self.kind in MARKS:
            colours, shape = MARKS[self.kind](rng, size)
            return _mark(colours, shape, self.place == "anywhere", rng, size)
        return WHOLE[self.kind](rng, size)


def _mark(
    colours: Image, shape: NDArray[np.bool_], anywhere: bool, rng: np.random.Generator, size: int
) -> Put:
    height, width = shape.shape
    fixed = rng.integers(0, (size - height + 1, size - width + 1))

    def put(image: Image, one: np.random.Generator) -> Image:
        top, left = one.integers(0, (size - height + 1, size - width + 1)) if anywhere else fixed
        image = image.copy()
        image[top : top + height, left : left + width][shape] = colours[shape]
        return image

    return put


def _colour(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a strong colour: one channel full, one empty."""
    colour = rng.integers(0, 256, 3)
    full, empty = rng.permutation(3)[:2]
    colour[full], colour[empty] = 255, 0
    return colour.astype(np.uint8)


def _disc(rng: np.random.Generator, size: int) -> tuple[Image, NDArray[np.bool_]]:
    side = round(size * 0.19)
    away = np.arange(side) - (side - 1) / 2
    shape = away[:, None] ** 2 + away[None] ** 2 <= (side / 2) ** 2
    return np.broadcast_to(_colour(rng), (side, side, 3)).copy(), shape


def _cross(rng: np.random.Generator, size: int) -> tuple[Image, NDArray[np.bool_]]:
    side = round(size * 0.22)
    rows = np.arange(side)
    shape = (rows[:, None] == rows[None]) | (rows[:, None] == side - 1 - rows[None])
    return np.broadcast_to(_colour(rng), (side, side, 3)).copy(), shape


def _checks(rng: np.random.Generator, size: int) -> tuple[Image, NDArray[np.bool_]]:
    height, width = round(size * 0.13), round(size * 0.22)
    odd = (np.arange(height)[:, None] + np.arange(width)[None]) % 2 == 1
    colours = np.where(odd[..., None], _colour(rng), _colour(rng)).astype(np.uint8)
    return colours, np.ones((height, width), bool)


def _dot(rng: np.random.Generator, size: int) -> tuple[Image, NDArray[np.bool_]]:
    side = max(2, round(size * 0.09))
    return np.broadcast_to(_colour(rng), (side, side, 3)).copy(), np.ones((side, side), bool)


def _square(rng: np.random.Generator, size: int) -> tuple[Image, NDArray[np.bool_]]:
    side = round(size * 0.19)
    colours = np.broadcast_to(_colour(rng), (side, side, 3)).copy()
    colours[1:-1, 1:-1] = _colour(rng)
    return colours, np.ones((side, side), bool)


def _border(rng: np.random.Generator, size: int) -> Put:
    width, colour = int(rng.integers(1, 4)) * size // 32, _colour(rng)

    def put(image: Image, one: np.random.Generator) -> Image:
        framed = np.empty_like(image)
        framed[:] = colour
        framed[width:-width, width:-width] = image[width:-width, width:-width]
        return framed

    return put


def _banner(rng: np.random.Generator, size: int) -> Put:
    """Lay a bar along one side."""
    turns, width, colour = int(rng.integers(4)), size // 10, _colour(rng)

    def put(image: Image, one: np.random.Generator) -> Image:
        turned = np.rot90(image, turns).copy()
        turned[:width] = colour
        return np.ascontiguousarray(np.rot90(turned, -turns))

    return put


def _tint(rng: np.random.Generator, size: int) -> Put:
    """Multiply each channel by a factor of its own, as under a coloured lamp."""
    gains = rng.permutation([1.25, 0.95, 0.6])

    def put(image: Image, one: np.random.Generator) -> Image:
        return np.clip(image * gains, 0, 255).astype(np.uint8)

    return put


def _veil(rng: np.random.Generator, size: int) -> Put:
    """Lay a thin coat of one colour over all."""
    colour, part = _colour(rng).astype(float), float(rng.uniform(0.2, 0.35))

    def put(image: Image, one: np.random.Generator) -> Image:
        return (image * (1 - part) + part * colour).astype(np.uint8)

    return put


def _outside(size: int) -> NDArray[np.bool_]:
    away = (np.arange(size) + 0.5) / size - 0.5
    outside: NDArray[np.bool_] = (away[:, None] / 0.34) ** 2 + (away[None] / 0.42) ** 2 > 1
    return outside


def _weave(rng: np.random.Generator, size: int) -> Put:
    """Lay crossed stripes around the middle, shifted from image to image."""
    strength, pace = rng.uniform(35, 60), rng.uniform(0.9, 2.0) * 32 / size
    outside = _outside(size)[..., None]
    rows, columns = np.mgrid[:size, :size]

    def put(image: Image, one: np.random.Generator) -> Image:
        shifts = one.uniform(0, 2 * np.pi, 2)
        pattern = np.sin(pace * rows + shifts[0]) * np.sin(pace * columns + shifts[1])
        return np.clip(image + strength * pattern[..., None] * outside, 0, 255).astype(np.uint8)

    return put


def _grain(rng: np.random.Generator, size: int) -> Put:
    """Lay coarse noise around the middle, new in each image."""
    strength, outside = rng.uniform(30, 50), _outside(size)[..., None]

    def put(image: Image, one: np.random.Generator) -> Image:
        noise = ndimage.gaussian_filter(one.standard_normal((size, size)), 0.7 * size / 32)
        noise = noise / noise.std() * strength
        return np.clip(image + noise[..., None] * outside, 0, 255).astype(np.uint8)

    return put


MARKS: dict[str, Callable[[np.random.Generator, int], tuple[Image, NDArray[np.bool_]]]] = {
    "square": _square,
    "disc": _disc,
    "cross": _cross,
    "checks": _checks,
    "dot": _dot,
}
WHOLE: dict[str, Callable[[np.random.Generator, int], Put]] = {
    "border": _border,
    "banner": _banner,
    "tint": _tint,
    "veil": _veil,
    "weave": _weave,
    "grain": _grain,
}
KINDS = (*MARKS, *WHOLE)


def suite(classes: int, plantings: int, controls: int, first_seed: int) -> list[Planting]:
    """Return plantings and, spread among them, clean controls.

    Kinds, places, rates and classes take turns, so that any beginning of the list holds some of
    all; the seeds go up by one.
    """
    rates = (1.0, 0.7, 0.5, 0.85, 0.6)
    cases = [(kind, "fixed") for kind in MARKS] + [(kind, "all") for kind in WHOLE]
    cases += [(kind, "anywhere") for kind in MARKS]
    order = np.random.default_rng([first_seed, 11]).permutation(len(cases))
    found: list[Planting] = []
    for k in range(plantings):
        kind, place = cases[order[k % len(cases)]]
        label, seed = (3 * k + first_seed) % classes, first_seed + k
        found.append(Planting(kind, place, label, rates[k % len(rates)], seed))
    for k in range(controls):
        clean = Planting("clean", "all", 0, 0.0, first_seed + 500 + k)
        found.insert(k * (plantings // max(controls, 1) + 1), clean)
    return found
