"""Measures for classes of unequal sizes and costs, of each backbone: imbalance.json."""

from __future__ import annotations

from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.imbalance import Imbalance


class ImbalanceRepository(RecordRepository[Imbalance]):
    """imbalance.json of each backbone; none where the evaluation failed."""

    file, model = "imbalance.json", Imbalance
