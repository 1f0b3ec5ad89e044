"""All records of one backbone, read at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seewhy.storage.schemas.audit import Audit
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.faithfulness import Faithfulness
from seewhy.storage.schemas.finetuning_search import FinetuningSearchRecord, FinetuningTrial
from seewhy.storage.schemas.map_choice import MapChoice
from seewhy.storage.schemas.maps import Maps
from seewhy.storage.schemas.mitigation import MitigationRecord
from seewhy.storage.schemas.predictions import Baseline, Predictions, StageMetrics
from seewhy.storage.schemas.quality_issues import QualityIssues
from seewhy.storage.schemas.repetitions import FoldsRecord
from seewhy.storage.schemas.search import SearchRecord, Trial
from seewhy.storage.schemas.training import Epoch, FeaturesRecord


@dataclass(frozen=True)
class BackboneRecords:
    """All records under ``backbones/SLUG/``, as the report reads them.

    `baseline_predictions` is None where the baseline was skipped. `out_of_fold` has predictions of
    every training and validation image by a head that was not trained on it; None where small
    classes could not be divided into folds. `map_choice` is None where the maps' method and layer
    were given. `mitigation` is of the second classifier, where the audit led to one;
    `has_mitigated_report` says whether the mitigated study still has its own report.
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
    finetuning_search: FinetuningSearchRecord | None = None
    finetuning_trials: tuple[FinetuningTrial, ...] = ()
    map_choice: MapChoice | None = None
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
