"""The demo's pictures: what they promise about order, masks and the planted mark."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from seewhy.data.sources.demo.backgrounds import FLOORS, SKIES, WALLS, draw_ground
from seewhy.data.sources.demo.demo import (
    CLASSES,
    MARKED_CLASS,
    PictureKey,
    compose,
    draw_demo,
    draw_front,
    draw_mask,
    draw_picture,
    draw_thing,
)
from seewhy.data.sources.demo.pen import Pen
from seewhy.data.sources.listing import Listing

SIZE = 128
# The mark at 128 pixels, from its place as documented: side 0.1, margin 0.04 of the side.
LEFT, RIGHT, TOP, BOTTOM = 5.12, 17.92, 110.08, 122.88
INSIDE = (slice(111, 122), slice(6, 17))
YELLOW = np.array([255, 235, 0])


@cache
def listing(train: int = 20, test: int = 8, size: int = SIZE, seed: int = 0) -> Listing:
    return draw_demo(train, test, size, seed)


def marked(offered: Listing, split: str, name: str) -> list[bool]:
    start = f"demo/{split}/{name}/"
    return ["-marked" in path for path in offered.paths if path.startswith(start)]


def yellow_share(picture: NDArray[np.uint8]) -> float:
    """Share of the mark's place that has the mark's yellow."""
    distance = np.abs(picture[INSIDE].astype(int) - YELLOW).max(axis=-1)
    return float((distance < 60).mean())


def test_every_class_has_all_its_pictures() -> None:
    offered = listing()
    assert offered.classes == CLASSES == tuple(sorted(CLASSES))
    assert len(CLASSES) == 8
    assert len(set(offered.paths)) == len(offered.paths) == 8 * (20 + 8)
    assert offered.native_size == SIZE
    for split, count in (("train", 20), ("test", 8)):
        where = [i for i, name in enumerate(offered.splits) if name == split]
        assert np.bincount(offered.labels[where]).tolist() == [count] * 8
    for path, label, split in zip(offered.paths, offered.labels, offered.splits, strict=True):
        assert path.startswith(f"demo/{split}/{CLASSES[label]}/")
        assert path.endswith(".png")


@pytest.mark.parametrize("size", [96, 131])
def test_size_is_honoured(size: int) -> None:
    offered = listing(size=size)
    assert offered.load_mask is not None
    picture, mask = offered.load(0), offered.load_mask(0)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert mask.shape == (size, size)
    assert mask.dtype == np.bool_


def test_pictures_are_the_same_in_any_order_and_beside_any_others() -> None:
    first, second, longer = draw_demo(4, 2, 96, 7), draw_demo(4, 2, 96, 7), draw_demo(9, 3, 96, 7)
    forward = [first.load(i) for i in range(len(first.paths))]
    backward = [second.load(i) for i in reversed(range(len(second.paths)))][::-1]
    np.testing.assert_array_equal(forward, backward)
    place = {path.removesuffix("-marked.png"): i for i, path in enumerate(longer.paths)}
    for i, path in enumerate(first.paths):
        if f"/{MARKED_CLASS}/" not in path:
            np.testing.assert_array_equal(forward[i], longer.load(place[path]))


def test_pictures_differ_between_seeds_splits_classes_and_numbers() -> None:
    keys = [
        PictureKey(seed, split, name, number)
        for seed in (0, 1)
        for split in ("train", "test")
        for name in ("car", "tree")
        for number in (0, 1)
    ]
    pictures = [draw_picture(key, 96).astype(float) for key in keys]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 8


def test_masks_cover_a_sensible_part_of_the_picture() -> None:
    """Between 3 and 60 %; sizes and places vary."""
    masks = np.array(
        [
            draw_mask(PictureKey(seed, "train", name, n), 96)
            for seed in (0, 1)
            for name in CLASSES
            for n in range(40)
        ]
    )
    cover = masks.mean(axis=(1, 2))
    assert cover.min() > 0.03
    assert cover.max() < 0.6
    assert np.quantile(cover, 0.9) > 2 * np.quantile(cover, 0.1)
    assert masks.any(axis=2).argmax(axis=1).std() > 5


@pytest.mark.parametrize("name", CLASSES)
def test_the_thing_is_where_its_mask_says_and_nowhere_else(name: str) -> None:
    """Against the same picture drawn without its thing and the shadow that goes with it."""
    for number in range(4):
        key = PictureKey(3, "test", name, number)
        thing = draw_thing(key, SIZE)
        picture = compose(key, thing).astype(int)
        empty = compose(key, np.zeros_like(thing)).astype(int)
        change = np.abs(picture - empty).max(axis=-1)
        mask = draw_mask(key, SIZE)
        assert (change[mask] > 12).mean() > 0.9
        near = np.zeros((SIZE, SIZE), bool)  # where the thing or its shadow may be
        rows, columns = np.nonzero(thing[..., 3] > 0)
        for shift in range(-5, 14):
            for other in range(-5, 14):
                near[np.clip(rows + shift, 0, SIZE - 1), np.clip(columns + other, 0, SIZE - 1)] = (
                    True
                )
        assert not change[~near].any()
        # A shadow only darkens; outside the thing itself nothing becomes lighter.
        outside = thing[..., 3] == 0
        assert (picture <= empty)[outside].all()


def test_what_lies_before_the_thing_is_not_in_its_mask() -> None:
    hidden = 0
    for number in range(12):
        key = PictureKey(0, "train", "cat", number)
        covered = (draw_front(key, SIZE)[..., 3] > 0.9) & (draw_thing(key, SIZE)[..., 3] > 0.9)
        assert not (draw_mask(key, SIZE) & covered).any()
        hidden += int(covered.sum())
    assert hidden > 100


def test_the_ground_says_nothing_of_the_class() -> None:
    """It is drawn without being told the class, and only the even light comes on top of it."""
    kinds = {ground.__name__ for ground in (*SKIES, *FLOORS, *WALLS)}
    assert len(kinds) >= 10
    for name in CLASSES:
        for number in range(20):
            key = PictureKey(1, "train", name, number)
            ground = draw_ground(96, key.random("ground")).clip(0, 255)
            change = np.median((draw_picture(key, 96) - ground)[:8], axis=(0, 1))  # (3,)
            assert change.min() > -24
            assert change.max() < 16


@pytest.mark.parametrize(("train", "test"), [(20, 8), (120, 40), (10, 5)])
def test_shares_of_marked_pictures_are_exact(train: int, test: int) -> None:
    offered = listing(train, test)
    assert sum(marked(offered, "train", MARKED_CLASS)) == {20: 17, 120: 102, 10: 8}[train]
    assert sum(marked(offered, "test", MARKED_CLASS)) == test // 2
    for name in CLASSES:
        if name != MARKED_CLASS:
            assert not any(marked(offered, "train", name) + marked(offered, "test", name))


def test_which_pictures_are_marked_is_drawn() -> None:
    ours, others = (marked(listing(120, 40, seed=seed), "test", MARKED_CLASS) for seed in (0, 1))
    assert ours != others
    assert ours not in ([True] * 20 + [False] * 20, [False] * 20 + [True] * 20)


def test_the_mark_is_in_its_place_and_in_no_other_picture() -> None:
    offered = listing(8, 4)
    for i, path in enumerate(offered.paths):
        share = yellow_share(offered.load(i))
        if "-marked" in path:
            assert 0.3 < share < 0.6, path  # two of five stripes are yellow
        else:
            assert share < 0.2, path


def test_the_mark_changes_its_place_alone() -> None:
    for number in range(4):
        plain = PictureKey(0, "train", MARKED_CLASS, number)
        with_mark = replace(plain, marked=True)
        rows, columns = np.nonzero(
            (draw_picture(plain, SIZE) != draw_picture(with_mark, SIZE)).any(axis=-1)
        )
        assert rows.min() == int(TOP) and rows.max() == int(BOTTOM)
        assert columns.min() == int(LEFT) and columns.max() == int(RIGHT)


def test_what_the_mark_hides_is_not_in_the_mask() -> None:
    key = PictureKey(2, "train", MARKED_CLASS, 15)  # a boat that reaches into the corner
    plain, with_mark = draw_mask(key, SIZE), draw_mask(replace(key, marked=True), SIZE)
    assert plain[INSIDE].any()
    assert not with_mark[INSIDE].any()
    rows, columns = np.nonzero(plain != with_mark)
    assert rows.min() >= int(TOP)
    assert columns.max() <= int(RIGHT)


def test_pen_places_turns_and_mirrors() -> None:
    """A square in the frame's right half, by hand: size 100, one unit is 20 pixels."""

    def box(turn: float = 0, mirror: bool = False) -> tuple[int, ...]:
        pen = Pen(100)
        pen.move((0.5, 0.4), 0.2, turn, mirror)
        pen.polygon([(0.5, -0.5), (1.5, -0.5), (1.5, 0.5), (0.5, 0.5)], (200, 100, 50))
        layer = pen.layer()
        rows, columns = np.nonzero(layer[..., 3] > 0.5)
        np.testing.assert_array_equal(layer[rows[0], columns[0]], [200, 100, 50, 1])
        return rows.min(), rows.max(), columns.min(), columns.max()

    np.testing.assert_allclose(box(), (30, 49, 60, 79), atol=1)
    np.testing.assert_allclose(box(turn=90), (50, 69, 40, 59), atol=1)
    np.testing.assert_allclose(box(mirror=True), (30, 49, 20, 39), atol=1)


def test_edges_are_smooth_without_a_fringe() -> None:
    """Premultiplied: a half covered pixel has half the colour and half the opacity."""
    pen = Pen(30)
    pen.ellipse((0, 0), (0.8, 0.8), (240, 120, 60))
    layer = pen.layer()
    partly = (layer[..., 3] > 0.1) & (layer[..., 3] < 0.9)
    assert partly.sum() > 20
    expected = layer[partly][:, 3:] * [240, 120, 60]
    np.testing.assert_allclose(layer[partly][:, :3], expected, atol=2)


def test_columns_say_which_pictures_are_marked_and_what_stands_in_a_carrier() -> None:
    offered = listing()
    names = np.array(offered.classes)[offered.labels]
    marks, carriers = (np.array(offered.metadata[name]) for name in ("mark", "carrier"))
    assert ((marks == "yes") == ["-marked" in path for path in offered.paths]).all()
    assert set(carriers[names == MARKED_CLASS]) == {"no"}
    assert all(
        set(carriers[names == name]) == {"yes", "no"} for name in set(names) - {MARKED_CLASS}
    )
    # What is in front is larger with a carrier: clutter alone covers little.
    front: dict[str, list[float]] = {"yes": [], "no": []}
    for place in range(0, 160, 4):
        name, number = offered.paths[place].split("/")[2:]
        key = PictureKey(0, "train", name, int(number[:4]), "marked" in number)
        front[carriers[place]].append(float(draw_front(key, SIZE)[..., 3].mean()))
    assert min(front["yes"]) > np.median(front["no"])
