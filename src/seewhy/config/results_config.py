"""The keys of a configuration on what is evaluated, explained and audited."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple, cast

from pydantic import (
    Field,
    field_validator,
)

from seewhy.config.base import MOST, Section
from seewhy.errors import near_names

# The methods that explain a layer after the cut; those that need pixels or attention do not.
CAM_METHODS = (
    "gradcam",
    "gradcam++",
    "hirescam",
    "gradcam-elementwise",
    "xgradcam",
    "layercam",
    "finercam",
    "shapleycam",
    "cam",
    "eigencam",
    "eigengradcam",
    "scorecam",
    "ablationcam",
)
# Of fewer images an interval is too narrow to tell a map from a random one.
_FEWEST_TO_CHOOSE = 10
_OPERATING_POINT = re.compile(r"(sensitivity|specificity|precision)\s*=\s*([\d.eE+-]+)")


class OperatingTarget(NamedTuple):
    """What an operating point has to reach: a measure of the positive class, and its value."""

    measure: Literal["sensitivity", "specificity", "precision"]
    value: float


class EvaluationConfig(Section):
    """What is evaluated on the test images, beside what always is.

    Attributes
    ----------
    positive : str, optional
        The positive class of two; default: the one with fewer training images.
    operating_point : str, optional
        ``sensitivity=0.95``, or ``specificity=`` or ``precision=``: the threshold nearest to 0.5
        that reaches it on the validation images is measured on the test images.
    abstain_error : float, optional
        The error rate that predictions may have: below the confidence at which the validation
        images reach it, the classifier abstains. Default: no threshold.
    mirror : bool, default False
        Whether fine-tuning's classifiers are also measured on averages over each image and its
        mirror image.
    """

    positive: str | None = None
    operating_point: str | None = None
    abstain_error: Annotated[float, Field(ge=0, le=1)] | None = None
    mirror: bool = False

    @field_validator("operating_point")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and _target(value) is None:
            raise ValueError(
                "expected sensitivity=, specificity= or precision= and a number above 0 and at "
                f"most 1, such as 'sensitivity=0.95', but got {value!r}"
            )
        return value

    @property
    def target(self) -> OperatingTarget | None:
        """The measure and the value of `operating_point`."""
        return None if self.operating_point is None else _target(self.operating_point)


def _target(text: str) -> OperatingTarget | None:
    """Read an operating point; None where the text is none."""
    found = _OPERATING_POINT.fullmatch(text.strip())
    try:
        value = float(found[2]) if found else 0.0
    except ValueError:
        return None
    if found is None or not 0 < value <= 1:
        return None
    measure = cast(Literal["sensitivity", "specificity", "precision"], found[1])
    return OperatingTarget(measure, value)


class ExplanationConfig(Section):
    """The maps, and how faithful they are.

    Attributes
    ----------
    method : str, default "auto"
        One of `CAM_METHODS`; ``auto``: see `layer`.
    layer : str or tuple of str, default "auto"
        Names of the layers whose map is explained; ``last``: the last spatial map. Of several
        layers: the mean of their maps, each divided by its maximum. ``auto``, here or as method:
        of a few pairs of method and layer the one that is most faithful on validation images.
    choice_images : int, default 24
        On how many validation images that is measured, at most, and at least 10; 0: it is not, and
        ``auto`` means gradcam and last.
    faithfulness : int, default 32
        How many test images, of all classes, the faithfulness of the maps is measured on; 0
        switches that off.
    """

    method: str = "auto"
    layer: str | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    choice_images: Annotated[int, Field(ge=0, le=MOST)] = 24
    faithfulness: Annotated[int, Field(ge=0, le=MOST)] = 32

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != "auto" and value not in CAM_METHODS:
            raise ValueError(
                f"expected auto or one of {', '.join(CAM_METHODS)}, but got {value!r}"
                f"{near_names(value, ('auto', *CAM_METHODS))}"
            )
        return value

    @field_validator("layer")
    @classmethod
    def _auto_alone(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and "auto" in value:
            raise ValueError(
                "expected auto alone, as it chooses the layers; in a list the last map is called "
                "last"
            )
        return value

    @field_validator("choice_images")
    @classmethod
    def _enough(cls, value: int) -> int:
        if 0 < value < _FEWEST_TO_CHOOSE:
            raise ValueError(f"expected 0 or at least {_FEWEST_TO_CHOOSE}, but got {value}")
        return value

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names, each once, in the order they were given."""
        return (self.layer,) if isinstance(self.layer, str) else tuple(dict.fromkeys(self.layer))


class AuditConfig(Section):
    """The search for shortcuts.

    Attributes
    ----------
    stages : tuple of str, default ("finetuning",)
        Which classifiers are audited, any of ``adaptation`` and ``finetuning``; empty: none.
    """

    stages: tuple[Literal["adaptation", "finetuning"], ...] = ("finetuning",)
