"""When a backbone's classifiers abstain: abstention.json."""

from __future__ import annotations

from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.abstention import Abstention


class AbstentionRepository(RecordRepository[Abstention]):
    """abstention.json of each backbone; none where ``evaluation.abstain_error`` is not set."""

    file, model = "abstention.json", Abstention
