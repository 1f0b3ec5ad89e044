"""How long a study may take, and what that leaves for fine-tuning: plan.json."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seewhy.storage.schemas.base import Record


class TimePlan(Record):
    """plan.json: the epochs of fine-tuning that fit into a study's minutes, for one backbone.

    Attributes
    ----------
    minutes : float
        Of the whole study.
    elapsed_seconds : float
        Of them before this backbone's fine-tuning.
    reserved_seconds : float
        Of them for what follows it: maps, their faithfulness, the audit, the report, and other
        backbones.
    epoch_seconds : float
        What an epoch is expected to take.
    epochs : int
        At most this many.
    """

    minutes: Annotated[float, Field(gt=0)]
    elapsed_seconds: float
    reserved_seconds: float
    epoch_seconds: float
    epochs: Annotated[int, Field(ge=1)]
