"""Numbers and names in words: how sentences and the report say a share, a count, a time, a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What neither XML nor a drawn label can hold.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def plain(name: str, limit: int) -> str:
    """Return a name fit for a drawn label: no control characters, at most `limit` letters."""
    name = _CONTROL.sub("�", name)
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def share(value: float, digits: int = 2) -> str:
    """Write a share of 0 … 1, ``0.97``."""
    return f"{value:.{digits}f}"


def two_shares(first: float, second: float) -> tuple[str, str]:
    """Write two shares with as many digits as it takes to tell them apart, at most three."""
    digits = 2 if share(first) != share(second) else 3
    return share(first, digits), share(second, digits)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun, ``1 image`` or ``2,000 images``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listing(names: Sequence[str], joint: str = "and") -> str:
    """Write names one after the other, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {joint} {names[-1]}"


def some(names: Sequence[str], most: int = 5) -> str:
    """Write the first names of many, ``a, b, c, … (210 in all)``; a few are written in full.

    Parameters
    ----------
    names : sequence of str
    most : int, default 5
        One more is still written in full.
    """
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])}, … ({len(names):,} in all)"


def duration(seconds: float) -> str:
    """Write a time as people say it, ``8.3 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def millions(number: int) -> str:
    """Write a count of parameters, ``23.5 million`` or ``812,000``."""
    return f"{number / 1e6:.1f} million" if number >= 1_000_000 else f"{number:,}"


def sentence(text: str) -> str:
    """Return `text` as a sentence: a capital first, a full stop last."""
    text = text.strip()
    return text if not text else f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"


def signed(value: float, digits: int = 2) -> str:
    """Write a difference of shares with its sign, ``+0.09``, ``−0.02``, ``0.00``."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def p_value(p: float) -> str:
    """Write the outcome of a test, ``p = 0.031`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
