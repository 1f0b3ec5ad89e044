"""The size of a network's input, as it is configured and stored: plain values.

224 is the side of a square; (192, 256) are height and width. What is square has one number, so that
equal sizes are equal values.
"""

from __future__ import annotations

InputSize = int | tuple[int, int]


def sides(size: InputSize) -> tuple[int, int]:
    """Return height and width.

    Examples
    --------
    >>> sides(224), sides((192, 256))
    ((224, 224), (192, 256))
    """
    return (size, size) if isinstance(size, int) else size


def as_input_size(height: int, width: int) -> InputSize:
    """Return the size of an input with these sides.

    Examples
    --------
    >>> as_input_size(224, 224), as_input_size(192, 256)
    (224, (192, 256))
    """
    return height if height == width else (height, width)


def read_input_size(stored: int | list[int] | tuple[int, int]) -> InputSize:
    """Return a size that was written as JSON, where a pair is a list."""
    if isinstance(stored, int):
        return stored
    height, width = stored
    return as_input_size(int(height), int(width))


def shown_size(size: InputSize) -> str:
    """Write a size for people, height first.

    Examples
    --------
    >>> shown_size(224), shown_size((192, 256))
    ('224×224', '192×256')
    """
    height, width = sides(size)
    return f"{height}×{width}"
