"""Which classes are named where training flips images."""

from __future__ import annotations

import pytest

from seewhy.data.quality.mirrored_classes import mirror_notes


@pytest.mark.parametrize(
    "classes",
    [
        ("0", "1", "7"),
        ("a", "b", "cat"),
        ("zero", "One", "two"),
        ("digit 3", "digit_4"),
        ("Left-hand", "right_hand"),
        ("text", "letters"),
    ],
)
def test_characters_and_sides_are_named_with_what_to_set(classes: tuple[str, ...]) -> None:
    (note,) = mirror_notes(classes, ("crop", "flip", "erase"))
    assert repr(classes[0]) in note
    assert note.endswith("set input.augmentation=crop+erase.")


@pytest.mark.parametrize(
    "classes",
    [
        ("cat", "dog"),
        ("copyright", "leftover", "bright"),
        ("context", "newsletters"),
        ("x", "dog"),
        ("phone", "bone"),
        ("left", "dog"),
    ],
)
def test_other_classes_are_not(classes: tuple[str, ...]) -> None:
    assert mirror_notes(classes, ("crop", "flip")) == []


def test_nothing_is_said_where_nothing_is_flipped() -> None:
    assert mirror_notes(("0", "1"), ("crop",)) == []
    assert mirror_notes(("0", "1"), ()) == []


def test_averages_over_mirror_images_are_named_too() -> None:
    (note,) = mirror_notes(("left", "right"), (), averaged=True)
    assert "may tell left from right, and predictions are averaged over mirror images" in note
    assert note.endswith("set evaluation.mirror=false.")
    notes = mirror_notes(("left", "right"), ("flip",), averaged=True)
    assert [one.rpartition("set ")[2] for one in notes] == [
        "input.augmentation=none.", "evaluation.mirror=false."
    ]  # fmt: skip
    assert mirror_notes(("cat", "dog"), ("flip",), averaged=True) == []


def test_flipping_alone_is_switched_off() -> None:
    (note,) = mirror_notes(("left", "right"), ("flip",))
    assert "'left', 'right' may tell left from right" in note
    assert note.endswith("set input.augmentation=none.")
