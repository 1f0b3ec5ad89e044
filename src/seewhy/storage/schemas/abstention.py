"""When a backbone's classifiers abstain, and what they then score: abstention.json."""

from __future__ import annotations

from seewhy.statistics.bootstrap import Interval
from seewhy.storage.schemas.base import FrozenRecord, Rate, Stage


class RiskPoint(FrozenRecord):
    """One threshold: the share of images that are kept, and their error rate."""

    threshold: Rate
    coverage: Rate
    risk: Rate


class KeptImages(FrozenRecord):
    """The images whose confidence is at least the threshold.

    `accuracy` has Wilson's interval; it is None where no image is kept.
    """

    images: int
    kept: int
    coverage: Rate
    accuracy: Interval | None = None


class StageAbstention(FrozenRecord):
    """One stage's classifier.

    Attributes
    ----------
    temperature : float, optional
        What all confidences here were calibrated with; None where no temperature was fitted.
    threshold : float, optional
        The classifier abstains below this confidence; None where `skipped` says why.
    validation, test : KeptImages, optional
        At the threshold; `validation` chose it.
    area : float
        Area under the risk-coverage curve of the test images.
    curve : list of RiskPoint
        That curve, from the surest images to all of them; long curves are thinned.
    """

    temperature: float | None = None
    threshold: Rate | None = None
    skipped: str | None = None
    validation: KeptImages | None = None
    test: KeptImages | None = None
    area: Rate
    curve: list[RiskPoint]


class Abstention(FrozenRecord):
    """abstention.json: `error` is the error rate that was asked for on the validation images."""

    error: Rate
    stages: dict[Stage, StageAbstention]
