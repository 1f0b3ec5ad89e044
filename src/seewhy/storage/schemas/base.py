"""What all schemas share: the base of records, rates, the two stages."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Stage = Literal["adaptation", "finetuning"]
STAGES: tuple[Stage, ...] = ("adaptation", "finetuning")
# Sums and ratios of float32 numbers stray this far beyond the bound they cannot pass.
ROUNDING = 1e-5


class Record(BaseModel):
    """What all records in JSON share: an unknown key is refused.

    Attributes
    ----------
    keeps_null : bool, default False
        Whether values that are None are written, as null; otherwise their keys are left out.
    """

    model_config = ConfigDict(extra="forbid")
    keeps_null: ClassVar[bool] = False


class FrozenRecord(Record):
    """A record whose values cannot be changed."""

    model_config = ConfigDict(frozen=True)


def first_problem(error: ValidationError) -> str:
    """Return the first place at which a record is wrong, and why."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def clamped(low: float, high: float) -> BeforeValidator:
    """Return a validator that brings a number outside a bound by rounding alone back to the bound.

    A number farther outside, and one that is no number, stays as it is and is refused.
    """

    def clamp(value: object) -> object:
        if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
            number = float(value)
            if low - ROUNDING <= number <= high + ROUNDING:
                return min(max(number, low), high)
        return value

    return BeforeValidator(clamp)


Rate = Annotated[float, clamped(0, 1), Field(ge=0, le=1)]
Correlation = Annotated[float, clamped(-1, 1), Field(ge=-1, le=1)]
