"""Mitigation: mitigation.json of a backbone, mitigation_data.json of its mitigated study."""

from __future__ import annotations

from pathlib import Path

from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.mitigation import MitigationData, MitigationRecord


class MitigationRepository(RecordRepository[MitigationRecord]):
    """The result of a backbone's mitigation, and the record of how its images were changed.

    mitigation.json is written when the mitigated study has ended.
    """

    file, model = "mitigation.json", MitigationRecord

    def folder(self, slug: str) -> Path:
        """Return the run directory of a backbone's mitigated study."""
        return self.layout.mitigated(slug)

    @property
    def data_path(self) -> Path:
        """mitigation_data.json; only a mitigated study has one."""
        return self.layout.data / "mitigation_data.json"

    def write_data(self, mitigated: MitigationData) -> None:
        """Write mitigation_data.json, how the images of a mitigated study were changed."""
        write_record(self.data_path, mitigated)

    def read_data(self) -> MitigationData | None:
        """Read mitigation_data.json; None in a study that is not a mitigated one."""
        return record_where_there(self.data_path, MitigationData)
