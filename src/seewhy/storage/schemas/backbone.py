"""All that lies on disk of one backbone, read at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seewhy.storage.schemas.audit import Audit, MitigationRecord
from seewhy.storage.schemas.data_checks import QualityIssues
from seewhy.storage.schemas.faithfulness import Faithfulness
from seewhy.storage.schemas.study import (
    Baseline,
    Epoch,
    FeaturesRecord,
    FoldsRecord,
    Maps,
    Predictions,
    SearchRecord,
    Stage,
    StageMetrics,
    Trial,
)


@dataclass(frozen=True)
class BackboneRecords:
    """All that lies under ``backbones/SLUG/``, as the report reads it.

    `validation` has a stage's predictions of the validation images, `baseline_predictions` the
    baseline's shares of the test images, `out_of_fold` says of every training and validation image
    what a head says that was not trained on it, `folds` how the stages did on folds and with other
    seeds. Studies of earlier versions have none of these; where the baseline was skipped it has no
    predictions, and small classes cannot be divided into folds. `mitigation` is there where a
    second classifier was made because of the audit, `has_mitigated_report` where that one's own
    report still lies in its folder.
    """

    slug: str
    features: FeaturesRecord
    baseline: Baseline
    history: dict[Stage, list[Epoch]]
    predictions: dict[Stage, Predictions]
    metrics: dict[Stage, StageMetrics]
    maps: dict[Stage, Maps]
    confusion: dict[Stage, NDArray[np.int64]] = field(default_factory=dict)
    search: SearchRecord | None = None
    trials: tuple[Trial, ...] = ()
    faithfulness: Faithfulness | None = None
    issues: QualityIssues | None = None
    validation: dict[Stage, Predictions] = field(default_factory=dict)
    baseline_predictions: Predictions | None = None
    out_of_fold: Predictions | None = None
    folds: FoldsRecord | None = None
    audits: dict[Stage, Audit] = field(default_factory=dict)
    audit_pictures: dict[Stage, dict[str, NDArray[np.uint8]]] = field(default_factory=dict)
    mitigation: MitigationRecord | None = None
    has_mitigated_report: bool = False
