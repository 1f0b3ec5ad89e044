"""What the report is drawn from; a section is a dictionary of values for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seewhy.evaluation.published_results import HUMAN_ACCURACY, has_cifar10_classes
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.breakdown import Breakdown
from seewhy.storage.schemas.comparison import Comparison
from seewhy.storage.schemas.data_checks import DataFindings
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.ensemble import Ensemble
from seewhy.storage.schemas.evaluation import Evaluation
from seewhy.storage.schemas.imbalance import Imbalance
from seewhy.storage.schemas.localisation import Localisation
from seewhy.storage.schemas.mirror import Mirror
from seewhy.storage.schemas.provenance import Provenance
from seewhy.storage.schemas.summary import Summary
from seewhy.storage.titles import display_names

Section = dict[str, Any]
# A matrix or a plot with more rows than this is drawn in another form.
MOST_ROWS = 30


@dataclass(frozen=True)
class ReportInput:
    """Everything that the report is drawn from; None is what failed while the study ran."""

    run: RunDirectory
    summary: Summary
    data: Dataset
    records: Mapping[str, BackboneRecords]
    provenance: Provenance | None
    config: str
    evaluations: Mapping[str, Evaluation | None] = field(default_factory=dict)
    imbalances: Mapping[str, Imbalance | None] = field(default_factory=dict)
    breakdowns: Mapping[str, Breakdown | None] = field(default_factory=dict)
    localisations: Mapping[str, Localisation | None] = field(default_factory=dict)
    mirrors: Mapping[str, Mirror | None] = field(default_factory=dict)
    ensemble: Ensemble | None = None
    comparison: Comparison | None = None
    findings: DataFindings | None = None

    @property
    def names(self) -> dict[str, str]:
        """The display name of each backbone, by slug."""
        return display_names(self.summary)

    def of(self, slug: str) -> str:
        """Return `` of NAME``; nothing where the study has one backbone."""
        return f" of {self.names[slug]}" if len(self.records) > 1 else ""

    @property
    def human(self) -> Mapping[str, float]:
        """Human accuracy per class, where it is known."""
        return HUMAN_ACCURACY if has_cifar10_classes(self.data.classes) else {}
