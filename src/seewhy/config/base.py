"""What the sections of a configuration share: unknown keys are refused, bounds of numbers."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

Share = Annotated[float, Field(gt=0, lt=1)]
# Larger ones than PyTorch and NumPy count with would end in their errors.
MOST = 2**31 - 1
Positive = Annotated[int, Field(ge=1, le=MOST)]
Rate = Annotated[float, Field(gt=0, le=1)]
DropShare = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=2, le=MOST)]


class Section(BaseModel):
    """A section of the configuration; an unknown key is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number is meant: Python takes them for 1 and 0."""
        items = value if isinstance(value, (list, tuple)) else (value,)
        hint = cls.model_fields[str(info.field_name)].annotation
        may_be_true = hint is bool or bool in get_args(hint)
        if not may_be_true and any(isinstance(item, bool) for item in items):
            raise ValueError(f"expected no truth value, but got {str(value).lower()}")
        return value
