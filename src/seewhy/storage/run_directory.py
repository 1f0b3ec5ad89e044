"""Where everything of a study lies: one run directory, every file written atomically.

``summary.json`` is written last, so a directory that has one is complete. What each file looks like
is known in ``files/``; how the records come about, neither knows.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from seewhy.config import StudyConfig, load_config
from seewhy.errors import RunError
from seewhy.storage import csv_files as tables
from seewhy.storage.atomic_writing import write_text
from seewhy.storage.json_files import read_record, record_where_there, write_record
from seewhy.storage.repositories import audit as audit_files
from seewhy.storage.repositories import data as dataset_files
from seewhy.storage.repositories import explanations as maps_file
from seewhy.storage.repositories import provenance as sources_file
from seewhy.storage.repositories import repetitions as answers_file
from seewhy.storage.repositories.provenance import SourceFile
from seewhy.storage.schemas.audit import Audit, MitigationData, MitigationRecord
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.data_checks import DataChecks, DataFindings, QualityIssues
from seewhy.storage.schemas.evaluation import Comparison, Evaluation
from seewhy.storage.schemas.faithfulness import Faithfulness
from seewhy.storage.schemas.study import (
    STAGES,
    BackboneSummary,
    Baseline,
    Dataset,
    Epoch,
    FailedStep,
    FeaturesRecord,
    FoldsRecord,
    Maps,
    Predictions,
    Provenance,
    RepetitionPredictions,
    RunFingerprint,
    SearchRecord,
    Stage,
    StageMetrics,
    Step,
    Summary,
    Trial,
)

# All that a study puts into its run directory, in the order in which it is deleted: a process that
# is killed meanwhile leaves a study that goes on from its images, or none.
_OWN = (
    "summary.json",
    "backbones",
    "search.db",
    "search.db-journal",
    "comparison.json",
    "fingerprint.json",
    "data",
    "provenance.json",
    "report",
    "study.log",
    "config.toml",
)


def refuse_study_files(path: Path) -> None:
    """Refuse to write over what belongs to a study, where that is not what is being changed.

    Parameters
    ----------
    path : Path
        The file that is to be written, or a folder for such files.

    Raises
    ------
    RunError
    """
    place = path.resolve()
    for folder in place.parents:
        is_own = place.relative_to(folder).parts[0] in _OWN
        if (
            is_own
            and (folder / "config.toml").is_file()
            and (folder / "fingerprint.json").is_file()
        ):
            raise RunError(
                f"{path}: belongs to the study in {folder}; choose another place with --out"
            )


class RunDirectory:
    """One study's folder: paths, writing and reading of every record.

    Parameters
    ----------
    root : Path
        The folder itself, ``runs/NAME``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def clear(self) -> None:
        """Delete the study that is stored here; files that are none of its own stay."""
        deleted = self.root / f".cleared.{uuid.uuid4().hex[:8]}.part"
        deleted.mkdir()
        for name in _OWN:
            with suppress(FileNotFoundError):
                (self.root / name).rename(deleted / name)
        shutil.rmtree(deleted)

    @classmethod
    def open(cls, root: Path) -> RunDirectory:
        """Open a complete run directory for reading.

        Raises
        ------
        RunError
            Where there is none, or its study has not ended.
        """
        if not root.is_dir():
            raise RunError(f"{root}: there is no such run directory")
        run = cls(root)
        if not run.summary_path.is_file():
            raise RunError(
                f"{root}: holds no finished study (no summary.json); run the study to its end first"
            )
        return run

    @property
    def summary_path(self) -> Path:
        """summary.json, the manifest."""
        return self.root / "summary.json"

    @property
    def config_path(self) -> Path:
        """config.toml, written first."""
        return self.root / "config.toml"

    @property
    def fingerprint_path(self) -> Path:
        """fingerprint.json: there once the data are, before the first backbone begins."""
        return self.root / "fingerprint.json"

    @property
    def trials_path(self) -> Path:
        """The trials of the searches, an SQLite file."""
        return self.root / "search.db"

    @property
    def log_path(self) -> Path:
        """study.log."""
        return self.root / "study.log"

    @property
    def pixels_path(self) -> Path:
        """The decoded images, (N, S, S, 3) uint8."""
        return self.root / "data" / "pixels.npy"

    @property
    def masks_path(self) -> Path:
        """The object masks, (N, S, S) bool; only where the source has them."""
        return self.root / "data" / "masks.npy"

    @property
    def checks_path(self) -> Path:
        """checks.json, what the data look like."""
        return self.root / "data" / "checks.json"

    @property
    def _index_path(self) -> Path:
        return self.root / "data" / "index.csv"

    @property
    def sources_path(self) -> Path:
        """sources.csv, the files that the study was made of."""
        return self.root / "data" / "sources.csv"

    def write_sources(self, files: Iterable[SourceFile]) -> None:
        """Write sources.csv."""
        sources_file.write(self.sources_path, files)

    def read_sources(self) -> tuple[SourceFile, ...] | None:
        """Read sources.csv; None in a study that is older than it, or a mitigated one."""
        return sources_file.read(self.sources_path) if self.sources_path.is_file() else None

    @property
    def contact_sheet_path(self) -> Path:
        """Samples of every class, one picture."""
        return self.root / "data" / "contact_sheet.png"

    @property
    def report_path(self) -> Path:
        """The report, one self-contained HTML file."""
        return self.root / "report" / "index.html"

    def backbone_path(self, slug: str) -> Path:
        """One backbone's folder."""
        return self.root / "backbones" / slug

    def checkpoint_path(self, slug: str, stage: Stage) -> Path:
        """One stage between its epochs; gone when the backbone's study has ended."""
        return self.backbone_path(slug) / stage / "checkpoint.safetensors"

    def _repetitions_path(self, slug: str) -> Path:
        return self.backbone_path(slug) / "folds"

    def repetition_path(self, slug: str, name: str, stage: Stage) -> Path:
        """One stage of a training again, between its epochs; gone when that has ended."""
        return self._repetitions_path(slug) / f"{name}, {stage}.safetensors"

    def model_path(self, slug: str, stage: Stage) -> Path:
        """One stage's classifier."""
        return self.backbone_path(slug) / stage / "model.safetensors"

    def write_config(self, config: StudyConfig) -> None:
        """Write config.toml, complete with the defaults."""
        write_text(self.config_path, tomli_w.dumps(config.model_dump(exclude_none=True)))

    def read_config(self) -> StudyConfig:
        """Read config.toml."""
        return load_config(str(self.config_path))

    def write_summary(self, summary: Summary) -> None:
        """Write summary.json; call it last."""
        write_record(self.summary_path, summary)

    def read_summary(self) -> Summary:
        """Read summary.json."""
        return read_record(self.summary_path, Summary)

    def settle(
        self, steps: Sequence[Step], backbone: str | None = None, stage: Stage | None = None
    ) -> None:
        """Take steps that have been done since out of what failed, in summary.json.

        Without `backbone` or `stage` those of all count.
        """
        summary = self.read_summary()

        def stays(one: FailedStep) -> bool:
            return (
                one.step not in steps
                or backbone not in (None, one.backbone)
                or stage not in (None, one.stage)
            )

        if all(map(stays, summary.failed)):
            return
        for part in summary.backbones.values():
            part.failed = list(filter(stays, part.failed))
        summary.failed = list(filter(stays, summary.failed))
        self.write_summary(summary)

    def write_provenance(self, provenance: Provenance) -> None:
        """Write provenance.json."""
        write_record(self.root / "provenance.json", provenance)

    def read_provenance(self) -> Provenance:
        """Read provenance.json."""
        return read_record(self.root / "provenance.json", Provenance)

    def write_fingerprint(self, fingerprint: RunFingerprint) -> None:
        """Write fingerprint.json."""
        write_record(self.fingerprint_path, fingerprint)

    def read_fingerprint(self) -> RunFingerprint | None:
        """Read fingerprint.json; None where no backbone has begun."""
        return record_where_there(self.fingerprint_path, RunFingerprint)

    def write_backbone(self, slug: str, summary: BackboneSummary) -> None:
        """Write a backbone's part of the summary, when all else of it is there."""
        write_record(self.backbone_path(slug) / "summary.json", summary)
        self.forget_checkpoints(slug)

    def forget_checkpoints(self, slug: str) -> None:
        """Delete what only a study that goes on needs."""
        for stage in STAGES:
            self.checkpoint_path(slug, stage).unlink(missing_ok=True)
        shutil.rmtree(self._repetitions_path(slug), ignore_errors=True)

    def read_backbone_summary(self, slug: str) -> BackboneSummary | None:
        """Read a backbone's part of the summary; None where its study has not ended."""
        return record_where_there(self.backbone_path(slug) / "summary.json", BackboneSummary)

    def write_dataset(
        self, data: Dataset, findings: DataFindings | None = None, failed: str | None = None
    ) -> None:
        """Write index.csv and checks.json; the pixels are there already."""
        dataset_files.write(self._index_path, self.checks_path, data, findings, failed)

    def read_checks(self) -> DataChecks:
        """Read checks.json."""
        return read_record(self.checks_path, DataChecks)

    def read_dataset(self) -> Dataset:
        """Read the images of the study back, their pixels memory-mapped."""
        return dataset_files.read(
            self._index_path, self.checks_path, self.pixels_path, self.masks_path
        )

    def write_features(self, slug: str, features: FeaturesRecord) -> None:
        """Write features.json."""
        write_record(self.backbone_path(slug) / "features.json", features)

    def read_features(self, slug: str) -> FeaturesRecord | None:
        """Read features.json; None where the backbone has not begun."""
        return record_where_there(self.backbone_path(slug) / "features.json", FeaturesRecord)

    def write_baseline(self, slug: str, baseline: Baseline) -> None:
        """Write baseline.json."""
        write_record(self.backbone_path(slug) / "baseline.json", baseline)

    def quality_issues_path(self, slug: str) -> Path:
        """One backbone's quality_issues.json."""
        return self.backbone_path(slug) / "quality_issues.json"

    def write_quality_issues(self, slug: str, issues: QualityIssues) -> None:
        """Write quality_issues.json."""
        write_record(self.quality_issues_path(slug), issues)

    def read_quality_issues(self, slug: str) -> QualityIssues | None:
        """Read quality_issues.json; None in a study that is older than it."""
        return record_where_there(self.quality_issues_path(slug), QualityIssues)

    def write_baseline_predictions(
        self, slug: str, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write baseline.csv: the test images' shares of the grouped classes."""
        tables.write_predictions(self.backbone_path(slug) / "baseline.csv", predictions, classes)

    def write_evaluation(self, slug: str, evaluation: Evaluation) -> None:
        """Write evaluation.json."""
        write_record(self.backbone_path(slug) / "evaluation.json", evaluation)

    def read_evaluation(self, slug: str) -> Evaluation | None:
        """Read evaluation.json; None where the study is of a version that wrote none."""
        return record_where_there(self.backbone_path(slug) / "evaluation.json", Evaluation)

    def write_comparison(self, comparison: Comparison) -> None:
        """Write comparison.json."""
        write_record(self.root / "comparison.json", comparison)

    def read_comparison(self) -> Comparison | None:
        """Read comparison.json; None where the study is of a version that wrote none."""
        return record_where_there(self.root / "comparison.json", Comparison)

    def _answers_path(self, slug: str, name: str) -> Path:
        return self._repetitions_path(slug) / f"{name}.npz"

    def write_answers(
        self, slug: str, name: str, answers: Mapping[Stage, RepetitionPredictions]
    ) -> None:
        """Keep what a training again said, until the backbone's study has ended."""
        answers_file.write(self._answers_path(slug, name), answers)

    def read_answers(
        self, slug: str, name: str, stages: Sequence[Stage], sizes: tuple[int, int, int]
    ) -> dict[Stage, RepetitionPredictions] | None:
        """Read what a training again said, see `answers_file.read`; None where it has not ended."""
        return answers_file.read(self._answers_path(slug, name), stages, sizes)

    def write_out_of_fold(
        self, slug: str, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write out_of_fold.csv: what is said of each image by a head not trained on it."""
        tables.write_predictions(self.backbone_path(slug) / "out_of_fold.csv", predictions, classes)

    def write_folds(self, slug: str, folds: FoldsRecord) -> None:
        """Write folds.json."""
        write_record(self.backbone_path(slug) / "folds.json", folds)

    def read_folds(self, slug: str) -> FoldsRecord | None:
        """Read folds.json; None where neither folds nor several seeds were asked for."""
        return record_where_there(self.backbone_path(slug) / "folds.json", FoldsRecord)

    def audit_path(self, slug: str, stage: Stage) -> Path:
        """One stage's audit.json; the fine-tuned classifier's lies in the backbone's folder."""
        folder = self.backbone_path(slug)
        return (folder if stage == "finetuning" else folder / stage) / "audit.json"

    def write_audit(
        self,
        slug: str,
        audit: Audit,
        pictures: Mapping[str, NDArray[np.uint8]],
        details: Mapping[str, Mapping[str, NDArray[Any]]],
    ) -> None:
        """Write audit.npz, audit-details.npz and, last, audit.json; see `audit_files.write`."""
        audit_files.write(self.audit_path(slug, audit.stage), audit, pictures, details)

    def read_audit(self, slug: str, stage: Stage) -> Audit | None:
        """Read audit.json; None where this classifier has not been audited."""
        return record_where_there(self.audit_path(slug, stage), Audit)

    def read_audit_pictures(self, slug: str, stage: Stage) -> dict[str, NDArray[np.uint8]]:
        """Read audit.npz: by ``CLASS-FINDING``, (n, 3, S, S, 3)."""
        return audit_files.read_pictures(self.audit_path(slug, stage))

    def read_audit_details(
        self, slug: str, stage: Stage, audit: Audit
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Read audit-details.npz: what details look like, by ``CLASS-FINDING``.

        See `audit_files.read_details` for the arrays.
        """
        again = f"seewhy audit {self.root} --backbone {slug}"
        return audit_files.read_details(self.audit_path(slug, stage), audit, again)

    def mitigated_path(self, slug: str) -> Path:
        """Return where the mitigated study of a backbone lies, a run directory of its own."""
        return self.backbone_path(slug) / "mitigated"

    def forget_mitigation(self, slug: str) -> bool:
        """Delete mitigation.json, what it tells of is no more; return whether there was one."""
        path = self._mitigation_path(slug)
        there = path.is_file()
        path.unlink(missing_ok=True)
        return there

    def _mitigation_path(self, slug: str) -> Path:
        return self.backbone_path(slug) / "mitigation.json"

    def write_mitigation(self, slug: str, mitigation: MitigationRecord) -> None:
        """Write mitigation.json; call it when the mitigated study has ended."""
        write_record(self._mitigation_path(slug), mitigation)

    def read_mitigation(self, slug: str) -> MitigationRecord | None:
        """Read mitigation.json; None where nothing was mitigated."""
        return record_where_there(self._mitigation_path(slug), MitigationRecord)

    @property
    def _mitigated_data_path(self) -> Path:
        return self.root / "data" / "mitigation_data.json"

    @property
    def is_mitigated(self) -> bool:
        """Whether this is a mitigated study, whose images come of the study around it."""
        return self._mitigated_data_path.is_file()

    def write_mitigated_data(self, mitigated: MitigationData) -> None:
        """Write mitigation_data.json, how the images of a mitigated study came about."""
        write_record(self._mitigated_data_path, mitigated)

    def read_mitigated_data(self) -> MitigationData | None:
        """Read mitigation_data.json; None in a study that is no mitigated one."""
        return record_where_there(self._mitigated_data_path, MitigationData)

    def read_audited(self) -> Dataset:
        """Read the images that an audit asks about: the study's own, before any mitigation.

        Raises
        ------
        RunError
            Where they are damaged, or a mitigated study lies no longer in the study around it.
        """
        own = self.read_dataset()
        if not self.is_mitigated:
            return own
        place = self.root.resolve()
        around = RunDirectory(place.parent.parent.parent)
        if place == around.mitigated_path(place.parent.name) and around.config_path.is_file():
            data = around.read_dataset()
            told = ("classes", "ids", "paths", "splits")
            same = all(getattr(data, name) == getattr(own, name) for name in told)
            if same and np.array_equal(data.labels, own.labels):
                return data
        raise RunError(
            f"{self.root}: was mitigated from another study's images and is audited on those; "
            "it must "
            "stay where it was made, RUN/backbones/SLUG/mitigated in that study's run directory"
        )

    def search_path(self, slug: str) -> Path:
        """One backbone's search."""
        return self.backbone_path(slug) / "search"

    def write_trials(self, slug: str, trials: Sequence[Trial]) -> None:
        """Write trials.csv, a line a trial that has ended."""
        tables.write_trials(self.search_path(slug) / "trials.csv", trials)

    def write_search(self, slug: str, search: SearchRecord) -> None:
        """Write best.json; call it when the search has ended."""
        write_record(self.search_path(slug) / "best.json", search)

    def read_search(self, slug: str) -> SearchRecord | None:
        """Read best.json; None where there is none."""
        return record_where_there(self.search_path(slug) / "best.json", SearchRecord)

    def write_stage(
        self,
        slug: str,
        metrics: StageMetrics,
        history: Sequence[Epoch],
        predictions: Predictions,
        confusion: NDArray[np.int64],
        classes: Sequence[str],
    ) -> None:
        """Write a stage's history, predictions, confusion matrix and, last, its metrics."""
        folder = self.backbone_path(slug) / metrics.stage
        tables.write_history(folder / "history.csv", history)
        tables.write_predictions(folder / "predictions.csv", predictions, classes)
        tables.write_confusion(folder / "confusion.csv", confusion, classes)
        write_record(folder / "metrics.json", metrics)

    def write_validation(
        self, slug: str, stage: Stage, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write validation.csv: what a stage says of the images that chose its best epoch."""
        path = self.backbone_path(slug) / stage / "validation.csv"
        tables.write_predictions(path, predictions, classes)

    def maps_path(self, slug: str, stage: Stage) -> Path:
        """One stage's maps; fine-tuning's lie where a study with one stage's would."""
        folder = self.backbone_path(slug) / "explanations"
        return (folder if stage == "finetuning" else folder / stage) / "maps.npz"

    def write_maps(
        self,
        slug: str,
        stage: Stage,
        parts: Iterable[Maps],
        labels: NDArray[np.int64],
        classes: Sequence[str],
    ) -> None:
        """Write one stage's maps.npz and its index.csv, batch by batch; see `maps_file.write`."""
        maps_file.write(self.maps_path(slug, stage), stage, parts, labels, classes)

    def read_maps(self, slug: str, stage: Stage, predictions: Predictions) -> Maps:
        """Read one stage's maps, which must have the ids of that stage's predictions."""
        return maps_file.read(self.maps_path(slug, stage), stage, predictions.ids)

    def faithfulness_path(self, slug: str) -> Path:
        """How faithful fine-tuning's maps are."""
        return self.backbone_path(slug) / "explanations" / "faithfulness.json"

    def write_faithfulness(self, slug: str, found: Faithfulness) -> None:
        """Write faithfulness.json."""
        write_record(self.faithfulness_path(slug), found)

    def read_faithfulness(self, slug: str) -> Faithfulness | None:
        """Read faithfulness.json; None where it was not measured."""
        return record_where_there(self.faithfulness_path(slug), Faithfulness)

    def read_unseen(self, slug: str, classes: Sequence[str]) -> Predictions:
        """Read what heads say, after adaptation, of images they were not trained on.

        Of the training and validation images where there is an out_of_fold.csv, else of the
        validation images alone; then of the test images.
        """
        folder = self.backbone_path(slug)
        parts = [tables.read_predictions(folder / "adaptation" / "predictions.csv", classes)]
        for path in (folder / "out_of_fold.csv", folder / "adaptation" / "validation.csv"):
            if path.is_file():
                parts.insert(0, tables.read_predictions(path, classes))
                break
        return Predictions(
            ids=tuple(id_ for part in parts for id_ in part.ids),
            labels=np.concatenate([part.labels for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
        )

    def read_backbone(self, slug: str, classes: Sequence[str]) -> BackboneRecords:
        """Read all records of one backbone."""
        folder = self.backbone_path(slug)
        search = self.read_search(slug)
        predictions = {
            stage: tables.read_predictions(folder / stage / "predictions.csv", classes)
            for stage in STAGES
        }
        validation = {
            stage: tables.predictions_where_there(folder / stage / "validation.csv", classes)
            for stage in STAGES
        }
        read = {stage: self.read_audit(slug, stage) for stage in STAGES}
        audits = {stage: audit for stage, audit in read.items() if audit is not None}
        return BackboneRecords(
            slug=slug,
            features=read_record(folder / "features.json", FeaturesRecord),
            search=search,
            trials=tables.read_trials(self.search_path(slug) / "trials.csv") if search else (),
            issues=self.read_quality_issues(slug),
            audits=audits,
            mitigation=self.read_mitigation(slug),
            has_mitigated_report=RunDirectory(self.mitigated_path(slug)).report_path.is_file(),
            audit_pictures={stage: self.read_audit_pictures(slug, stage) for stage in audits},
            baseline=read_record(folder / "baseline.json", Baseline),
            baseline_predictions=tables.predictions_where_there(folder / "baseline.csv", classes),
            out_of_fold=tables.predictions_where_there(folder / "out_of_fold.csv", classes),
            folds=self.read_folds(slug),
            history={
                stage: tables.read_history(folder / stage / "history.csv") for stage in STAGES
            },
            predictions=predictions,
            validation={stage: seen for stage, seen in validation.items() if seen is not None},
            metrics={
                stage: read_record(folder / stage / "metrics.json", StageMetrics)
                for stage in STAGES
            },
            faithfulness=self.read_faithfulness(slug),
            maps={stage: self.read_maps(slug, stage, predictions[stage]) for stage in STAGES},
            confusion={
                stage: tables.read_confusion(folder / stage / "confusion.csv", classes)
                for stage in STAGES
            },
        )

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file of the run, UTF-8."""
        write_text(path, text)
