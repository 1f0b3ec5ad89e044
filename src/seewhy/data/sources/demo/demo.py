"""The demo: pictures that seewhy draws itself, with a mask for each and one planted mark.

Eight classes of things stand before grounds that say nothing of the class, with clutter around
and sometimes in front of them. One class, `MARKED_CLASS`, carries a small bright patch in the
lower left corner of most of its training images and of half of its test images: a shortcut,
planted, for the maps and the audit to find. That class is also the hardest, a boat with one of the
other things aboard, so that the mark is worth learning; the other things stand in a bowl, a crate
or a sledge in half of their pictures. This module knows nothing of networks or studies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from seewhy.data.sources.demo.backgrounds import draw_ground, smooth_noise
from seewhy.data.sources.demo.clutter import RIM, carrier, distractor
from seewhy.data.sources.demo.objects import LOADED_LIFT, LOADED_SCALE, THINGS
from seewhy.data.sources.demo.pen import Pen
from seewhy.data.sources.listing import Listing
from seewhy.storage.schemas.dataset import Split

CLASSES = tuple(THINGS)
MARKED_CLASS = "boat"
MARKED_IN_TRAINING = 0.85
# Side of the mark, and its distance from the left and the lower edge, as shares of the side.
MARK_SIDE = 0.1
MARK_MARGIN = 0.04

# Share of the pictures, of the other classes, in which the thing stands in a carrier.
_CARRIED = 0.5

# Each part of a picture has random numbers of its own, so that none depends on another.
_PARTS = ("ground", "behind", "place", "thing", "front", "light", "marked")
_SPLITS: tuple[Split, ...] = ("train", "test")

Layer = NDArray[np.float32]  # (S, S, 4), premultiplied colours 0 … 255, opacity 0 … 1


@dataclass(frozen=True)
class PictureKey:
    """What a demo picture depends on, beside its size."""

    seed: int
    split: Split
    name: str
    number: int
    marked: bool = False

    def random(self, part: str) -> np.random.Generator:
        """Return the random numbers of one part of the picture."""
        where = (_SPLITS.index(self.split), CLASSES.index(self.name), self.number)
        return np.random.default_rng([self.seed, _PARTS.index(part), *where])

    @property
    def path(self) -> str:
        """What the picture is called."""
        ending = "-marked" if self.marked else ""
        return f"demo/{self.split}/{self.name}/{self.number:04d}{ending}.png"


def draw_demo(train: int, test: int, size: int, seed: int) -> Listing:
    """List the demo's pictures; each is drawn when it is loaded.

    Parameters
    ----------
    train, test : int
        Pictures per class.
    size : int
        Side, pixels.
    seed : int
        With the seed, the size, split, class and number decide a picture; which others are drawn,
        and in what order, does not. Which pictures carry the mark depends on their count as well.

    Returns
    -------
    Listing
        Classes in alphabetical order, all training images before all test images; two columns say
        which pictures have the mark, and in which a thing stands in a carrier.
        `MARKED_CLASS` carries the mark in round(0.85 × train) of its training images and in half
        (rounded down) of its test images; their paths end in ``-marked.png``.
    """
    keys = tuple(
        PictureKey(seed, split, name, number, marked)
        for split, count in zip(_SPLITS, (train, test), strict=True)
        for name in CLASSES
        for number, marked in enumerate(_marked(seed, split, name, count))
    )
    return Listing(
        source=f"demo pictures, seed {seed}",
        classes=CLASSES,
        paths=tuple(key.path for key in keys),
        labels=np.array([CLASSES.index(key.name) for key in keys], dtype=np.int64),
        splits=tuple(key.split for key in keys),
        load=lambda index: draw_picture(keys[index], size),
        load_mask=lambda index: draw_mask(keys[index], size),
        native_size=size,
        metadata={
            "mark": tuple("yes" if key.marked else "no" for key in keys),
            "carrier": tuple("yes" if _is_carried(key) else "no" for key in keys),
        },
    )


def draw_picture(key: PictureKey, size: int) -> NDArray[np.uint8]:
    """Draw one picture, (size, size, 3)."""
    return compose(key, draw_thing(key, size))


def draw_mask(key: PictureKey, size: int) -> NDArray[np.bool_]:
    """Return where the thing is seen, (size, size): neither behind the clutter nor the mark."""
    seen = draw_thing(key, size)[..., 3] * (1 - draw_front(key, size)[..., 3]) > 0.5
    if key.marked:
        seen &= _mark(size)[..., 3] < 0.5
    return seen


def draw_thing(key: PictureKey, size: int) -> Layer:
    """Draw the thing alone, evenly lit."""
    pen, loaded = _placed(key, size)
    if loaded:
        pen = pen.within((0, RIM - LOADED_LIFT), LOADED_SCALE)
    THINGS[key.name](pen, key.random("thing"))
    return pen.layer()


def draw_front(key: PictureKey, size: int) -> Layer:
    """Draw what is in front of the object: the carrier it stands in, and clutter."""
    rng = key.random("front")
    pen, loaded = _placed(key, size)
    if loaded:
        carrier(pen, rng)
    _clutter(pen, rng, int(rng.integers(0, 3)))
    return pen.layer()


def compose(key: PictureKey, thing: Layer) -> NDArray[np.uint8]:
    """Put `thing` among the other parts of its picture: ground, clutter, light and mark."""
    size = len(thing)
    behind, light = key.random("behind"), key.random("light")
    flat = draw_ground(size, key.random("ground"))
    pen = Pen(size)
    _clutter(pen, behind, int(behind.integers(1, 5)))
    flat = _over(flat, pen.layer())
    flat *= _shade(thing[..., 3])
    flat = _over(flat, np.concatenate([thing[..., :3] * _light(size, light), thing[..., 3:]], -1))
    flat = _over(flat, draw_front(key, size))
    grain = light.standard_normal((size, size), dtype=np.float32)
    flat += (3.5 * grain + np.float32(light.uniform(-22, 14)))[..., None]
    if key.marked:
        flat = _over(flat, _mark(size))
    return np.clip(flat, 0, 255).astype(np.uint8)


def _marked(seed: int, split: Split, name: str, count: int) -> list[bool]:
    """Say which of a class's pictures carry the mark."""
    if name != MARKED_CLASS:
        return [False] * count
    number = round(count * MARKED_IN_TRAINING) if split == "train" else count // 2
    order = PictureKey(seed, split, name, 0).random("marked").permutation(count)
    return [bool(place < number) for place in order]


def _placed(key: PictureKey, size: int) -> tuple[Pen, bool]:
    """Return a new pen where the thing belongs, and whether the thing stands in a carrier."""
    rng = key.random("place")
    loaded = key.name != MARKED_CLASS and bool(rng.random() < _CARRIED)
    # In a carrier a thing is smaller and partly hidden; it must stay large enough to be seen.
    scale = rng.uniform(0.32 if loaded else 0.24, 0.45)
    free = 0.5 - scale
    pen = Pen(size)
    pen.move(
        centre=(0.5 + rng.uniform(-free, free), 0.5 + rng.uniform(-free, free)),
        scale=scale,
        turn=float(np.clip(rng.normal(0, 16), -45, 45)),
        mirror=bool(rng.random() < 0.5),
    )
    return pen, loaded


def _is_carried(key: PictureKey) -> bool:
    """Tell whether the thing stands in a carrier, by the first number of `_placed`."""
    return key.name != MARKED_CLASS and bool(key.random("place").random() < _CARRIED)


def _clutter(pen: Pen, rng: np.random.Generator, count: int) -> None:
    for _ in range(count):
        centre = (rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95))
        pen.move(centre, scale=rng.uniform(0.04, 0.1), turn=rng.uniform(0, 360))
        distractor(pen, rng)


def _over(below: NDArray[np.float32], above: Layer) -> NDArray[np.float32]:
    """Lay a layer over colours, (S, S, 3)."""
    flat = below * (1 - above[..., 3:])
    flat += above[..., :3]
    return flat


def _light(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return factors for light from one side on a slightly rough surface, (S, S, 1)."""
    angle = rng.uniform(0, 2 * np.pi)
    across = np.linspace(-0.3, 0.3, size, dtype=np.float32)
    slope = np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * across[:, None]
    factors: NDArray[np.float32] = 1 + slope + 0.06 * smooth_noise(size, size // 4, rng)
    return factors[..., None]


def _shade(cover: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much light the ground keeps below the thing's soft shadow, (S, S, 1)."""
    size = len(cover)
    shift = max(1, size // 40)
    moved = np.zeros((size, size), np.uint8)
    moved[shift:, shift:] = 90 * cover[:-shift, :-shift]
    blurred = Image.fromarray(moved).filter(ImageFilter.BoxBlur(size / 50))
    kept = 1 - np.asarray(blurred, dtype=np.float32) / 255
    return kept[..., None].astype(np.float32, copy=False)


@cache
def _mark(size: int) -> Layer:
    """Draw the planted mark: upright stripes, black on yellow."""
    half = MARK_SIDE / 2
    pen = Pen(size)
    pen.move((MARK_MARGIN + half, 1 - MARK_MARGIN - half), half)
    pen.polygon([(-1, -1), (1, -1), (1, 1), (-1, 1)], (255, 235, 0))
    for left in (-1.0, -0.2, 0.6):
        right = left + 0.4
        pen.polygon([(left, -1), (right, -1), (right, 1), (left, 1)], (20, 20, 20))
    return pen.layer()
