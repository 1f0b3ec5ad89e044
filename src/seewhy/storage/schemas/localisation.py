"""Whether a backbone's maps are on the objects that masks mark: localisation.json.

Plain values. How each number is computed is in ``explanation/measures/localisation.py``.
"""

from __future__ import annotations

from pydantic import Field

from seewhy.storage.schemas.base import FrozenRecord, Rate, Stage
from seewhy.storage.schemas.faithfulness import FaithfulnessMeasure


class ObjectScores(FrozenRecord):
    """The test images of one class, or of all, that have an object mask.

    Attributes
    ----------
    label : str or None
        The class; None for all test images.
    images : int
        Test images.
    without_mask, empty : int
        Of these, images without a mask, and images with a mask whose map is zero everywhere: no
        number below is of them.
    hits : int
        Images whose highest value of the map is on the object; the share of equal ones counts.
    area : float or None
        Mean share of an image, without its padding, that its mask covers, which is what an even
        map would have on the object; None where no image is left.
    measures : dict of str to FaithfulnessMeasure
        ``pointing_game``, ``energy_inside``, ``iou_at_area``; empty where no image is left.
    """

    label: str | None = None
    images: int
    without_mask: int
    empty: int
    hits: int
    area: Rate | None = None
    measures: dict[str, FaithfulnessMeasure] = Field(default_factory=dict)

    @property
    def measured(self) -> int:
        """Images that the measures are means over."""
        return self.images - self.without_mask - self.empty


class StageLocalisation(FrozenRecord):
    """One stage: all test images, each class, and what it means in sentences."""

    stage: Stage
    everything: ObjectScores
    classes: list[ObjectScores]
    sentences: list[str]


class Localisation(FrozenRecord):
    """localisation.json: the maps of the labelled class against the test images' object masks.

    `random_maps` is how many random maps each image was compared with; `group_by` are the columns
    whose groups were drawn as a whole for the intervals (but for images of a single group), none
    where images were drawn.
    """

    method: str
    layer: str
    seed: int
    random_maps: int
    group_by: list[str]
    stages: list[StageLocalisation]
