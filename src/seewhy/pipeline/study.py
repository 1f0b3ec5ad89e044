"""The whole study, one call per stage, in the order of the data. Read this first.

    images -> Dataset -> (a backbone: features -> baseline -> search -> adaptation -> fine-tuning
           -> predictions and maps) -> summary -> report

Each stage hands records to the next and writes them into the run directory; ``summary.json`` is
written last. The stages of one backbone are in ``backbone.py``, how a stage works is in its own
package; this file has their order, and how an interrupted study resumes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seewhy.config import Source, StudyConfig, load_config
from seewhy.data.folds import check_folds, left_out_repetitions
from seewhy.data.prepare import prepare_data
from seewhy.data.sources.open_source import check_source
from seewhy.data.sources.source_files import named_places, source_files
from seewhy.errors import OtherStudyError
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import MapPair
from seewhy.models.cut import Cut, cut_trunk
from seewhy.models.imagenet import check_words
from seewhy.models.inputs import largest_input
from seewhy.models.names import slugs
from seewhy.pipeline.backbone import study_backbone, warn_of_one_place
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.evaluation import evaluate_backbones
from seewhy.pipeline.map_choice import candidate_pairs
from seewhy.pipeline.provenance import Clock, data_key, package_versions, provenance
from seewhy.pipeline.run_fingerprint import refuse_changed_files
from seewhy.pipeline.run_opening import opened_run
from seewhy.pipeline.time_plan import make_budget
from seewhy.report.build import build_report
from seewhy.runtime.arguments import listener, path_text
from seewhy.runtime.device import Compute, choose_compute, repeatable, without_denormals
from seewhy.runtime.progress import Progress
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.input_size import InputSize
from seewhy.storage.schemas.provenance import RunFingerprint
from seewhy.storage.schemas.summary import BackboneSummary, DataSummary, FailedStep, Summary
from seewhy.training.augmentation import check_region

log = logging.getLogger("seewhy")
# From a configuration and the largest input size to images that are in the run directory.
Prepare = Callable[[StudyConfig, InputSize, RunDirectory, Progress], Dataset]
# Backbones, their cuts and the pairs of method and layer that maps are chosen from, by slug.
Cuts = dict[str, tuple[Backbone, Cut, tuple[MapPair, ...]]]


@dataclass(frozen=True)
class Study:
    """A finished study: its folder, its numbers, its report; None where that failed.

    Examples
    --------
    >>> from seewhy import run_study
    >>> study = run_study("photos.toml")
    >>> for slug, numbers in study.summary.backbones.items():
    ...     print(slug, 0 <= numbers.finetuning.accuracy <= 1)
    resnet10t True
    """

    root: Path
    summary: Summary
    report: Path | None


def run_folder(config: StudyConfig, out: Path | str | None = None) -> Path:
    """Return where a study is: `out`, or ``runs/NAME``."""
    return Path(path_text(out, "out")) if out else Path("runs") / config.name


def run_study(
    config: Source,
    out: Path | str | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
    fresh: bool = False,
) -> Study:
    """Run a study from images to a report, or resume one that was interrupted.

    Parameters
    ----------
    config : StudyConfig, or anything that `seewhy.load_config` takes
        A folder's path, for example.
    out : Path or str, optional
        The run directory; default ``runs/NAME``. A study that `config` started there is resumed
        after its last finished trial or epoch, and ends with the numbers it would have had.
    progress : Progress, optional
        Receives the progress; default nothing.
    command : sequence of str, optional
        How it was started, for the provenance record; default ``sys.argv``.
    fresh : bool, default False
        Delete the study that is there, and start over.

    Raises
    ------
    SeewhyError
        For input that cannot be used; nothing stays behind where no backbone was started.

    Examples
    --------
    With ``photos.toml``, which names a folder of images:

    >>> from seewhy import run_study
    >>> study = run_study("photos.toml")
    >>> study.report.as_posix()
    'runs/photos/report/index.html'
    """
    progress = listener(progress)
    config = config if isinstance(config, StudyConfig) else load_config(config)
    if fresh:
        check_source(config)  # before what is there is deleted
    with opened_run(run_folder(config, out), config, fresh) as run:
        refuse_changed_files(run, config, progress)
        if run.is_finished:
            progress.say(f"{run.root}: this study has ended; --fresh computes it again")
            report = run.report.path if run.report.path.is_file() else None
            return Study(run.root, run.summary.read(), report)
        progress.say(f"run directory: {run.root}")
        if not run.fingerprint.path.is_file():
            check_source(config)
        return conduct_study(config, run, _prepare, progress, command)


def _prepare(
    config: StudyConfig, input_size: InputSize, run: RunDirectory, progress: Progress
) -> Dataset:
    """Prepare the images, and note the files they and the weights came from."""
    files = source_files(config, progress)
    data = prepare_data(config, input_size, run, progress)
    run.fingerprint.write_sources(files)
    return data


def conduct_study(
    config: StudyConfig,
    run: RunDirectory,
    prepare: Prepare,
    progress: Progress,
    command: Sequence[str],
) -> Study:
    """Take a study through its stages, in a run directory that this process holds.

    `prepare` makes the images where there are none yet; see `seewhy.data.prepare.prepare_data`. An
    optional step that fails is named in the summary; see `seewhy.storage.optional_steps`.
    """
    clock = Clock()
    compute = choose_compute(config.device, config.precision)
    with _logging_to(run), without_denormals(), repeatable(compute):
        log.info("device %s, precision %s: %s", compute.name, compute.precision, compute.reason)
        # What is wrong with a backbone is reported before an image is decoded.
        cuts = _load_and_cut(config)
        for slug, (_, cut, pairs) in cuts.items():
            layers = tuple({layer for pair in pairs for layer in pair.layers})
            warn_of_one_place(slug, cut, layers, progress)
        weights = {slug: backbone.weights_key for slug, (backbone, _, _) in cuts.items()}
        with clock.part("data"):
            data = _data(config, run, cuts, prepare, progress)
        fingerprint = _begin(config, run, compute, data, weights, progress)
        audited = run.audit.read_images()
        failures = Failures(run, progress)
        budget = make_budget(config, data, cuts, compute, clock.started, progress)
        work = StudyContext(
            config, compute, run, data, audited, fingerprint.data_key, progress, failures, budget
        )
        parts: dict[str, BackboneSummary] = {}
        for slug in list(cuts):
            with clock.part(slug):
                # Taken out, so that one backbone's memory is free for the next.
                parts[slug] = study_backbone(work, slug, *cuts.pop(slug))
        summary = _summarise(work, parts)
        progress.say("evaluating")
        evaluate_backbones(run, summary, failures)
        with failures.optional("provenance"):
            run.provenance.write(
                provenance(config, compute, fingerprint, clock, command or sys.argv)
            )
        summary.failed = _failed(run, parts, failures)
        progress.say("drawing the report")
        report = None
        with failures.optional("report"):
            report = build_report(run, summary, failures)
        summary.failed = _failed(run, parts, failures)
        run.summary.write(summary)
        log.info("finished in %.0f s", clock.seconds)
    return Study(run.root, summary, report)


def _load_and_cut(config: StudyConfig) -> Cuts:
    """Load every backbone, cut it and find how its maps may be made, in their order."""
    found: Cuts = {}
    for slug, named in zip(slugs(config.backbone), config.backbone, strict=True):
        backbone = load_backbone(named, config.input.size, config.seed)
        cut = cut_trunk(backbone.model, config.finetuning.open, backbone.preprocess.size)
        check_region(config.finetuning.augmentation, cut.shape, slug)
        found[slug] = backbone, cut, candidate_pairs(config.explanation, cut)
    return found


def _data(
    config: StudyConfig, run: RunDirectory, cuts: Cuts, prepare: Prepare, progress: Progress
) -> Dataset:
    """Prepare the images, or read those of a study that was started."""
    if run.fingerprint.path.is_file():
        return run.data.read()
    size = largest_input({slug: backbone.preprocess for slug, (backbone, _, _) in cuts.items()})
    data = prepare(config, size, run, progress)
    check_words(data.classes, config.baseline.words)
    check_folds(data, config.data.folds, config.data.validation, config.seed)
    if config.data.leave_out is not None:
        left_out_repetitions(data, config.data.leave_out, config.data.validation, config.seed)
    findings = run.data.read_checks().findings
    for sentence in (*findings.notes, *findings.sentences) if findings else ():
        progress.say(f"data checks: {sentence}")
        log.info("data checks: %s", sentence)
    return data


def _begin(
    config: StudyConfig,
    run: RunDirectory,
    compute: Compute,
    data: Dataset,
    weights: dict[str, str],
    progress: Progress,
) -> RunFingerprint:
    """Record what the numbers depend on; a study that is resumed must find it unchanged.

    Raises
    ------
    OtherStudyError
        Where weights, data, device or precision are others than when it was started.
    """
    before = run.fingerprint.read()
    now = RunFingerprint(
        device=compute.name,
        precision=compute.precision,
        weights_keys=weights,
        data_key=data_key(data),
        versions=package_versions(),
        started=before.started if before else datetime.now(UTC).isoformat(timespec="seconds"),
        starts=before.starts + 1 if before else 1,
        named={key: str(path) for key, path in named_places(config).items()},
    )
    if before:
        for what in ("device", "precision", "weights_keys", "data_key"):
            if getattr(before, what) != getattr(now, what):
                raise OtherStudyError(
                    f"{run.root}: was started with another {what.removesuffix('_keys')} "
                    f"({getattr(before, what)!r}, now {getattr(now, what)!r})"
                )
        for package, version in now.versions.items():
            if before.versions.get(package) != version:
                progress.say(
                    f"started with {package} {before.versions.get(package)}, now {version}: "
                    "the numbers may differ from those of an uninterrupted study"
                )
        progress.say("resuming an interrupted study")
        log.info("resumed, start %d", now.starts)
    run.fingerprint.write(now)
    return now


def _summarise(work: StudyContext, parts: dict[str, BackboneSummary]) -> Summary:
    data = work.data
    return Summary(
        name=work.config.name,
        seed=work.config.seed,
        device=work.compute.name,
        precision=work.compute.precision,
        data=DataSummary(
            source=data.source,
            classes=list(data.classes),
            train=len(data.where("train")),
            validation=len(data.where("validation")),
            test=len(data.where("test")),
        ),
        backbones=parts,
    )


def _failed(
    run: RunDirectory, parts: dict[str, BackboneSummary], failures: Failures
) -> list[FailedStep]:
    """Return all failed steps: of the data, of each backbone in any process, and of the end."""
    reason = run.data.read_checks().failed
    data = [FailedStep(step="data checks", reason=reason)] if reason else []
    backbones = [one for part in parts.values() for one in part.failed]
    return [*data, *backbones, *(one for one in failures.found if one not in backbones)]


@contextmanager
def _logging_to(run: RunDirectory) -> Iterator[None]:
    handler = logging.FileHandler(run.layout.log, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
