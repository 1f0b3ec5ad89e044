"""Which values are black and which are white, in pictures of more than 8 bits a value.

Such files seldom say what white is: 16-bit files hold 12-bit values, floats span 0 … 1 or 0 … 255.
A guess for each file would show equal values differently, so one pair is found from the values of
all pictures that belong together. This module knows numbers, no files and no pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seewhy.errors import DataError
from seewhy.storage.schemas.levels import NO_LEVELS, Kind, Levels, ValueLevel
from seewhy.wording import count

KINDS: tuple[Kind, ...] = ("16-bit", "integer", "float", "windowed")
# What 8, 10, 12, 14 and 16 bits can hold.
_WHOLE = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
USUAL_WHITE: Mapping[Kind, tuple[float, ...]] = {
    "16-bit": _WHOLE,
    "integer": _WHOLE,
    "float": (1.0, *_WHOLE),
    "windowed": _WHOLE,
}
# Resampling with a bicubic or Lanczos filter leaves floats that pass black and white a little.
OVERSHOOT: Mapping[Kind, float] = {"16-bit": 0.0, "integer": 0.0, "float": 0.1, "windowed": 0.0}
# Pictures that fill less of a usual range than this would be nearly black in it.
LEAST_FILLED = 1 / 16


@dataclass(frozen=True)
class ValueRange:
    """The values of one picture that has more than 8 bits a value."""

    kind: Kind
    # low and high: the lowest and the highest finite value.
    low: float
    high: float
    odd: bool = False  # whether some values are not finite
    # Whether only the upper 8 of 16 bits can be read, as in pictures of 16 bits a colour.
    coarse: bool = False


@dataclass(frozen=True)
class LevelDecision:
    """What was decided for a data set."""

    levels: Levels = NO_LEVELS
    notes: tuple[str, ...] = ()  # sentences that say what was decided, one a kind
    warnings: tuple[str, ...] = ()  # sentences about pictures that this does not suit


def choose_level(kind: Kind, low: float, high: float) -> ValueLevel:
    """Find black and white for values of one kind.

    White is the smallest usual white that no value passes (floats may pass it by a tenth), or the
    highest value where the values pass all of them or fill less than a sixteenth. Black is 0, or
    the lowest value where there are negative ones; white is the highest value then.

    Parameters
    ----------
    kind : {"16-bit", "integer", "float", "windowed"}
    low, high : float
        The lowest and the highest value.

    Examples
    --------
    >>> choose_level("16-bit", 0, 4012)
    ValueLevel(kind='16-bit', black=0.0, white=4095.0)
    """
    beyond = OVERSHOOT[kind]
    white = next((one for one in USUAL_WHITE[kind] if high <= one * (1 + beyond)), high)
    if 0 < high < white * LEAST_FILLED:
        white = high
    if low < -beyond * white:
        return ValueLevel(kind, low, high if high > low else low + 1)
    return ValueLevel(kind, 0.0, white)


def decide_levels(
    spans: Sequence[tuple[str, ValueRange]], white: float | None = None, black: float | None = None
) -> LevelDecision:
    """Decide what is black and white in pictures that belong together.

    `spans` has the name and the values of each picture that has more than 8 bits a value; `white`
    and `black` are what was asked for, and black is 0 where only white is. Raises DataError where
    they are asked for, but the pictures are of several kinds, or white is not above black.
    """
    kinds = [kind for kind in KINDS if any(span.kind == kind for _, span in spans)]
    asked = white is not None or black is not None
    # DICOM files with and without a window of their own measure the same thing.
    if asked and len(kinds) > 1 and kinds != ["float", "windowed"]:
        raise DataError(
            f"data.white and data.black: there are pictures of {' and of '.join(kinds)} values, "
            "which have no white in common; leave both out, or convert the pictures to one kind"
        )
    shown = [kind for kind in kinds if asked or kind != "windowed"]
    decided = [_decide(kind, spans, white, black) for kind in shown]
    windowed = sum(span.kind == "windowed" for _, span in spans) if not asked else 0
    return LevelDecision(
        Levels(tuple(level for level, _, _ in decided) + _twins(decided, asked)),
        (*(note for _, note, _ in decided), *_windowed_note(windowed)),
        tuple(sentence for _, _, sentences in decided for sentence in sentences),
    )


def _twins(
    decided: Sequence[tuple[ValueLevel, str, list[str]]], asked: bool
) -> tuple[ValueLevel, ...]:
    """Return what was asked for, for DICOM files of the other sort, which a later call may bring.

    They measure the same thing, whether a file has a window of its own or not.
    """
    kinds = {level.kind for level, _, _ in decided}
    if not asked or len(kinds & {"float", "windowed"}) != 1:
        return ()
    (level,) = (level for level, _, _ in decided)
    return (replace(level, kind="windowed" if level.kind == "float" else "float"),)


def _windowed_note(windowed: int) -> tuple[str, ...]:
    if not windowed:
        return ()
    files = count(windowed, "DICOM file is", "DICOM files are")
    return (
        f"{files} shown with the window that each file names (data.black and data.white set one "
        "for all of them).",
    )


def _decide(
    kind: Kind, spans: Sequence[tuple[str, ValueRange]], white: float | None, black: float | None
) -> tuple[ValueLevel, str, list[str]]:
    named = [(name, span) for name, span in spans if span.kind == kind]
    low = min(span.low for _, span in named)
    highest, span = max(named, key=lambda one: one[1].high)
    level = choose_level(kind, low, span.high)
    if white is not None or black is not None:
        level = ValueLevel(
            kind,
            (0.0 if white is not None else level.black) if black is None else black,
            level.white if white is None else white,
        )
    if not level.black < level.white:
        raise DataError(
            f"data.white: expected more than data.black ({number(level.black)}), but got "
            f"{number(level.white)}"
        )
    note = (
        f"{count(len(named), 'picture holds', 'pictures hold')} {kind} values, from "
        f"{number(low)} to {number(span.high)} (in {highest}): {number(level.black)} is shown as "
        f"black and {number(level.white)} as white in all of them "
        "(data.black and data.white set others)."
    )
    return level, note, _warnings(named, level, given=white is not None)


def _warnings(named: Sequence[tuple[str, ValueRange]], level: ValueLevel, given: bool) -> list[str]:
    """Name the pictures that a level does not suit."""
    found = []
    odd = [name for name, span in named if span.odd]
    if odd:
        found.append(
            f"{count(len(odd), 'picture holds', 'pictures hold')} values that are not "
            f"finite, which are shown as black; the first: {odd[0]}."
        )
    beyond = [n for n, span in named if span.low < level.black or span.high > level.white]
    if given and beyond:
        found.append(
            f"{count(len(beyond), 'picture holds', 'pictures hold')} values outside "
            f"{number(level.black)} … {number(level.white)} (data.black, data.white), which are "
            f"shown as black or white; the first: {beyond[0]}."
        )
    if not given:
        found += _uneven(named, level)
    if level.white < USUAL_WHITE["16-bit"][-1] and (
        coarse := [name for name, span in named if span.coarse]
    ):
        found.append(
            f"{count(len(coarse), 'picture has', 'pictures have')} 16 bits a colour, of "
            "which only the upper 8 are read: few shades are left of them; convert them to 8 bits "
            f"a colour. The first: {coarse[0]}."
        )
    return found


def _uneven(named: Sequence[tuple[str, ValueRange]], level: ValueLevel) -> list[str]:
    """Say where some pictures alone would have had a smaller white than all together."""
    smaller = [
        (name, span)
        for name, span in named
        if 0 < span.high < level.white * LEAST_FILLED * (1 + OVERSHOOT[level.kind])
    ]
    if not smaller or len(smaller) == len(named):
        return []
    most = max(span.high for _, span in smaller)
    return [
        f"{count(len(smaller), 'picture stays', 'pictures stay')} within {number(most)} "
        f"although white is {number(level.white)}: nearly black, or stored on another scale than "
        f"the others; the first: {smaller[0][0]}."
    ]


def number(value: float) -> str:
    """Write a value for people."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"
