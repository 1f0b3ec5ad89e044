"""Mitigation: a second classifier for each one of a study that uses a shortcut.

    audit, its details -> images without the reason -> a study of its own
          -> its audit, on the images as they were -> mitigation.json, before and after

The mitigated study is a run directory like any other in the backbone's folder, and the same stages
make it with the head that was found. An interrupted one is resumed, as any study is.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from seewhy.audit.classifier_access import StudyClassifierAccess, evidence_layer
from seewhy.audit.mitigation import ConfirmedCue, confirmed_cues, mitigate
from seewhy.audit.mitigation_outcome import EvaluatedClassifier, outcome
from seewhy.audit.stage_audit import read_details
from seewhy.config import StudyConfig
from seewhy.data.sources.source_files import DATA
from seewhy.errors import ConfigError, OtherStudyError, RunError
from seewhy.models.classifier import in_trunk, named_layers, read_classifier
from seewhy.models.names import slugs
from seewhy.pipeline.backbone import with_head
from seewhy.pipeline.finetuning_search import as_update
from seewhy.pipeline.run_fingerprint import refuse_changed_files, with_places
from seewhy.pipeline.run_opening import opened_run
from seewhy.pipeline.study import Prepare, conduct_study
from seewhy.report.build import build_report
from seewhy.runtime.arguments import listener, run_root
from seewhy.runtime.device import choose_compute, repeatable, without_denormals
from seewhy.runtime.progress import Advance, Progress
from seewhy.storage.atomic_writing import writing
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.audit import Audit
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.input_size import InputSize
from seewhy.storage.schemas.mitigation import MitigationData, MitigationRecord
from seewhy.storage.schemas.summary import Summary
from seewhy.wording import some


class _PrefixedProgress:
    """Marks the progress of a mitigated study within that of the study around it."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Pass a task on."""
        with self._inner.task(f"mitigated: {name}", total) as advance:
            yield advance

    def say(self, message: str) -> None:
        """Pass a message on."""
        self._inner.say(f"mitigated: {message}")


def check_mitigation(config: StudyConfig, root: Path, fresh: bool = False) -> None:
    """Refuse at once what could not be mitigated when the study has ended.

    With `fresh`, the study that is in `root` will be deleted.

    Raises
    ------
    ConfigError
        Where the study to come will not audit its fine-tuned classifiers.
    RunError
        Where the study is a mitigated one.
    """
    run = RunDirectory(root)
    _refuse_mitigated(run)
    to_come = fresh or not run.is_finished
    if to_come and "finetuning" not in config.audit.stages:
        raise ConfigError(
            f"audit.stages: {list(config.audit.stages)} leaves out finetuning, whose audit says "
            'what is to be mitigated; with --mitigate set audit.stages to ["finetuning"], or '
            "leave it out"
        )


def _refuse_mitigated(run: RunDirectory) -> None:
    if run.is_mitigated:
        raise RunError(
            f"{run.root}: is a mitigated study itself, which is not mitigated again; --mitigate is "
            "for the study around it"
        )


def mitigate_run(
    root: Path | str, progress: Progress | None = None, command: Sequence[str] = ()
) -> dict[str, MitigationRecord | None]:
    """Make a second classifier for each fine-tuned one that uses a confirmed shortcut.

    What fails while one is made is named in summary.json, and the others are made all the same.

    Parameters
    ----------
    root : Path or str
        The run directory. Each second classifier's study is in ``backbones/SLUG/mitigated``, what
        came of it in ``backbones/SLUG/mitigation.json``; the report is drawn again. What an
        interrupted call has made is resumed, what is finished stays.
    progress : Progress, optional
    command : sequence of str, optional
        For the provenance record; default ``sys.argv``.

    Returns
    -------
    dict of str to MitigationRecord or None
        By the backbone's folder name; None where the audit has confirmed no shortcut, or where
        mitigation failed, which summary.json then says.

    Raises
    ------
    RunError
        Where there is no finished study or a mitigated one, a classifier has not been audited, a
        record is damaged, or what is there was mitigated for other findings or started differently.

    Examples
    --------
    The audit of the study in ``runs/photos`` has confirmed no shortcut:

    >>> from seewhy import mitigate_run
    >>> mitigate_run("runs/photos")
    {'resnet10t': None}
    """
    progress = listener(progress)
    run = RunDirectory.open(run_root(root))
    _refuse_mitigated(run)
    config = run.config.read()
    with opened_run(run.root, config):
        config = with_places(run, config)
        refuse_changed_files(run, config, progress, without=(DATA,))
        summary, data = run.summary.read(), run.data.read()
        numbers = {slug: number for number, slug in enumerate(slugs(config.backbone))}
        failures = Failures(run, progress)
        audits: dict[str, Audit] = {}
        # What is wrong with any of them is reported before the first is trained.
        for slug in summary.backbones:
            with failures.optional("mitigation", slug, refusals=_audit_failed(summary, slug)):
                audits[slug] = _audit(run, slug)
        reasons = {
            slug: confirmed_cues(audit, read_details(run, slug, "finetuning", audit))
            for slug, audit in audits.items()
            if any(one.verdict == "shortcut" for one in audit.classes)
        }
        found: dict[str, MitigationRecord | None] = dict.fromkeys(summary.backbones)
        for slug, own in reasons.items():
            alone = _config(run, slug, config, numbers[slug])
            with failures.optional("mitigation", slug, refusals=False):
                found[slug] = _mitigate(
                    run, slug, alone, data, audits[slug], own, progress, command
                )
                run.summary.remove_failed(("mitigation",), slug)
        forgotten = False
        for slug, record in found.items():
            if record is None and not failures.of(slug):
                progress.say(f"{slug}: no shortcut was confirmed, so there is nothing to mitigate")
                forgotten |= run.mitigation.delete(slug)
        if reasons or forgotten or failures.found:
            summary = _with_failed(run, failures)
            progress.say("drawing the report")
            build_report(run, summary)
    return found


def _audit_failed(summary: Summary, slug: str) -> bool:
    """Return whether the study has no audit to mitigate by because the audit failed."""
    audits = [one for one in summary.failed if one.step == "audit" and one.backbone == slug]
    return any(one.stage == "finetuning" for one in audits)


def _with_failed(run: RunDirectory, failures: Failures) -> Summary:
    """Name in summary.json what failed just now, beside what failed before."""
    summary = run.summary.read()
    new = [one for one in failures.found if one not in summary.failed]
    if new:
        summary.failed += new
        run.summary.write(summary)
    return summary


def _audit(run: RunDirectory, slug: str) -> Audit:
    audit = run.audit.read(slug, "finetuning")
    if audit is None:
        raise RunError(
            f"{run.root}: the fine-tuned {slug} has not been audited, so nothing is known that "
            f"could be mitigated; audit it first with `seewhy audit {run.root}`"
        )
    return audit


def _config(run: RunDirectory, slug: str, config: StudyConfig, number: int) -> StudyConfig:
    """Return the configuration of one backbone's mitigated study: what searches found, once.

    It has as many epochs as were planned for the study's minutes, and its maps are made as those
    of the study, so that the two can be compared.
    """
    search, chosen = run.search.read(slug), run.map_choice.read(slug)
    config = with_head(config, search) if search else config
    tuning, settings = config.finetuning, run.search.read_finetuning(slug)
    if settings is not None and settings.chosen:
        tuning = tuning.model_copy(update=as_update(settings))
    plan = run.training.read_plan(slug)
    if plan is not None:
        tuning = tuning.model_copy(update={"epochs": plan.epochs})
    explanation = config.explanation
    if chosen is not None:
        layers = tuple(in_trunk(layer) or "last" for layer in named_layers(chosen.layer))
        update = {"method": chosen.method, "layer": layers}
        explanation = explanation.model_copy(update=update)
    summary = run.backbones.read_summary(slug)
    fitted = summary.head.fitted if summary else None
    return config.model_copy(
        update={
            "head": config.head.model_copy(update={"kind": fitted.kind if fitted else "network"}),
            "name": f"{config.name}, mitigated",
            "backbone": config.backbone[number : number + 1],
            "seeds": 1,
            "minutes": None,
            "finetuning": tuning,
            "search": config.search.model_copy(update={"trials": 0, "finetuning_trials": 0}),
            "data": config.data.model_copy(update={"folds": 0}),
            "explanation": explanation,
            "audit": config.audit.model_copy(update={"stages": ("finetuning",)}),
        }
    )


def _mitigate(
    run: RunDirectory,
    slug: str,
    config: StudyConfig,
    data: Dataset,
    audit: Audit,
    reasons: Sequence[ConfirmedCue],
    progress: Progress,
    command: Sequence[str],
) -> MitigationRecord:
    """Make one backbone's second classifier, audit it and compare the two."""
    with _opened(run, slug, config) as mitigated:
        _refuse_others(mitigated, data, reasons)
        if not mitigated.is_finished:
            # The record is of a classifier that has been deleted.
            run.mitigation.delete(slug)
            classes = some(list(dict.fromkeys(data.classes[one.label] for one in reasons)))
            progress.say(f"{slug}: mitigation {classes}")
            prepare = _preparing(run, data, reasons, config.seed)
            conduct_study(
                config, mitigated, prepare, _PrefixedProgress(progress), command or sys.argv
            )
        done = run.mitigation.read(slug)
        if done is not None:
            progress.say(f"{slug}: had been mitigated")
            return done
        record = _compare(run, slug, config, data, audit, reasons, mitigated)
    run.mitigation.write(slug, record)
    for sentence in record.sentences:
        progress.say(f"{slug}: {sentence}")
    return record


@contextmanager
def _opened(run: RunDirectory, slug: str, config: StudyConfig) -> Iterator[RunDirectory]:
    """Hold a mitigated study's folder; where it cannot be resumed, do not suggest ``--fresh``.

    ``--fresh`` would delete the study around it.
    """
    try:
        with opened_run(run.mitigation.folder(slug), config) as mitigated:
            yield mitigated
    except OtherStudyError as error:
        raise RunError(f"{error.reason}; delete that folder to mitigate again") from error


def _refuse_others(mitigated: RunDirectory, data: Dataset, reasons: Sequence[ConfirmedCue]) -> None:
    """Refuse to resume what was mitigated for other findings than there are now."""
    there = mitigated.mitigation.read_data()
    if there is None:
        if mitigated.fingerprint.path.is_file():
            raise RunError(
                f"{mitigated.root}: is not as seewhy writes it (no data/mitigation_data.json); "
                "delete that folder to mitigate again"
            )
        return
    now: dict[str, list[str]] = {}
    for reason in reasons:
        now.setdefault(data.classes[reason.label], []).append(reason.kind)
    before: dict[str, list[str]] = {one.name: [*one.kinds] for one in there.classes}
    if there.reasons != [_digest(reason) for reason in reasons]:
        same = " of the same kinds" if before == now else ""
        raise RunError(
            f"{mitigated.root}: was mitigated for other findings{same} ({_named(before)}) "
            f"than the audit has now ({_named(now)}); delete that folder to mitigate again"
        )


def _digest(reason: ConfirmedCue) -> str:
    """Return a SHA-256 over all that identifies a confirmed shortcut."""
    detail = reason.detail
    known = (reason.label, reason.kind, reason.box, detail and (detail.at, detail.look.shape))
    digest = hashlib.sha256(repr(known).encode())
    if detail is not None:
        digest.update(detail.look.tobytes())
        digest.update(detail.shape.tobytes())
    return digest.hexdigest()


def _named(findings: dict[str, list[str]]) -> str:
    return "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in findings.items())


def _preparing(
    run: RunDirectory, data: Dataset, reasons: Sequence[ConfirmedCue], seed: int
) -> Prepare:
    """Return what makes a mitigated study's images from those of the study around it."""

    def prepare(
        config: StudyConfig, input_size: InputSize, mitigated: RunDirectory, progress: Progress
    ) -> Dataset:
        with progress.task("images", 1) as advance:
            with writing(mitigated.data.pixels_path) as part:
                # Writing reserves the room for all of it: a full disk is an error there, but ends
                # the process where a mapped file grows.
                shutil.copyfile(run.data.pixels_path, part)
                pixels = np.load(part, mmap_mode="r+", allow_pickle=False)
                changed, done = mitigate(data, reasons, seed, pixels)
                pixels.flush()
            if data.masks is not None:
                with writing(mitigated.data.masks_path) as part:
                    shutil.copyfile(run.data.masks_path, part)
            digests = [_digest(reason) for reason in reasons]
            mitigated.mitigation.write_data(MitigationData(classes=done, reasons=digests))
            source = f"{data.source}, mitigated"
            mitigated.data.write(replace(changed, source=source), run.data.read_checks().findings)
            advance(1)
        return mitigated.data.read()

    return prepare


def _compare(
    run: RunDirectory,
    slug: str,
    config: StudyConfig,
    data: Dataset,
    audit: Audit,
    reasons: Sequence[ConfirmedCue],
    mitigated: RunDirectory,
) -> MitigationRecord:
    """Evaluate both classifiers on the same test images."""
    compute = choose_compute(config.device, config.precision)
    again = slugs(config.backbone)[0]
    judged = []
    with repeatable(compute), without_denormals():
        audits = ((run, slug, audit), (mitigated, again, _audit(mitigated, again)))
        for where, name, its_audit in audits:
            path = where.training.model_path(name, "finetuning")
            classifier = read_classifier(path).to(compute.device)
            access = StudyClassifierAccess(classifier, compute, evidence_layer(classifier))
            predictions = where.backbones.read(name, data.classes).predictions["finetuning"]
            judged.append(EvaluatedClassifier(access, predictions, its_audit))
        made = mitigated.mitigation.read_data()
        assert made is not None
        return outcome(data, judged[0], judged[1], reasons, made.classes, config.seed)
