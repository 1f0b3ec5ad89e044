"""One backbone as a whole: its part of the summary, and all its records, read at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seewhy.storage.json_files import read_record, record_where_there, write_record
from seewhy.storage.layout import Layout
from seewhy.storage.repositories.audit import AuditRepository
from seewhy.storage.repositories.base import Repository
from seewhy.storage.repositories.baseline import BaselineRepository
from seewhy.storage.repositories.explanations import ExplanationRepository
from seewhy.storage.repositories.map_choice import MapChoiceRepository
from seewhy.storage.repositories.mitigation import MitigationRepository
from seewhy.storage.repositories.quality import QualityRepository
from seewhy.storage.repositories.repetitions import RepetitionsRepository
from seewhy.storage.repositories.report import ReportRepository
from seewhy.storage.repositories.search import SearchRepository
from seewhy.storage.repositories.training import TrainingRepository
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.schemas.summary import BackboneSummary
from seewhy.storage.schemas.training import FeaturesRecord


class BackboneRepository(Repository):
    """The part of the summary of each backbone, and all its records."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._training = TrainingRepository(layout)
        self._repetitions = RepetitionsRepository(layout)

    def summary_path(self, slug: str) -> Path:
        """Return a backbone's part of the summary; a backbone that has one is finished."""
        return self.layout.backbone(slug) / "summary.json"

    def finish(self, slug: str, summary: BackboneSummary) -> None:
        """Write a backbone's part of the summary, last of all, and delete its checkpoints."""
        write_record(self.summary_path(slug), summary)
        self.delete_checkpoints(slug)

    def delete_checkpoints(self, slug: str) -> None:
        """Delete what only a resumed study needs."""
        self._training.delete_checkpoints(slug)
        self._repetitions.delete_checkpoints(slug)

    def read_summary(self, slug: str) -> BackboneSummary | None:
        """Read a backbone's part of the summary; None where the backbone is not finished."""
        return record_where_there(self.summary_path(slug), BackboneSummary)

    def read_out_of_sample(self, slug: str, classes: Sequence[str]) -> Predictions:
        """Read predictions, after adaptation, of images by heads that were not trained on them.

        Of the training and validation images where there is an out_of_fold.csv, else of the
        validation images alone; then of the test images.
        """
        held_out = self._repetitions.read_out_of_fold(slug, classes)
        held_out = held_out or self._training.read_validation(slug, "adaptation", classes)
        parts = [held_out, self._training.read_predictions(slug, "adaptation", classes)]
        return Predictions(
            ids=tuple(id_ for part in parts for id_ in part.ids),
            labels=np.concatenate([part.labels for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
        )

    def read(self, slug: str, classes: Sequence[str]) -> BackboneRecords:
        """Read all records of one backbone."""
        layout, training, audits = self.layout, self._training, AuditRepository(self.layout)
        baseline, search = BaselineRepository(layout), SearchRepository(layout)
        explanations, mitigation = ExplanationRepository(layout), MitigationRepository(layout)
        found = search.read(slug)
        predictions = {stage: training.read_predictions(slug, stage, classes) for stage in STAGES}
        audited = {stage: audits.read(slug, stage) for stage in STAGES}
        there = {stage: audit for stage, audit in audited.items() if audit is not None}
        return BackboneRecords(
            slug=slug,
            features=read_record(training.features_path(slug), FeaturesRecord),
            search=found,
            trials=search.read_trials(slug) if found else (),
            finetuning_search=search.read_finetuning(slug),
            finetuning_trials=search.read_finetuning_trials(slug),
            issues=QualityRepository(layout).read(slug),
            audits=there,
            mitigation=mitigation.read(slug),
            has_mitigated_report=ReportRepository(Layout(mitigation.folder(slug))).path.is_file(),
            audit_pictures={stage: audits.read_pictures(slug, stage) for stage in there},
            baseline=baseline.read(slug),
            baseline_predictions=baseline.read_predictions(slug, classes),
            out_of_fold=self._repetitions.read_out_of_fold(slug, classes),
            folds=self._repetitions.read(slug),
            history={stage: training.read_history(slug, stage) for stage in STAGES},
            predictions=predictions,
            validation={stage: training.read_validation(slug, stage, classes) for stage in STAGES},
            metrics={stage: training.read_metrics(slug, stage) for stage in STAGES},
            map_choice=MapChoiceRepository(layout).read(slug),
            faithfulness=explanations.read_faithfulness(slug),
            maps={
                stage: explanations.read_maps(slug, stage, predictions[stage].ids)
                for stage in STAGES
            },
            confusion={stage: training.read_confusion(slug, stage, classes) for stage in STAGES},
        )
