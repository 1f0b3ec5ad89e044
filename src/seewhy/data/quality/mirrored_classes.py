"""Classes that a mirror image may change: characters, and what is called left or right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seewhy.wording import some

_SIDES = re.compile(r"(^|[^a-z])(left|right)([^a-z]|$)")
_CHARACTERS = re.compile(r"(^|[^a-z])(digits?|letters?|characters?|text)([^a-z]|$)")
_NUMBERS = frozenset(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
)


def mirror_notes(
    classes: Sequence[str], augmentations: Sequence[str], averaged: bool = False
) -> list[str]:
    """Say where images are flipped although their classes may not allow it.

    Parameters
    ----------
    classes : sequence of str
    augmentations : sequence of str
        Those of training; without ``flip`` there is nothing to say of it.
    averaged : bool, default False
        Whether predictions are averaged over images and their mirror images.

    Examples
    --------
    >>> mirror_notes(["left_hand", "right_hand"], ["crop", "flip"])[0][:39]
    "Classes 'left_hand', 'right_hand' may t"
    """
    if "flip" not in augmentations and not averaged:
        return []
    chosen = [name for name in classes if _SIDES.search(name.lower())]
    kinds = "may tell left from right"
    if not chosen:
        chosen = [name for name in classes if _is_character(name)]
        kinds = "may be characters"
    if len(chosen) < 2:
        return []
    left = "+".join(name for name in augmentations if name != "flip") or "none"
    named = some([repr(name) for name in chosen], 3)
    uses = []
    if "flip" in augmentations:
        uses.append(("training mirrors images", f"input.augmentation={left}"))
    if averaged:
        uses.append(("predictions are averaged over mirror images", "evaluation.mirror=false"))
    return [
        f"Classes {named} {kinds}, and {what}; if a mirror image can be of another class, set "
        f"{setting}."
        for what, setting in uses
    ]


def _is_character(name: str) -> bool:
    folded = name.lower()
    return len(name) == 1 or folded in _NUMBERS or _CHARACTERS.search(folded) is not None
