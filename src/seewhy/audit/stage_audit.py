"""Audits a study's classifier: while the study runs, or from a finished run directory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.audit.audit import audit_classifier
from seewhy.audit.classifier_access import StudyClassifierAccess, evidence_layer
from seewhy.audit.discovery.details import Detail
from seewhy.errors import RunError, near_names
from seewhy.models.classifier import Classifier, read_classifier
from seewhy.runtime.arguments import run_root
from seewhy.runtime.device import Compute, choose_compute, repeatable, without_denormals
from seewhy.runtime.progress import Progress, Silent
from seewhy.storage.lock import under_lock
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.audit import Audit
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions
from seewhy.storage.titles import STAGE_TITLES
from seewhy.wording import duration

log = logging.getLogger("seewhy")


def audit_stage(
    run: RunDirectory,
    slug: str,
    stage: Stage,
    classifier: Classifier,
    compute: Compute,
    data: Dataset,
    predictions: Predictions,
    seed: int,
    progress: Progress,
) -> Audit:
    """Audit one stage's classifier and write its record, its pictures and its details.

    `classifier` is on the device; `predictions` are its own of the test images.
    """
    classifier.eval()
    access = StudyClassifierAccess(classifier, compute, evidence_layer(classifier))
    title = f"{slug}: audit of {STAGE_TITLES[stage].lower()}"
    found = audit_classifier(access, data, predictions, stage, seed, progress, title)
    details = {name: _as_arrays(detail) for name, detail in found.details.items()}
    run.audit.write(slug, found.record, found.pictures, details)
    record = found.record
    log.info(
        f"{slug}: {stage}: audit of {len(record.classes)} classes, {record.candidates} candidates, "
        f"took {record.seconds:.1f} s"
    )
    for sentence in record.sentences:
        log.info("%s: %s: %s", slug, stage, sentence)
    outcome = record.sentences[0] if record.sentences else "no shortcut found"
    progress.say(f"{slug}: audit ({duration(record.seconds)}): {outcome}")
    return record


def read_details(run: RunDirectory, slug: str, stage: Stage, audit: Audit) -> dict[str, Detail]:
    """Read what the details of an audit look like, by ``CLASS-FINDING``; without their places.

    Raises
    ------
    RunError
        Where they are missing or damaged.
    """
    return {
        name: Detail(
            look=arrays["look"],
            shape=arrays["shape"],
            at=(int(arrays["at"][0]), int(arrays["at"][1])) if "at" in arrays else None,
            own=float(arrays["shares"][0]),
            others=float(arrays["shares"][1]),
        )
        for name, arrays in run.audit.read_details(slug, stage, audit).items()
    }


def _as_arrays(detail: Detail) -> dict[str, NDArray[Any]]:
    arrays = {
        "look": detail.look,
        "shape": detail.shape,
        "shares": np.array([detail.own, detail.others], np.float64),
    }
    return arrays if detail.at is None else {**arrays, "at": np.array(detail.at, np.int64)}


@under_lock
def audit_run(
    root: Path | str,
    stage: Stage = "finetuning",
    backbone: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Audit]:
    """Audit the classifiers of a finished study again; return the records by backbone.

    Parameters
    ----------
    root : Path or str
        The run directory; gets the audit's records. The report is not redrawn.
    stage : {"adaptation", "finetuning"}, default "finetuning"
    backbone : str, optional
        Its folder's name; default: every backbone of the study.
    device : str, default "auto"
    progress : Progress, optional

    Raises
    ------
    RunError
        Where there is no finished study or no such backbone, or a record is damaged.
    """
    run = RunDirectory.open(run_root(root))
    summary, config = run.summary.read(), run.config.read()
    slugs = list(summary.backbones)
    if backbone is not None and backbone not in slugs:
        raise RunError(
            f"{root}: holds no backbone {backbone!r}{near_names(backbone, slugs)}; it has "
            f"{', '.join(slugs)}"
        )
    data = run.audit.read_images()
    compute = choose_compute(device, config.precision)
    found: dict[str, Audit] = {}
    seed, progress = config.seed, progress or Silent()
    with repeatable(compute), without_denormals():
        for slug in [backbone] if backbone else slugs:
            classifier = read_classifier(run.training.model_path(slug, stage)).to(compute.device)
            predictions = run.backbones.read(slug, data.classes).predictions[stage]
            found[slug] = audit_stage(
                run, slug, stage, classifier, compute, data, predictions, seed, progress
            )
    return found
