"""Which values are black and which are white, in pictures of more than 8 bits per value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# windowed: DICOM files that say which of their values are to be shown.
Kind = Literal["16-bit", "integer", "float", "windowed"]


@dataclass(frozen=True)
class ValueLevel:
    """What is black and what is white among the values of one kind."""

    kind: Kind
    black: float
    white: float


@dataclass(frozen=True)
class Levels:
    """What is black and white in the pictures of a data set; kinds it has none of are missing."""

    known: tuple[ValueLevel, ...] = ()

    def of(self, kind: Kind) -> ValueLevel | None:
        """Return the level of one kind, where it is known."""
        return next((level for level in self.known if level.kind == kind), None)

    def and_of(self, other: Levels) -> Levels:
        """Return these levels, and another's for the kinds that are missing here."""
        more = tuple(level for level in other.known if self.of(level.kind) is None)
        return Levels(self.known + more)


NO_LEVELS = Levels()
