"""How a study lies on disk: one run directory, every file written atomically.

A file appears under its name only when it is whole: it is written beside it, flushed to the disk
and renamed. ``summary.json`` is written last, so a directory that has one is complete. Nothing is
read with pickle. This module knows what the records are, not how they come about.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from seewhy.audit_records import Audit, MendedData, MendingRecord
from seewhy.backbone_records import BackboneRecords
from seewhy.check_records import DataChecks, DataFindings, Suspects
from seewhy.config import StudyConfig, load_config
from seewhy.errors import RunError
from seewhy.evaluation_records import Comparison, Evaluation
from seewhy.faithfulness_records import Faithfulness
from seewhy.npz import Expected, growing_npz, read_npz
from seewhy.records import (
    STAGES,
    Answers,
    BackboneSummary,
    Baseline,
    Begun,
    Dataset,
    Epoch,
    FeaturesRecord,
    FoldsRecord,
    Maps,
    Predictions,
    Provenance,
    SearchRecord,
    SetAside,
    Split,
    Stage,
    StageMetrics,
    Summary,
    Trial,
)
from seewhy.tables import (
    Rows,
    Table,
    confusion_table,
    history_table,
    parse_confusion,
    parse_history,
    parse_predictions,
    parse_trials,
    predictions_table,
    trials_table,
)

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")
# What maps.npz has of every image, beside its id.
_MAP_ARRAYS = (
    "maps",
    "label_maps",
    "explained",
    "scales",
    "label_scales",
    "empty",
    "label_empty",
)
# What audit-details.npz has of every finding of these kinds.
_MOVING_ARRAYS = {
    "look": Expected("float32", (None, None, 3)),
    "shape": Expected("bool", (None, None)),
    "shares": Expected("float64", (2,)),
}
_DETAIL_ARRAYS = {
    "moving detail": _MOVING_ARRAYS,
    "detail": {**_MOVING_ARRAYS, "at": Expected("int64", (2,))},
}
# All that a study puts into its run directory.
_OWN = (
    "config.toml",
    "begun.json",
    "provenance.json",
    "study.log",
    "summary.json",
    "comparison.json",
    "search.db",
    "search.db-journal",
    "data",
    "backbones",
    "report",
)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, then put it in its place.

    Raises
    ------
    RunError
        Where the disk is full or the place cannot be written; `path` is then as it was before.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("r+b") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> RunError:
    """Put an operating system's refusal to write `path` into one sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"{path}: no space left on the disk; free some, or choose another place with --out"
        )
    return RunError(f"{path}: cannot be written ({error.strerror or error})")


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
        """Delete the study that lies here; files that are none of its own stay."""
        for name in _OWN:
            entry = self.root / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

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
    def begun_path(self) -> Path:
        """begun.json: there once the data are, before the first backbone is begun."""
        return self.root / "begun.json"

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
        with writing(self.config_path) as part:
            part.write_text(tomli_w.dumps(config.model_dump(exclude_none=True)), "utf-8")

    def read_config(self) -> StudyConfig:
        """Read config.toml."""
        return load_config(str(self.config_path))

    def write_summary(self, summary: Summary) -> None:
        """Write summary.json; call it last."""
        self._write_json(self.summary_path, summary)

    def read_summary(self) -> Summary:
        """Read summary.json."""
        return read_record(self.summary_path, Summary)

    def write_provenance(self, provenance: Provenance) -> None:
        """Write provenance.json."""
        self._write_json(self.root / "provenance.json", provenance)

    def read_provenance(self) -> Provenance:
        """Read provenance.json."""
        return read_record(self.root / "provenance.json", Provenance)

    def write_begun(self, begun: Begun) -> None:
        """Write begun.json."""
        self._write_json(self.begun_path, begun)

    def read_begun(self) -> Begun | None:
        """Read begun.json; None where no backbone was begun."""
        return read_record(self.begun_path, Begun) if self.begun_path.is_file() else None

    def write_backbone(self, slug: str, summary: BackboneSummary) -> None:
        """Write a backbone's part of the summary, when all else of it is there."""
        self._write_json(self.backbone_path(slug) / "summary.json", summary)
        self.forget_checkpoints(slug)

    def forget_checkpoints(self, slug: str) -> None:
        """Delete what only a study that goes on needs."""
        for stage in STAGES:
            self.checkpoint_path(slug, stage).unlink(missing_ok=True)
        shutil.rmtree(self._repetitions_path(slug), ignore_errors=True)

    def read_backbone_summary(self, slug: str) -> BackboneSummary | None:
        """Read a backbone's part of the summary; None where its study has not ended."""
        path = self.backbone_path(slug) / "summary.json"
        return read_record(path, BackboneSummary) if path.is_file() else None

    def write_dataset(self, data: Dataset, findings: DataFindings | None = None) -> None:
        """Write index.csv and checks.json; the pixels are there already."""
        groups = [""] * len(data.ids) if data.groups is None else data.groups.tolist()
        rows = (
            (id_, path, data.classes[label], split, group)
            for id_, path, label, split, group in zip(
                data.ids, data.paths, data.labels, data.splits, groups, strict=True
            )
        )
        header = ("id", "path", "label", "split", "group")
        _write_csv(self.root / "data" / "index.csv", Table(header, rows))
        checks = DataChecks(
            source=data.source,
            working_size=int(data.pixels.shape[1]),
            counts=data.counts(),
            set_aside=[asdict(item) for item in data.set_aside],
            masks=data.masks is not None,
            findings=findings,
        )
        self._write_json(self.checks_path, checks)

    def read_checks(self) -> DataChecks:
        """Read checks.json."""
        return read_record(self.checks_path, DataChecks)

    def read_dataset(self) -> Dataset:
        """Read the images of the study back, their pixels memory-mapped."""
        checks = self.read_checks()
        rows = _read_csv(self.root / "data" / "index.csv")
        classes = tuple(checks.counts["train"])
        number = {name: k for k, name in enumerate(classes)}
        try:
            return Dataset(
                source=checks.source,
                classes=classes,
                ids=tuple(row["id"] for row in rows),
                paths=tuple(row["path"] for row in rows),
                labels=np.array([number[row["label"]] for row in rows], dtype=np.int64),
                splits=tuple(cast(Split, row["split"]) for row in rows),
                pixels=np.load(self.pixels_path, mmap_mode="r", allow_pickle=False),
                masks=(
                    np.load(self.masks_path, mmap_mode="r", allow_pickle=False)
                    if checks.masks
                    else None
                ),
                set_aside=tuple(SetAside(**item) for item in checks.set_aside),
                groups=_read_groups(rows),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.root / 'data'}: cannot be read ({error})") from error

    def write_features(self, slug: str, features: FeaturesRecord) -> None:
        """Write features.json."""
        self._write_json(self.backbone_path(slug) / "features.json", features)

    def write_baseline(self, slug: str, baseline: Baseline) -> None:
        """Write baseline.json."""
        self._write_json(self.backbone_path(slug) / "baseline.json", baseline)

    def suspects_path(self, slug: str) -> Path:
        """One backbone's suspects.json."""
        return self.backbone_path(slug) / "suspects.json"

    def write_suspects(self, slug: str, suspects: Suspects) -> None:
        """Write suspects.json."""
        self._write_json(self.suspects_path(slug), suspects)

    def read_suspects(self, slug: str) -> Suspects | None:
        """Read suspects.json; None in a study that is older than it."""
        path = self.suspects_path(slug)
        return read_record(path, Suspects) if path.is_file() else None

    def write_baseline_predictions(
        self, slug: str, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write baseline.csv: the test images' shares of the grouped classes."""
        path = self.backbone_path(slug) / "baseline.csv"
        _write_csv(path, predictions_table(predictions, classes))

    def write_evaluation(self, slug: str, evaluation: Evaluation) -> None:
        """Write evaluation.json."""
        self._write_json(self.backbone_path(slug) / "evaluation.json", evaluation)

    def read_evaluation(self, slug: str) -> Evaluation | None:
        """Read evaluation.json; None where the study is of a version that wrote none."""
        path = self.backbone_path(slug) / "evaluation.json"
        return read_record(path, Evaluation) if path.is_file() else None

    def write_comparison(self, comparison: Comparison) -> None:
        """Write comparison.json."""
        self._write_json(self.root / "comparison.json", comparison)

    def read_comparison(self) -> Comparison | None:
        """Read comparison.json; None where the study is of a version that wrote none."""
        path = self.root / "comparison.json"
        return read_record(path, Comparison) if path.is_file() else None

    def write_answers(self, slug: str, name: str, answers: Mapping[Stage, Answers]) -> None:
        """Keep what a training again said, until the backbone's study has ended."""
        arrays = {
            f"{stage}.{what}": array
            for stage, one in answers.items()
            for what, array in (
                ("epochs", np.array(one.epochs)),
                ("held_out", one.held_out),
                ("test", one.test),
            )
        }
        with writing(self._repetitions_path(slug) / f"{name}.npz") as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read_answers(
        self, slug: str, name: str, stages: Sequence[Stage], sizes: tuple[int, int, int]
    ) -> dict[Stage, Answers] | None:
        """Read what a training again said; None where it has not ended.

        Parameters
        ----------
        slug, name : str
        stages : sequence of Stage
        sizes : (int, int, int)
            Images that were held out, test images, classes.
        """
        path = self._repetitions_path(slug) / f"{name}.npz"
        if not path.is_file():
            return None
        held_out, test, classes = sizes
        try:
            found = read_npz(
                path,
                {
                    f"{stage}.{what}": expected
                    for stage in stages
                    for what, expected in (
                        ("epochs", Expected("int64")),
                        ("held_out", Expected("float32", (held_out, classes))),
                        ("test", Expected("float32", (test, classes))),
                    )
                },
            )
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{path}: cannot be taken up again ({error}); delete it to train that again"
            ) from error
        return {
            stage: Answers(
                int(found[f"{stage}.epochs"]), found[f"{stage}.held_out"], found[f"{stage}.test"]
            )
            for stage in stages
        }

    def write_out_of_fold(
        self, slug: str, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write out_of_fold.csv: what is said of each image by a head not trained on it."""
        path = self.backbone_path(slug) / "out_of_fold.csv"
        _write_csv(path, predictions_table(predictions, classes))

    def write_folds(self, slug: str, folds: FoldsRecord) -> None:
        """Write folds.json."""
        self._write_json(self.backbone_path(slug) / "folds.json", folds)

    def read_folds(self, slug: str) -> FoldsRecord | None:
        """Read folds.json; None where neither folds nor several seeds were asked for."""
        path = self.backbone_path(slug) / "folds.json"
        return read_record(path, FoldsRecord) if path.is_file() else None

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
        """Write audit.npz, audit-details.npz and, last, audit.json.

        Parameters
        ----------
        slug : str
        audit : Audit
        pictures : mapping of str to ndarray of uint8, (n, 3, S, S, 3)
            Examples of what was found, by ``CLASS-FINDING``.
        details : mapping of str to mapping of str to ndarray
            What details look like, likewise: see `read_audit_details`.
        """
        path = self.audit_path(slug, audit.stage)
        parts = {f"{key}.{part}": a for key, one in details.items() for part, a in one.items()}
        for file, arrays in ((path.with_suffix(".npz"), pictures), (_details_path(path), parts)):
            with writing(file) as part, part.open("wb") as stream:
                np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]
        self._write_json(path, audit)

    def read_audit(self, slug: str, stage: Stage) -> Audit | None:
        """Read audit.json; None where this classifier has not been audited."""
        path = self.audit_path(slug, stage)
        return read_record(path, Audit) if path.is_file() else None

    def read_audit_pictures(self, slug: str, stage: Stage) -> dict[str, NDArray[np.uint8]]:
        """Read audit.npz: by ``CLASS-FINDING``, (n, 3, S, S, 3)."""
        path = self.audit_path(slug, stage).with_suffix(".npz")
        try:
            with np.load(path, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error
        for name, pictures in found.items():
            if pictures.dtype != np.uint8 or pictures.ndim != 5:
                raise RunError(f"{path}: is not as seewhy writes it ({name}: no pictures)")
        return found

    def read_audit_details(
        self, slug: str, stage: Stage, audit: Audit
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Read audit-details.npz: what the details of an audit's findings look like.

        Returns
        -------
        dict of str to dict of str to ndarray
            By ``CLASS-FINDING``: ``look`` (h, w, 3) float32, ``shape`` (h, w) bool, ``shares`` (2,)
            float64, of the class's images and of the others that carry it; and ``at`` (2,) int64,
            its top and left, where these are the same in all images.

        Raises
        ------
        RunError
            Where the file is damaged, or not there: seewhy wrote none at first.
        """
        path = _details_path(self.audit_path(slug, stage))
        wanted = {
            f"{label}-{number}.{part}": expected
            for label, one in enumerate(audit.classes)
            for number, finding in enumerate(one.findings)
            for part, expected in _DETAIL_ARRAYS.get(finding.kind, {}).items()
        }
        try:
            arrays = read_npz(path, wanted)
        except FileNotFoundError as error:
            raise RunError(
                f"{path}: is not there; an older seewhy audited this classifier, audit it again "
                f"with `seewhy audit {self.root} --backbone {slug}`"
            ) from error
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{path}: cannot be read ({error}); audit the classifier again with "
                f"`seewhy audit {self.root} --backbone {slug}`"
            ) from error
        found: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            key, _, part = name.partition(".")
            found.setdefault(key, {})[part] = array
        for key, one in found.items():
            if one["look"].shape[:2] != one["shape"].shape or not one["shape"].any():
                raise RunError(f"{path}: is not as seewhy writes it ({key}: look and shape)")
        return found

    def mended_path(self, slug: str) -> Path:
        """Return where the mended study of a backbone lies, a run directory of its own."""
        return self.backbone_path(slug) / "mended"

    def write_mending(self, slug: str, mending: MendingRecord) -> None:
        """Write mending.json; call it when the mended study has ended."""
        self._write_json(self.backbone_path(slug) / "mending.json", mending)

    def read_mending(self, slug: str) -> MendingRecord | None:
        """Read mending.json; None where nothing was mended."""
        path = self.backbone_path(slug) / "mending.json"
        return read_record(path, MendingRecord) if path.is_file() else None

    @property
    def _mended_data_path(self) -> Path:
        return self.root / "data" / "mended.json"

    def write_mended_data(self, mended: MendedData) -> None:
        """Write mended.json, how the images of a mended study came about."""
        self._write_json(self._mended_data_path, mended)

    def read_mended_data(self) -> MendedData | None:
        """Read mended.json; None in a study that is no mended one."""
        path = self._mended_data_path
        return read_record(path, MendedData) if path.is_file() else None

    def read_audited(self) -> Dataset:
        """Read the images that an audit asks about: the study's own, before any mending.

        Raises
        ------
        RunError
            Where they are damaged, or a mended study lies no longer in the study around it.
        """
        if self.read_mended_data() is None:
            return self.read_dataset()
        # RUN/backbones/SLUG/mended
        return RunDirectory(self.root.resolve().parents[2]).read_dataset()

    def search_path(self, slug: str) -> Path:
        """One backbone's search."""
        return self.backbone_path(slug) / "search"

    def write_trials(self, slug: str, trials: Sequence[Trial]) -> None:
        """Write trials.csv, a line a trial that has ended."""
        _write_csv(self.search_path(slug) / "trials.csv", trials_table(trials))

    def write_search(self, slug: str, search: SearchRecord) -> None:
        """Write best.json; call it when the search has ended."""
        self._write_json(self.search_path(slug) / "best.json", search)

    def read_search(self, slug: str) -> SearchRecord | None:
        """Read best.json; None where there is none."""
        path = self.search_path(slug) / "best.json"
        return read_record(path, SearchRecord) if path.is_file() else None

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
        _write_csv(folder / "history.csv", history_table(history))
        _write_csv(folder / "predictions.csv", predictions_table(predictions, classes))
        _write_csv(folder / "confusion.csv", confusion_table(confusion, classes))
        self._write_json(folder / "metrics.json", metrics)

    def write_validation(
        self, slug: str, stage: Stage, predictions: Predictions, classes: Sequence[str]
    ) -> None:
        """Write validation.csv: what a stage says of the images that chose its best epoch."""
        path = self.backbone_path(slug) / stage / "validation.csv"
        _write_csv(path, predictions_table(predictions, classes))

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
        """Write one stage's maps.npz and its index.csv.

        Parameters
        ----------
        slug : str
        stage : {"adaptation", "finetuning"}
        parts : iterable of Maps
            The test images' maps, batch by batch as they come about; memory holds one batch.
        labels : ndarray of int64, (N,)
            Of all images.
        classes : sequence of str
        """
        path = self.maps_path(slug, stage)
        ids: list[str] = []
        rows: list[tuple[int, float, bool]] = []
        method, layer = "", ""
        with writing(path) as file, growing_npz(file) as columns:
            for part in parts:
                columns.append(**{name: getattr(part, name) for name in _MAP_ARRAYS})
                ids += part.ids
                method, layer = part.method, part.layer
                peaks = part.maps.reshape(len(part.ids), -1).max(axis=1) / part.scales
                rows += zip(
                    part.explained.tolist(), peaks.tolist(), part.empty.tolist(), strict=True
                )
            texts = {"ids": ids, "method": method, "layer": layer, "stage": stage}
            columns.put(**{name: np.array(text) for name, text in texts.items()})
        shown_rows = (
            (id_, classes[label], classes[shown], classes[shown], peak, empty)
            for id_, label, (shown, peak, empty) in zip(ids, labels, rows, strict=True)
        )
        header = ("id", "label", "predicted", "explained", "peak", "empty")
        _write_csv(path.with_name("index.csv"), Table(header, shown_rows))

    def read_maps(self, slug: str, stage: Stage, predictions: Predictions) -> Maps:
        """Read one stage's maps, which must have the ids of that stage's predictions."""
        return _read_maps(self.maps_path(slug, stage), stage, predictions.ids)

    def faithfulness_path(self, slug: str) -> Path:
        """How faithful fine-tuning's maps are."""
        return self.backbone_path(slug) / "explanations" / "faithfulness.json"

    def write_faithfulness(self, slug: str, found: Faithfulness) -> None:
        """Write faithfulness.json."""
        self._write_json(self.faithfulness_path(slug), found)

    def read_faithfulness(self, slug: str) -> Faithfulness | None:
        """Read faithfulness.json; None where it was not measured."""
        path = self.faithfulness_path(slug)
        return read_record(path, Faithfulness) if path.is_file() else None

    def read_unseen(self, slug: str, classes: Sequence[str]) -> Predictions:
        """Read what heads say, after adaptation, of images they were not trained on.

        Of the training and validation images where there is an out_of_fold.csv, else of the
        validation images alone; then of the test images.
        """
        folder = self.backbone_path(slug)
        parts = [_read_predictions(folder / "adaptation" / "predictions.csv", classes)]
        for path in (folder / "out_of_fold.csv", folder / "adaptation" / "validation.csv"):
            if path.is_file():
                parts.insert(0, _read_predictions(path, classes))
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
            stage: _read_predictions(folder / stage / "predictions.csv", classes)
            for stage in STAGES
        }
        read = {stage: self.read_audit(slug, stage) for stage in STAGES}
        audits = {stage: audit for stage, audit in read.items() if audit is not None}
        return BackboneRecords(
            slug=slug,
            features=read_record(folder / "features.json", FeaturesRecord),
            search=search,
            trials=(_parsed(self.search_path(slug) / "trials.csv", parse_trials) if search else ()),
            suspects=self.read_suspects(slug),
            audits=audits,
            mending=self.read_mending(slug),
            audit_pictures={stage: self.read_audit_pictures(slug, stage) for stage in audits},
            baseline=read_record(folder / "baseline.json", Baseline),
            baseline_predictions=_predictions_where_there(folder / "baseline.csv", classes),
            out_of_fold=_predictions_where_there(folder / "out_of_fold.csv", classes),
            folds=self.read_folds(slug),
            history={
                stage: _parsed(folder / stage / "history.csv", parse_history) for stage in STAGES
            },
            predictions=predictions,
            validation={
                stage: found
                for stage in STAGES
                if (found := _predictions_where_there(folder / stage / "validation.csv", classes))
            },
            metrics={
                stage: read_record(folder / stage / "metrics.json", StageMetrics)
                for stage in STAGES
            },
            faithfulness=self.read_faithfulness(slug),
            maps={stage: self.read_maps(slug, stage, predictions[stage]) for stage in STAGES},
            confusion={
                stage: _parsed(
                    folder / stage / "confusion.csv", lambda rows: parse_confusion(rows, classes)
                )
                for stage in STAGES
            },
        )

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file of the run, UTF-8."""
        with writing(path) as part:
            part.write_text(text, "utf-8")

    def _write_json(self, path: Path, record: BaseModel) -> None:
        # Only what is absent is left out: `search` is null where there was none.
        keep_null = isinstance(record, (Summary, BackboneSummary))
        values = record.model_dump(mode="json", exclude_none=not keep_null)
        self.write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_record(path: Path, model: type[Model]) -> Model:
    """Read a record from its JSON file.

    Raises
    ------
    RunError
        Where the file is missing or is not as seewhy writes it.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: is not as seewhy writes it ({where}: {first['msg']})") from error


def _details_path(audit: Path) -> Path:
    """Return where the details lie that go with an audit.json."""
    return audit.with_name("audit-details.npz")


def _write_csv(path: Path, table: Table) -> None:
    with writing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        # With this ending a name that holds either half of it is quoted.
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(table.header)
        writer.writerows(table.rows)


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream, strict=True))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error


def _read_groups(rows: Rows) -> NDArray[np.int64] | None:
    """Read which images are duplicates of each other, where that counted."""
    if any(not row.get("group") for row in rows):
        return None
    return np.array([int(row["group"]) for row in rows], dtype=np.int64)


def _parsed(path: Path, parse: Callable[[Rows], Value]) -> Value:
    """Read a CSV file and turn what does not fit into one sentence."""
    rows = _read_csv(path)
    try:
        return parse(rows)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: is not as seewhy writes it ({error})") from error


def _read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    return _parsed(path, lambda rows: parse_predictions(rows, classes))


def _predictions_where_there(path: Path, classes: Sequence[str]) -> Predictions | None:
    """Read predictions that older run directories, or backbones without them, do not have."""
    return _read_predictions(path, classes) if path.is_file() else None


def _read_maps(path: Path, stage: Stage, ids: tuple[str, ...]) -> Maps:
    """Read maps.npz; what it says of itself is checked before its arrays are read."""
    count = len(ids)
    places = (count, None, None)
    wanted = {
        "ids": Expected("str", (count,)),
        "maps": Expected("float16", places),
        "label_maps": Expected("float16", places),
        "explained": Expected("int64", (count,)),
        "scales": Expected("float32", (count,)),
        "label_scales": Expected("float32", (count,)),
        "empty": Expected("bool", (count,)),
        "label_empty": Expected("bool", (count,)),
        "method": Expected("str"),
        "layer": Expected("str"),
        "stage": Expected("str"),
    }
    try:
        found: dict[str, Any] = read_npz(path, wanted)
        if tuple(found.pop("ids").tolist()) != ids or str(found.pop("stage")) != stage:
            raise ValueError("its ids or its stage are not those of predictions.csv")
        if found["maps"].shape != found["label_maps"].shape:
            raise ValueError("maps and label_maps have different shapes")
        if not all(bool((found[name] >= 0).all()) for name in ("maps", "label_maps")):
            raise ValueError("a map is negative or not a number")
        method, layer = str(found.pop("method")), str(found.pop("layer"))
        return Maps(ids=ids, method=method, layer=layer, stage=stage, **found)
    except (FileNotFoundError, KeyError) as error:
        missing = f"has no {error.args[0]}" if isinstance(error, KeyError) else "is not there"
        raise RunError(
            f"{path}: {missing}; an older seewhy wrote this study, run it again with --fresh"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
