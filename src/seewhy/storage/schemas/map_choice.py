"""Which pair of method and layer a backbone's maps are made by, and why: map_choice.json."""

from __future__ import annotations

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import FrozenRecord


class MapCandidate(FrozenRecord):
    """One pair of method and layer: insertion minus deletion on the validation images.

    Attributes
    ----------
    method, layer : str
        The layer by its name in the trunk; several are joined by commas.
    places : tuple of int
        Height and width of its maps.
    maps, random : Interval
        Of its maps, and of random maps of the same resolution.
    difference : Interval
        Of both, paired image by image.
    better : bool
        Whether that interval is wholly above zero.
    """

    method: str
    layer: str
    places: tuple[int, int]
    maps: Interval
    random: Interval
    difference: Interval
    better: bool


class MapChoice(FrozenRecord):
    """map_choice.json: the pair that makes the maps of both stages, and those it was chosen from.

    Attributes
    ----------
    method, layer : str
        The chosen pair.
    sentence : str
        What was chosen and why.
    ids : tuple of str
        The validation images that were measured.
    candidates : tuple of MapCandidate
        In the order in which the first of equal ones is taken; none where there were too few
        images.
    """

    method: str
    layer: str
    sentence: str
    ids: tuple[str, ...]
    candidates: tuple[MapCandidate, ...]
