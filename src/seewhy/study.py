"""The whole study, one call a stage, in the order of the data. Read this first.

    images -> Dataset -> (a backbone: features -> baseline -> adaptation -> fine-tuning
           -> predictions and maps) -> summary -> report

Each stage hands records to the next and writes them into the run directory; ``summary.json`` is
written last. How a stage works is in its own package; this file only says what follows what.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from seewhy.config import StudyConfig
from seewhy.data.prepare import prepare_data
from seewhy.data.sources import check_source
from seewhy.errors import ConfigError, near_names
from seewhy.evaluation.baseline import baseline
from seewhy.evaluation.metrics import score
from seewhy.evaluation.predict import as_predictions, predict_pooled
from seewhy.explanation.stream import explain_batches
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import (
    Classifier,
    Design,
    Head,
    behind_cut_name,
    map_layer,
    save_classifier,
)
from seewhy.models.compute import Compute, choose_compute, repeatable
from seewhy.models.cut import Cut, cut_trunk
from seewhy.models.imagenet import check_words
from seewhy.models.names import slugs
from seewhy.progress import Progress, Silent
from seewhy.provenance import Clock, provenance
from seewhy.records import (
    BackboneSummary,
    BaselineSummary,
    Dataset,
    DataSummary,
    ExplanationSummary,
    HeadSummary,
    Maps,
    Predictions,
    Skipped,
    Stage,
    StageMetrics,
    StageSummary,
    Summary,
)
from seewhy.report.build import build_report
from seewhy.rundir import RunDirectory
from seewhy.training.features import BATCH, CutInput, Features, keeping_features
from seewhy.training.loop import StageResult, seed_of
from seewhy.training.stages import adapt, finetune

log = logging.getLogger("seewhy")


@dataclass(frozen=True)
class Study:
    """A finished study: its folder, its numbers, its report."""

    root: Path
    summary: Summary
    report: Path


@dataclass(frozen=True)
class _Work:
    """What every stage of a study shares."""

    config: StudyConfig
    compute: Compute
    run: RunDirectory
    data: Dataset
    progress: Progress


def run_study(
    config: StudyConfig,
    out: Path | str | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> Study:
    """Run a study from images to a report.

    Parameters
    ----------
    config : StudyConfig
        See `seewhy.load_config`.
    out : Path or str, optional
        The run directory, new or empty; default ``runs/NAME``, numbered where that is taken.
    progress : Progress, optional
        Who is told how far it is; default nobody.
    command : sequence of str, optional
        How it was started, for the provenance record; default ``sys.argv``.

    Returns
    -------
    Study

    Raises
    ------
    SeewhyError
        For input that cannot be used; nothing stays behind where no backbone was begun.
    """
    progress = progress or Silent()
    clock = Clock()
    check_source(config)
    compute = choose_compute(config.device, config.precision)
    run = RunDirectory.create(Path(out) if out else _free_name(Path("runs"), config.name))
    with _logging_to(run), repeatable(compute):
        log.info("device %s, precision %s: %s", compute.name, compute.precision, compute.reason)
        progress.say(f"run directory: {run.root}")
        with _discarded_on_failure(run):
            run.write_config(config)
            # What is wrong with a backbone is told before an image is decoded.
            cuts = _load_and_cut(config)
            weights = {slug: backbone.weights_key for slug, (backbone, _, _) in cuts.items()}
            size = max(backbone.preprocess.size for backbone, _, _ in cuts.values())
            with clock.part("data"):
                data = prepare_data(config, size, run, progress)
            check_words(data.classes, config.baseline.words)
        work = _Work(config, compute, run, data, progress)
        parts: dict[str, BackboneSummary] = {}
        for slug in list(cuts):
            with clock.part(slug):
                # Taken out, so that one backbone's memory is free for the next.
                parts[slug] = _study_backbone(work, slug, *cuts.pop(slug))
        summary = _summarise(work, parts)
        run.write_provenance(provenance(config, compute, data, weights, clock, command or sys.argv))
        progress.say("drawing the report")
        report = build_report(run, summary)
        run.write_summary(summary)
        log.info("finished in %.0f s", clock.seconds)
    return Study(run.root, summary, report)


def _load_and_cut(config: StudyConfig) -> dict[str, tuple[Backbone, Cut, str]]:
    """Load every backbone, cut it and find the layer to explain; by slug, in their order."""
    found: dict[str, tuple[Backbone, Cut, str]] = {}
    for slug, named in zip(slugs(config.backbone), config.backbone, strict=True):
        backbone = load_backbone(named, config.input.size, config.seed)
        cut = cut_trunk(backbone.model, config.finetuning.open, backbone.preprocess.size)
        found[slug] = backbone, cut, _explained_layer(config.explanation.layer, cut)
    return found


def _study_backbone(
    work: _Work, slug: str, backbone: Backbone, cut: Cut, layer: str
) -> BackboneSummary:
    """Take one backbone from its pretrained weights to maps."""
    config, compute = work.config, work.compute
    log.info("%s: %s, weights %s", slug, backbone.name, backbone.weights)
    log.info("%s: cut at %s, %d of %d layers before it", slug, cut.place, cut.before, cut.total)
    for part in (backbone.model, cut.prefix, cut.tail):
        part.to(compute.device).eval()
    with keeping_features(
        backbone, cut, work.data, compute, config, work.run.backbone_path(slug), work.progress
    ) as features:
        log.info("%s: trunk features took %.1f s", slug, features.seconds)
        log.info("%s: %s", slug, features.at_cut.plan)
        base = _baseline(work, slug, backbone, features)
        classifier = _classifier(work, backbone, cut, features)
        adaptation = _adaptation(work, slug, classifier, features)
        finetuning, explanation = _finetuning(work, slug, classifier, features.at_cut, layer)
    return BackboneSummary(
        backbone=backbone.name,
        weights=backbone.weights,
        parameters=backbone.parameters,
        weighted_layers=backbone.weighted_layers,
        cut=cut.place,
        input_size=backbone.preprocess.size,
        baseline=base,
        head=HeadSummary.model_validate(config.head.model_dump()),
        search=None,
        adaptation=adaptation,
        finetuning=finetuning,
        explanation=explanation,
    )


def _baseline(
    work: _Work, slug: str, backbone: Backbone, features: Features
) -> BaselineSummary | Skipped:
    """Score the untouched ImageNet classifier, its classes grouped through WordNet."""
    record = baseline(
        features.probabilities,
        work.data.labels[work.data.where("test")],
        work.data.classes,
        backbone.wnids,
        work.config.baseline,
        backbone.no_classifier,
    )
    work.run.write_baseline(slug, record)
    if record.accuracy is None or record.precision is None or record.recall is None:
        log.info("%s: baseline skipped: %s", slug, record.skipped)
        return Skipped(skipped=record.skipped or "")
    log.info("%s: baseline accuracy %.4f", slug, record.accuracy)
    return BaselineSummary(
        accuracy=record.accuracy, precision=record.precision, recall=record.recall
    )


def _classifier(work: _Work, backbone: Backbone, cut: Cut, features: Features) -> Classifier:
    """Put prefix, tail and a new head together."""
    config, classes = work.config, work.data.classes
    seed = seed_of(config.seed, "head")
    width = features.pooled.shape[1]
    head = Head(width, config.head.units, config.head.dropout, len(classes), seed)
    design = Design(
        architecture=backbone.name,
        open_share=config.finetuning.open,
        units=config.head.units,
        dropout=config.head.dropout,
        classes=classes,
        preprocess=backbone.preprocess,
        working_size=int(work.data.pixels.shape[1]),
    )
    return Classifier(cut, head.to(work.compute.device), design)


def _adaptation(work: _Work, slug: str, classifier: Classifier, features: Features) -> StageSummary:
    """Stage 1: the head alone, on pooled features."""
    head = classifier.behind_cut.head
    title = f"{slug}: adaptation"
    trained = adapt(
        head, features.pooled, work.data, work.config, work.compute, work.progress, title
    )
    predictions = predict_pooled(head, features.pooled, work.data)
    source = "pooled trunk features kept in memory: the trunk ran once"
    return _finish_stage(work, slug, "adaptation", classifier, trained, predictions, source)


def _finetuning(
    work: _Work, slug: str, classifier: Classifier, at_cut: CutInput, layer: str
) -> tuple[StageSummary, ExplanationSummary]:
    """Stage 2: tail and head; then predictions and maps of the test images in one pass."""
    behind_cut = classifier.behind_cut
    trained = finetune(
        behind_cut,
        at_cut,
        work.data,
        work.config,
        work.compute,
        work.progress,
        f"{slug}: fine-tuning",
    )
    started = time.perf_counter()
    indices = work.data.where("test")
    method = work.config.explanation.method
    with work.progress.task(f"{slug}: maps", len(indices)) as advance, work.compute.autocast():

        def batches() -> Iterator[Tensor]:
            for start in range(0, len(indices), BATCH):
                chosen = indices[start : start + BATCH]
                yield at_cut.batch(chosen)
                advance(len(chosen))

        found = explain_batches(behind_cut, batches(), layer, method)
    seconds = time.perf_counter() - started
    predictions = as_predictions(work.data, found.probabilities)
    if found.maps[0].size == 1:
        note = "its maps have a single place at this size; choose a larger input.size"
        log.warning("%s: %s", slug, note)
        work.progress.say(f"{slug}: {note}")
    name = layer.removeprefix("tail").removeprefix(".") or "trunk output"
    maps = Maps(predictions.ids, found.maps, found.explained, method, name, "finetuning")
    work.run.write_maps(slug, maps, predictions, work.data.classes)
    source = str(at_cut.plan)
    summary = _finish_stage(work, slug, "finetuning", classifier, trained, predictions, source)
    return summary, ExplanationSummary(
        method=method, layer=name, images=len(indices), seconds=seconds
    )


def _finish_stage(
    work: _Work,
    slug: str,
    stage: Stage,
    classifier: Classifier,
    trained: StageResult,
    predictions: Predictions,
    source: str,
) -> StageSummary:
    """Score a stage on the test images and write all it leaves behind."""
    classes = work.data.classes
    scores = score(predictions.labels, predictions.predicted, classes)
    metrics = StageMetrics(
        stage=stage,
        images=len(predictions.ids),
        accuracy=scores.accuracy,
        precision=scores.precision,
        recall=scores.recall,
        per_class_precision=scores.per_class_precision,
        per_class_recall=scores.per_class_recall,
        best_validation_accuracy=trained.best_validation_accuracy,
        best_epoch=trained.best_epoch,
        epochs=len(trained.history),
        seconds=trained.seconds,
        features=source,
    )
    save_classifier(classifier, work.run.model_path(slug, stage))
    work.run.write_stage(slug, metrics, trained.history, predictions, scores.confusion, classes)
    log.info(
        "%s: %s: test accuracy %.4f after %d epochs (best: %d) in %.1f s",
        slug,
        stage,
        metrics.accuracy,
        metrics.epochs,
        metrics.best_epoch,
        metrics.seconds,
    )
    work.progress.say(f"{slug}: {stage}: test accuracy {metrics.accuracy:.3f}")
    return StageSummary(
        accuracy=metrics.accuracy,
        precision=metrics.precision,
        recall=metrics.recall,
        per_class_recall=metrics.per_class_recall,
        epochs=metrics.epochs,
        seconds=metrics.seconds,
    )


def _explained_layer(name: str, cut: Cut) -> str:
    """Return the name, behind the cut, of the layer whose map is explained.

    Raises
    ------
    ConfigError
        Before anything is trained, where the tail has no such layer.
    """
    if name == "auto":
        return map_layer(cut)
    layers = [str(node.target) for node in cut.tail.graph.nodes if node.op == "call_module"]
    if name not in layers:
        raise ConfigError(
            f"explanation.layer: {name!r} is no layer behind the cut{near_names(name, layers)}"
            f" (the last one is {layers[-1]!r})"
        )
    return behind_cut_name(name)


def _summarise(work: _Work, parts: dict[str, BackboneSummary]) -> Summary:
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


def _free_name(folder: Path, name: str) -> Path:
    """Return ``folder/name``, or the first of ``name-2``, ``name-3`` … that is free."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}"
    return path


@contextmanager
def _discarded_on_failure(run: RunDirectory) -> Iterator[None]:
    """Leave nothing half-written behind where no backbone was begun."""
    try:
        yield
    except BaseException:
        for handler in log.handlers:
            handler.close()  # a file that is open cannot be removed everywhere
        run.discard()
        raise


@contextmanager
def _logging_to(run: RunDirectory) -> Iterator[None]:
    handler = logging.FileHandler(run.log_path, encoding="utf-8", delay=True)
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
