"""What is black and white in all images of a listing, found before the first is decoded.

One decision for training, validation and test images: equal values are shown alike everywhere. It
reads the values of those images alone that have more than 8 bits a value.
"""

from __future__ import annotations

from dataclasses import replace

from seewhy.data.decoding.value_levels import LevelDecision, decide_levels
from seewhy.data.pixels import in_threads
from seewhy.data.sources.listing import Listing
from seewhy.runtime.progress import Progress


def settle_levels(
    listing: Listing, white: float | None, black: float | None, progress: Progress
) -> tuple[Listing, LevelDecision]:
    """Decide what is black and white in a listing's images, which then loads them accordingly.

    `white` and `black` are ``data.white`` and ``data.black``. Raises DataError where they cannot
    apply to all of the images.
    """
    deep = listing.deep
    if deep is None:
        return listing, LevelDecision()
    count = len(listing.paths)
    maybe = [index for index, yes in enumerate(in_threads(deep.is_deep, count)) if yes]
    spans = []
    if maybe:
        with progress.task("find white", len(maybe)) as advance:
            measured = in_threads(lambda place: deep.measure(maybe[place]), len(maybe))
            for index, span in zip(maybe, measured, strict=True):
                if span is not None:
                    spans.append((listing.paths[index], span))
                advance(1)
    decision = decide_levels(spans, white, black)
    return replace(listing, load=deep.loader(decision.levels)), decision
