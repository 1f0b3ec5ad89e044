"""The evaluation on the test images: evaluation.json of a backbone, comparison.json of a study."""

from __future__ import annotations

from pathlib import Path

from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.repositories.base import RecordRepository
from seewhy.storage.schemas.comparison import Comparison
from seewhy.storage.schemas.evaluation import Evaluation


class EvaluationRepository(RecordRepository[Evaluation]):
    """The evaluation of each backbone, and the comparison of all; missing where these failed."""

    root_names = ("comparison.json",)
    file, model = "evaluation.json", Evaluation

    @property
    def comparison_path(self) -> Path:
        """comparison.json."""
        return self.layout.root / "comparison.json"

    def write_comparison(self, comparison: Comparison) -> None:
        """Write comparison.json."""
        write_record(self.comparison_path, comparison)

    def read_comparison(self) -> Comparison | None:
        """Read comparison.json; None where this step failed."""
        return record_where_there(self.comparison_path, Comparison)
