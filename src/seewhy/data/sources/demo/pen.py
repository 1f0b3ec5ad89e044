"""A pen that draws polygons turned, scaled and placed, for the demo's pictures.

Everything is a polygon in a frame of its own, -1 … 1 with y downward, so that turning a picture
costs nothing. The pen knows no things, no grounds and no data set.
"""

from __future__ import annotations

import colorsys
import copy
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

INK: Colour = (38, 34, 40)
CREAM: Colour = (250, 244, 224)
WOOD: Colour = (122, 82, 48)

# Drawn this many times larger and then averaged: smooth edges.
OVERSAMPLING = 3


class Pen:
    """Draws opaque shapes on a transparent square.

    Parameters
    ----------
    size : int
        Side of the finished layer, pixels. The frame fills it until it is moved.
    """

    def __init__(self, size: int) -> None:
        self._side = size * OVERSAMPLING
        # RGBa, premultiplied: averaging opaque shapes with nothing leaves no fringe.
        self._image = Image.new("RGBa", (self._side, self._side))
        self._draw = ImageDraw.Draw(self._image)
        self.move((0.5, 0.5), 0.5)

    def move(
        self,
        centre: tuple[float, float],
        scale: float,
        turn: float = 0.0,
        mirror: bool = False,
    ) -> None:
        """Put the frame somewhere else.

        Its origin goes to `centre`, in shares of the side; one unit takes the share `scale` of the
        side. It is turned by degrees, clockwise, after left and right are exchanged with `mirror`.
        """
        self._unit = scale * self._side
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        self._matrix = self._unit * np.array([[cosine, -sine], [sine, cosine]])
        if mirror:
            self._matrix[:, 0] *= -1
        self._origin = np.array(centre) * self._side

    def within(self, centre: tuple[float, float], scale: float) -> Pen:
        """Return a pen on the same square whose frame is a part of this one's."""
        inner = copy.copy(self)
        inner._unit = scale * self._unit
        inner._matrix = scale * self._matrix
        inner._origin = self._matrix @ np.array(centre) + self._origin
        return inner

    def layer(self) -> NDArray[np.float32]:
        """Return what was drawn, (size, size, 4).

        Premultiplied red, green and blue 0 … 255, opacity 0 … 1.
        """
        layer = np.array(self._image.reduce(OVERSAMPLING), dtype=np.float32)
        layer[..., 3] /= 255
        return layer

    def polygon(self, points: Points | NDArray[np.float64], colour: Colour) -> None:
        """Fill the polygon through `points`."""
        self._draw.polygon(self._place(points), fill=(*colour, 255))

    def smooth(self, points: Points, colour: Colour) -> None:
        """Fill a closed curve through `points`."""
        self.polygon(_rounded(points), colour)

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        colour: Colour,
        span: tuple[float, float] = (0, 360),
    ) -> None:
        """Fill an ellipse, or the segment of it between two angles (degrees, clockwise from +x)."""
        self.polygon(_arc(*span) * radii + np.array(centre), colour)

    def stroke(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line through `points` with round ends; `width` in the frame's units."""
        thickness = max(1, round(width * self._unit))
        self._draw.line(self._place(points), fill=(*colour, 255), width=thickness, joint="curve")
        if thickness > 3:
            for point in (points[0], points[-1]):
                self.ellipse(point, (width / 2, width / 2), colour)

    def curve(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open, rounded line through `points`."""
        first, last = points[0], points[-1]
        padded = np.array([first, *points, last])
        line = np.concatenate([_span(padded[i : i + 4]) for i in range(len(points) - 1)])
        self.stroke([(float(x), float(y)) for x, y in line] + [last], width, colour)

    def _place(self, points: Points | NDArray[np.float64]) -> list[float]:
        placed = np.asarray(points) @ self._matrix.T + self._origin
        return [float(value) for value in placed.ravel()]


def paint(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.55, 0.95),
    value: tuple[float, float] = (0.6, 1.0),
    hue: tuple[float, float] = (0.0, 1.0),
) -> Colour:
    """Draw a colour: hue, saturation and value uniform in their ranges, each 0 … 1."""
    return hsv(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the RGB colour of hue, saturation and value, each 0 … 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shaded(colour: Colour, factor: float) -> Colour:
    """Darken (`factor` below 1) or lighten (above 1) a colour."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


@cache
def _arc(start: float, end: float) -> NDArray[np.float64]:
    """Return points of the unit circle between two angles in degrees, (28, 2)."""
    angles = np.deg2rad(np.linspace(start, end, 28))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rounded(points: Points) -> NDArray[np.float64]:
    closed = np.array([points[-1], *points, points[0], points[1]])
    return np.concatenate([_span(closed[i : i + 4]) for i in range(len(points))])


def _span(around: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Catmull-Rom curve between the middle two of four points, (6, 2)."""
    t = np.arange(6)[:, None] / 6
    before, start, end, after = around
    points: NDArray[np.float64] = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return points
