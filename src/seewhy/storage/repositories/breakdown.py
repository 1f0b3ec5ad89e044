"""The test results of each backbone by the columns of the images' table: breakdown.json."""

from __future__ import annotations

from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.breakdown import Breakdown


class BreakdownRepository(RecordRepository[Breakdown]):
    """breakdown.json of each backbone; none where the images have no columns."""

    file, model = "breakdown.json", Breakdown
