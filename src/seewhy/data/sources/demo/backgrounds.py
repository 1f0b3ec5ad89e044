"""What is behind the demo's objects: sky, meadow, water, sand, bricks and the like.

A ground is drawn without knowing which thing will be in front of it, so it says nothing of the
class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.data.sources.demo.pen import hsv

Generator = np.random.Generator
Pixels = NDArray[np.floating[Any]]  # (S, S, 3), 0 … 255, float32
Ground = Callable[[int, Generator], Pixels]


def draw_ground(size: int, rng: Generator) -> NDArray[np.float32]:
    """Draw one ground of any kind, in half of the pictures with another above it.

    float32 (size, size, 3): red, green, blue, 0 … 255.
    """
    if rng.random() < 0.5:
        return _any(WALLS, rng)(size, rng).astype(np.float32, copy=False)
    near, far = _any(FLOORS, rng)(size, rng), _any(SKIES, rng)(size, rng)
    horizon = rng.uniform(0.3, 0.7) + 0.03 * smooth_noise(size, 3, rng)[0]  # (S,)
    rows = np.arange(size, dtype=np.float32)[:, None] / size
    share = np.clip((rows - horizon) * size / 2 + 0.5, 0, 1)[..., None]  # two pixels soft
    picture: Pixels = near * share + far * (1 - share)
    return picture.astype(np.float32, copy=False)


def smooth_noise(size: int, cells: int, rng: Generator, aspect: float = 1.0) -> Pixels:
    """Return smooth noise, (size, size), about -1 … 1, with `cells` bumps across.

    `aspect` times as many bumps down as across.
    """
    down = max(2, round(cells * aspect))
    coarse = rng.uniform(-1, 1, (down, max(2, cells))).astype(np.float32)
    fine = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(fine)


def _any(grounds: tuple[Ground, ...], rng: Generator) -> Ground:
    return grounds[rng.integers(len(grounds))]


def _colour(rng: Generator, hue: float, saturation: float, value: float) -> Pixels:
    """Return a colour near to the one given, (3,)."""
    near = rng.normal((hue, saturation, value), (0.02, 0.05, 0.05))
    return np.array(hsv(near[0] % 1, *np.clip(near[1:], 0, 1)), dtype=np.float32)


def _blend(low: Pixels, high: Pixels, share: Pixels) -> Pixels:
    """Mix two colours, (3,), by a share for each pixel, (S, S)."""
    return low + (high - low) * np.clip(share, 0, 1)[..., None]


def _ramp(size: int) -> Pixels:
    """Return 0 at the top to 1 at the bottom, (S, S)."""
    rows = np.linspace(0, 1, size, dtype=np.float32)
    return np.repeat(rows[:, None], size, axis=1)


def _day(size: int, rng: Generator) -> Pixels:
    sky = _blend(_colour(rng, 0.57, 0.6, 0.85), _colour(rng, 0.54, 0.2, 0.97), _ramp(size))
    clouds = smooth_noise(size, 4, rng, 2) + 0.5 * smooth_noise(size, 9, rng, 2)
    return sky + (255 - sky) * np.clip(clouds - rng.uniform(0, 0.4), 0, 0.9)[..., None]


def _dusk(size: int, rng: Generator) -> Pixels:
    top, low = _colour(rng, 0.72, 0.5, 0.5), _colour(rng, 0.06, 0.55, 0.97)
    return _blend(top, low, _ramp(size) + 0.25 * smooth_noise(size, 3, rng, 3))


def _night(size: int, rng: Generator) -> Pixels:
    sky = _blend(_colour(rng, 0.66, 0.7, 0.2), _colour(rng, 0.62, 0.5, 0.45), _ramp(size))
    rows, columns = rng.integers(0, size, (2, size // 3))
    sky[rows, columns] = rng.uniform(150, 255, (len(rows), 1))
    return sky


def _meadow(size: int, rng: Generator) -> Pixels:
    blades = smooth_noise(size, size // 2, rng, 0.25) + smooth_noise(size, 6, rng)
    grass = _blend(
        _colour(rng, 0.28, 0.65, 0.36), _colour(rng, 0.23, 0.6, 0.72), 0.5 + 0.3 * blades
    )
    if rng.random() < 0.5:
        rows, columns = rng.integers(0, size - 1, (2, 14))
        flower = _colour(rng, rng.random(), 0.3, 0.97)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            grass[rows + down, columns + right] = flower
    return grass


def _water(size: int, rng: Generator) -> Pixels:
    bend = smooth_noise(size, 4, rng)
    waves = np.sin(_ramp(size) * rng.uniform(40, 80) + 3 * bend)
    waves += smooth_noise(size, 5, rng, 5)
    return _blend(_colour(rng, 0.58, 0.7, 0.5), _colour(rng, 0.52, 0.4, 0.85), 0.4 + 0.22 * waves)


def _sand(size: int, rng: Generator) -> Pixels:
    grain = rng.standard_normal((size, size), dtype=np.float32)
    ripples = np.sin(_ramp(size) * rng.uniform(20, 45) + 4 * smooth_noise(size, 3, rng))
    return _blend(
        _colour(rng, 0.1, 0.42, 0.68),
        _colour(rng, 0.11, 0.28, 0.95),
        0.5 + 0.13 * grain + 0.2 * ripples,
    )


def _snow(size: int, rng: Generator) -> Pixels:
    drift = smooth_noise(size, 4, rng) + 0.3 * smooth_noise(size, size // 3, rng)
    return _blend(_colour(rng, 0.6, 0.2, 0.8), _colour(rng, 0.58, 0.04, 0.98), 0.55 + 0.35 * drift)


def _pebbles(size: int, rng: Generator) -> Pixels:
    stones = smooth_noise(size, 18, rng)
    base = _blend(_colour(rng, 0.08, 0.15, 0.42), _colour(rng, 0.1, 0.1, 0.74), 0.5 + stones)
    return base + 14 * smooth_noise(size, size // 2, rng)[..., None]


def _bricks(size: int, rng: Generator) -> Pixels:
    courses = int(rng.integers(7, 12))
    height, width = size / courses, 2 * size / courses
    rows, columns = np.indices((size, size), dtype=np.float32)
    course = (rows // height).astype(int)
    along = columns + (course % 2) * width / 2
    brick = (along // width).astype(int)
    tone = rng.uniform(-1, 1, (courses + 1, courses + 2)).astype(np.float32)[course, brick]
    wall = _blend(
        _colour(rng, 0.03, 0.6, 0.5),
        _colour(rng, 0.04, 0.45, 0.78),
        0.5 + 0.35 * tone + 0.15 * smooth_noise(size, size // 2, rng),
    )
    joint = np.minimum(rows % height, along % width) < max(1.0, size / 90)
    wall[joint] = _colour(rng, 0.1, 0.08, 0.75)
    return wall


def _planks(size: int, rng: Generator) -> Pixels:
    count = int(rng.integers(4, 8))
    board = (np.arange(size) * count // size).astype(int)
    tone = rng.uniform(-1, 1, count).astype(np.float32)[board]
    veins = smooth_noise(size, size // 3, rng, 0.1) + 0.5 * smooth_noise(size, 6, rng, 0.5)
    wood = _blend(
        _colour(rng, 0.08, 0.55, 0.42),
        _colour(rng, 0.09, 0.45, 0.78),
        0.5 + 0.25 * tone + 0.2 * veins,
    )
    wood[:, 1:][:, np.diff(board) > 0] *= 0.5
    return wood if rng.random() < 0.5 else np.ascontiguousarray(wood.transpose(1, 0, 2))


def _tiles(size: int, rng: Generator) -> Pixels:
    count = int(rng.integers(4, 9))
    cell = np.arange(size) * count // size
    check = ((cell[:, None] + cell) % 2).astype(np.float32)
    hue = rng.random()
    share = check * 0.8 + 0.1 * smooth_noise(size, 5, rng)
    return _blend(_colour(rng, hue, 0.3, 0.6), _colour(rng, hue + 0.05, 0.12, 0.92), share)


def _wallpaper(size: int, rng: Generator) -> Pixels:
    angle, hue = rng.uniform(0, np.pi), rng.random()
    rows, columns = np.indices((size, size), dtype=np.float32) / size
    along = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    stripes = np.sin(along * rng.uniform(25, 70)) * 4
    return _blend(_colour(rng, hue, 0.35, 0.75), _colour(rng, hue, 0.15, 0.93), 0.5 + stripes)


def _cloth(size: int, rng: Generator) -> Pixels:
    folds = smooth_noise(size, 3, rng) + 0.4 * smooth_noise(size, 7, rng)
    weave = smooth_noise(size, size // 2, rng)
    hue = rng.random()
    return _blend(
        _colour(rng, hue, 0.55, 0.4), _colour(rng, hue, 0.35, 0.85), 0.5 + 0.4 * folds + 0.1 * weave
    )


SKIES: tuple[Ground, ...] = (_day, _day, _dusk, _night)
FLOORS: tuple[Ground, ...] = (_meadow, _water, _sand, _snow, _pebbles, _planks)
WALLS: tuple[Ground, ...] = (
    *(_day, _dusk, _night, _meadow, _water, _sand, _snow, _pebbles),
    *(_bricks, _bricks, _planks, _tiles, _wallpaper, _cloth),
)
