"""The evaluation on the test images: evaluation.json of a backbone, comparison.json of a study."""

from __future__ import annotations

from pathlib import Path

from seewhy.storage.json_files import record_where_there, write_record
from seewhy.storage.repositories.base import Repository
from seewhy.storage.schemas.comparison import Comparison
from seewhy.storage.schemas.evaluation import Evaluation


class EvaluationRepository(Repository):
    """The evaluation of each backbone, and the comparison of all."""

    root_names = ("comparison.json",)

    def path(self, slug: str) -> Path:
        """Return one backbone's evaluation.json."""
        return self.layout.backbone(slug) / "evaluation.json"

    def write(self, slug: str, evaluation: Evaluation) -> None:
        """Write evaluation.json."""
        write_record(self.path(slug), evaluation)

    def read(self, slug: str) -> Evaluation | None:
        """Read evaluation.json; None where this step failed."""
        return record_where_there(self.path(slug), Evaluation)

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
