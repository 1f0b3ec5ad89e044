"""One white for a data set: what it is, what it suits, what is said of it."""

from __future__ import annotations

import pytest

from seewhy.data.decoding.value_levels import ValueRange, choose_level, decide_levels
from seewhy.errors import DataError
from seewhy.storage.schemas.levels import Kind, Levels, ValueLevel


@pytest.mark.parametrize(
    ("kind", "low", "high", "black", "white"),
    [
        ("16-bit", 0, 200, 0, 255),
        ("16-bit", 0, 1000, 0, 1023),
        ("16-bit", 0, 4012, 0, 4095),
        ("16-bit", 3, 4096, 0, 16383),
        ("16-bit", 0, 65535, 0, 65535),
        ("16-bit", 0, 3, 0, 3),  # in 0 … 255 it would be black
        ("integer", 0, 1_000_000, 0, 1_000_000),
        ("integer", -1024, 3071, -1024, 3071),
        ("float", 0, 0.9, 0, 1),
        ("float", -0.04, 1.07, 0, 1),  # what a bicubic filter leaves of 0 … 1
        ("float", 0, 254.5, 0, 255),
        ("float", 0, 2.5, 0, 2.5),
        ("float", -1, 1, -1, 1),
        ("float", 0, 0.004, 0, 0.004),
        ("float", -5, -2, -5, -2),
        ("float", -5, -5, -5, -4),
        ("float", 0, 0, 0, 1),
        ("integer", 0, 0, 0, 255),
    ],
)
def test_white_is_the_smallest_usual_one(
    kind: Kind, low: float, high: float, black: float, white: float
) -> None:
    assert choose_level(kind, low, high) == ValueLevel(kind, black, white)


def test_all_pictures_of_a_kind_share_one_white() -> None:
    spans = [
        ("a.png", ValueRange("16-bit", 0, 900)),
        ("b.png", ValueRange("16-bit", 5, 4012)),
        ("c.tif", ValueRange("float", 0, 0.5)),
    ]
    found = decide_levels(spans)
    assert found.levels.known == (ValueLevel("16-bit", 0, 4095), ValueLevel("float", 0, 1))
    assert found.levels.of("integer") is None
    assert found.notes[0] == (
        "2 pictures hold 16-bit values, from 0 to 4,012 (in b.png): 0 is shown as black and 4,095 "
        "as white in all of them (data.black and data.white set others)."
    )
    assert found.notes[1].startswith("1 picture holds float values, from 0 to 0.5 (in c.tif): 0 is")
    assert found.warnings == ()


def test_what_one_white_does_not_suit_is_named() -> None:
    spans = [
        ("a.png", ValueRange("16-bit", 0, 4012)),
        ("b.png", ValueRange("16-bit", 0, 65535, coarse=True)),
        ("c.tif", ValueRange("float", 0, 1, odd=True)),
    ]
    uneven, odd = decide_levels(spans).warnings
    assert uneven.startswith("1 picture stays within 4,012 although white is 65,535: nearly black")
    assert odd.startswith("1 picture holds values that are not finite, which are shown as black; ")
    (coarse,) = decide_levels([("a.png", ValueRange("16-bit", 0, 3855, coarse=True))]).warnings
    assert coarse.startswith("1 picture has 16 bits a colour, of which only the upper 8 are read")
    (beyond,) = decide_levels([("a.png", ValueRange("16-bit", 0, 5000))], white=4095).warnings
    assert beyond.startswith("1 picture holds values outside 0 … 4,095 (data.black, data.white)")


def test_what_is_asked_for_goes_first() -> None:
    spans = [("a.tif", ValueRange("integer", -1000, 3000))]
    assert decide_levels(spans, white=400).levels.known == (ValueLevel("integer", 0, 400),)
    assert decide_levels(spans, 400, -160).levels.known == (ValueLevel("integer", -160, 400),)
    assert decide_levels(spans, black=-500).levels.known == (ValueLevel("integer", -500, 3000),)
    with pytest.raises(DataError, match=r"expected more than data.black \(5,000\), but got 3,000"):
        decide_levels(spans, black=5000)
    both = [*spans, ("b.tif", ValueRange("float", 0, 1))]
    with pytest.raises(DataError, match=r"of integer and of float values, which have no white in"):
        decide_levels(both, white=1)
    assert decide_levels([], white=7) == decide_levels([])


def test_levels_of_a_study_come_before_those_found_later() -> None:
    study = Levels((ValueLevel("16-bit", 0, 4095),))
    later = Levels((ValueLevel("16-bit", 0, 65535), ValueLevel("float", 0, 1)))
    assert study.and_of(later).known == (ValueLevel("16-bit", 0, 4095), ValueLevel("float", 0, 1))
