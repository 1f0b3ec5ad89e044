"""One backbone's way through a study: features, baseline, search, adaptation, fine-tuning, maps.

Each stage hands records to the next and writes them into the run directory; the backbone's
``summary.json`` is written last, and a resumed study continues after what is there.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seewhy.audit.stage_audit import audit_stage
from seewhy.config import HeadConfig, InputConfig, StudyConfig
from seewhy.data.quality.label_issues import find_quality_issues
from seewhy.evaluation.baseline import baseline
from seewhy.evaluation.metrics import score
from seewhy.evaluation.predictions import as_predictions, predict_at_cut, predict_pooled
from seewhy.models.backbones import Backbone
from seewhy.models.classifier import (
    Classifier,
    ClassifierSpec,
    MapPair,
    TailAndHead,
    in_trunk,
    save_classifier,
    shown_layers,
)
from seewhy.models.cut import Cut
from seewhy.pipeline.context import StudyContext
from seewhy.pipeline.faithfulness import faithfulness_sample, write_faithfulness
from seewhy.pipeline.finetuning_search import with_searched_settings
from seewhy.pipeline.fold_comparison import compare_on_folds
from seewhy.pipeline.map_choice import choose_pair
from seewhy.pipeline.maps import write_stage_maps
from seewhy.pipeline.mirror import predict_mirrored
from seewhy.pipeline.repetitions import (
    RepetitionResult,
    repeat_stages,
    write_folds,
    write_out_of_fold,
)
from seewhy.runtime.progress import Progress, Silent
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.input_size import as_input_size
from seewhy.storage.schemas.predictions import Predictions, StageMetrics
from seewhy.storage.schemas.search import SearchRecord
from seewhy.storage.schemas.summary import (
    BackboneSummary,
    BaselineSummary,
    ExplanationSummary,
    SearchSummary,
    Skipped,
    StageSummary,
)
from seewhy.storage.schemas.training import FeaturesRecord, Place
from seewhy.storage.titles import METRIC_TITLES
from seewhy.training.cut_activations import CutInput
from seewhy.training.feature_cache import FeatureCache, keeping_features
from seewhy.training.head_choice import HeadChoice, choose_head
from seewhy.training.search.acceptance import judge
from seewhy.training.search.search import head_summary, search_head
from seewhy.training.search.trial_store import TrialStore
from seewhy.training.stages import adapt, finetune, new_head
from seewhy.training.trainer import OnEpoch, StageResult
from seewhy.wording import count

log = logging.getLogger("seewhy")


def study_backbone(
    work: StudyContext, slug: str, backbone: Backbone, cut: Cut, pairs: Sequence[MapPair]
) -> BackboneSummary:
    """Take one backbone from its pretrained weights to maps.

    `slug` is its folder's name; the tail of `cut` is trained in place. `pairs` are the ways to make
    its maps that are chosen from.
    """
    done = work.run.backbones.read_summary(slug)
    if done is not None:
        work.run.backbones.delete_checkpoints(slug)
        work.progress.say(f"{slug}: had been finished")
        return done
    log.info("%s: %s, weights %s", slug, backbone.name, backbone.weights)
    log.info("%s: cut at %s, %d of %d layers before it", slug, cut.place, cut.before, cut.total)
    for part in (backbone.model, cut.prefix, cut.tail):
        part.to(work.compute.device).eval()
    folder = work.run.layout.backbone(slug)
    before = work.run.training.read_features(slug)
    recorded = before.place if before else None
    with keeping_features(
        backbone, cut, work.data, work.compute, work.config, folder, work.progress, recorded
    ) as features:
        _write_features(work, slug, features, recorded)
        base = _baseline(work, slug, backbone, features)
        choice = _choose_head(work, slug, features)
        work = replace(work, config=with_head(work.config, choice.head))
        found = _search(work, slug, backbone, cut, features)
        if found and found.accepted:
            work = replace(work, config=with_head(work.config, found))
        classifier = _classifier(work, backbone, cut, features)
        adaptation, pair = _adaptation(work, slug, classifier, features, pairs)
        repeated: tuple[RepetitionResult, ...] = ()
        with work.failures.optional("folds", slug):
            repeated = repeat_stages(work, slug, cut, features)
            write_out_of_fold(work, slug, repeated)
        planned = _with_planned_epochs(work, slug, features.seconds)
        head = classifier.tail_and_head.head
        planned = with_searched_settings(planned, slug, cut, features, head)
        finetuning, explanation = _finetuning(planned, slug, classifier, features.at_cut, pair)
        with work.failures.optional("label issues", slug):
            _write_label_issues(work, slug, features)
    with work.failures.optional("folds", slug):
        write_folds(work, slug, repeated, {"adaptation": adaptation, "finetuning": finetuning})
    summary = BackboneSummary(
        backbone=backbone.name,
        weights=backbone.weights,
        parameters=backbone.parameters,
        weighted_layers=backbone.weighted_layers,
        cut=cut.place,
        input_size=backbone.preprocess.size,
        baseline=base,
        head=head_summary(work.config.head).model_copy(update={"fitted": choice.fitted}),
        search=_search_summary(found) if found else None,
        adaptation=adaptation,
        finetuning=finetuning,
        explanation=explanation,
        failed=work.failures.of(slug),
    )
    work.run.backbones.finish(slug, summary)
    return summary


def warn_of_one_place(slug: str, cut: Cut, layers: tuple[str, ...], progress: Progress) -> None:
    """Warn, before anything is trained, where the maps of all `layers` will have a single place."""
    if all(cut.grids.get(in_trunk(layer)) == (1, 1) for layer in layers):
        note = "its maps will have a single place at this size; choose a larger input.size"
        log.warning("%s: %s", slug, note)
        progress.say(f"{slug}: {note}")


def _write_features(
    work: StudyContext, slug: str, features: FeatureCache, recorded: Place | None
) -> None:
    images, channels = features.pooled.shape
    plan = str(features.at_cut.plan)
    log.info("%s: trunk features took %.1f s", slug, features.seconds)
    log.info("%s: %s", slug, plan)
    record = FeaturesRecord(
        images=images,
        channels=channels,
        seconds=features.seconds,
        at_cut=plan,
        place=recorded or features.at_cut.plan.place,
    )
    work.run.training.write_features(slug, record)


def _write_label_issues(work: StudyContext, slug: str, features: FeatureCache) -> None:
    """List likely label issues and outliers, as the adapted heads and the trunk see them."""
    judged = work.run.backbones.read_out_of_sample(slug, work.data.classes)
    issues = find_quality_issues(work.data, features.pooled.float().cpu().numpy(), judged)
    work.run.quality.write(slug, issues)
    log.info(
        "%s: issues: %d label issues among %d images, %d outliers among %d",
        slug,
        issues.label_issues.count,
        issues.label_issues.looked_at,
        issues.outliers.count,
        issues.outliers.looked_at,
    )


def _baseline(
    work: StudyContext, slug: str, backbone: Backbone, features: FeatureCache
) -> BaselineSummary | Skipped:
    """Score the untouched ImageNet classifier, its classes grouped through WordNet."""
    indices = work.data.where("test")
    record, shares = baseline(
        features.probabilities,
        work.data.labels[indices],
        work.data.classes,
        backbone.wnids,
        work.config.baseline,
        backbone.no_classifier,
    )
    if shares is not None:
        predictions = as_predictions(work.data, indices, shares)
        work.run.baseline.write_predictions(slug, predictions, work.data.classes)
    work.run.baseline.write(slug, record)
    if record.accuracy is None or record.precision is None or record.recall is None:
        log.info("%s: baseline skipped: %s", slug, record.skipped)
        return Skipped(skipped=record.skipped or "")
    log.info("%s: baseline accuracy %.4f", slug, record.accuracy)
    return BaselineSummary(
        accuracy=record.accuracy, precision=record.precision, recall=record.recall
    )


def _choose_head(work: StudyContext, slug: str, features: FeatureCache) -> HeadChoice:
    """Resolve ``head.kind``, and say so where the head is not a network."""
    choice = choose_head(features.pooled, work.data, work.config)
    if choice.fitted:
        log.info("%s: head: %s", slug, choice.fitted.chosen)
        work.progress.say(f"{slug}: head: {choice.fitted.chosen}")
    return choice


def _search(
    work: StudyContext, slug: str, backbone: Backbone, cut: Cut, features: FeatureCache
) -> SearchRecord | None:
    """Search for the head on the kept features; None where there is none."""
    config, run = work.config, work.run
    if not config.search.trials or config.head.is_fitted:
        return None
    done = run.search.read(slug)
    if done is not None:
        return done

    def run_trial(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        return _trial(replace(work, config=with_head(config, head)), cut, features, on_epoch)

    found = search_head(
        config,
        f"{slug} {_search_key(work, backbone)}",
        TrialStore(config.search.storage, run.search.trials_path),
        run_trial,
        work.progress,
        slug,
        tell=lambda trials: run.search.write_trials(slug, trials),
        images=len(work.data.where("validation")),
    )
    run.search.write_trials(slug, found.trials)
    best = found.record.best
    units = " + ".join(map(str, best.head.units))
    work.progress.say(
        f"{slug}: search: {len(found.trials)} trials, best validation "
        f"{METRIC_TITLES[config.head.metric]} "
        f"{best.best_value:.3f} with {units} hidden units"
    )
    record = _judged(work, slug, cut, features, found.record)
    run.search.write(slug, record)
    return record


def _judged(
    work: StudyContext, slug: str, cut: Cut, features: FeatureCache, found: SearchRecord
) -> SearchRecord:
    """Compare the best head with the configured one on folds, unless it is taken in any case."""
    config = work.config
    if config.search.accept == "always":
        return found
    stages: tuple[Stage, ...] = ("adaptation",)
    if config.search.objective == "both":
        stages = ("adaptation", "finetuning")
    works = work, replace(work, config=with_head(config, found))
    comparison = judge(
        lambda: compare_on_folds(works, slug, cut, features, stages, " head"),
        config.head.metric,
        config.seed,
        "head",
    )
    work.progress.say(f"{slug}: search: {comparison.reason}")
    return found.model_copy(update={"comparison": comparison})


def _trial(work: StudyContext, cut: Cut, features: FeatureCache, on_epoch: OnEpoch) -> StageResult:
    """Train one head as adaptation does; where both stages count, a copy of the tail after it."""
    config, data, silent = work.config, work.data, Silent()
    head = new_head(features.pooled, config, data.classes)
    adapted = adapt(head, features.pooled, data, config, silent, "adaptation", on_epoch=on_epoch)
    if config.search.objective == "adaptation":
        return adapted
    tail_and_head, at_cut = TailAndHead(copy.deepcopy(cut.tail), head), features.at_cut
    return finetune(
        tail_and_head, at_cut, data, config, work.compute, silent, "fine-tuning", on_epoch=on_epoch
    )


# Keys of ``search`` that no trial's value depends on.
_NOT_OF_TRIALS = ("trials", "max_layers", "storage", "patience", "accept")


def _search_key(work: StudyContext, backbone: Backbone) -> str:
    """Return what a trial's value depends on besides its parameters: equal keys, equal searches."""
    config, search = work.config, work.config.search
    parts: list[Any] = [
        search.model_dump(exclude=set(_NOT_OF_TRIALS)),
        config.seed,
        config.head.label_smoothing,
        config.adaptation.model_dump(),
        _of_input(config.input),
        work.compute.precision,
        work.data_key,
        backbone.weights_key,
        backbone.preprocess,
    ]
    # Only where they are set: the keys of studies without them stay as they were.
    if config.head.class_weights != "none":
        parts.append(config.head.class_weights)
    if config.head.sampler != "shuffle":
        parts.append(f"sampler {config.head.sampler}")
    if config.head.logit_adjustment:
        parts.append(f"logit adjustment {config.head.logit_adjustment!r}")
    if config.head.metric != "accuracy":
        parts.append(f"metric {config.head.metric}, order {config.data.ordered}")
    if search.objective == "both":
        parts.append(config.finetuning.model_dump(exclude={"keep", "memory_gib", "disk_gib"}))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _of_input(config: InputConfig) -> dict[str, Any]:
    """Return what a search's key says of the input; a crop, as studies had before, is not named."""
    return config.model_dump(exclude={"resize"} if config.resize == "crop" else None)


def with_head(config: StudyConfig, head: HeadConfig | SearchRecord) -> StudyConfig:
    """Return the configuration with another head, one that was found or is tried."""
    if isinstance(head, SearchRecord):
        head = config.head.model_copy(
            update={**head.head.model_dump(), "units": tuple(head.head.units)}
        )
    return config.model_copy(update={"head": head})


def _search_summary(found: SearchRecord) -> SearchSummary:
    return SearchSummary(
        layers=len(found.head.units),
        trials=sum(count.trials for count in found.layer_counts),
        best_validation_accuracy=None if found.metric else found.best.best_value,
        metric=found.metric,
        best_validation_metric=found.best.best_value if found.metric else None,
        seconds=found.seconds,
    )


def _classifier(
    work: StudyContext, backbone: Backbone, cut: Cut, features: FeatureCache
) -> Classifier:
    """Put prefix, tail and a new head together."""
    config, classes = work.config, work.data.classes
    design = ClassifierSpec(
        architecture=backbone.name,
        open_share=config.finetuning.open,
        units=config.head.units,
        dropout=config.head.dropout,
        classes=classes,
        preprocess=backbone.preprocess,
        working_size=as_input_size(*work.data.pixels.shape[1:3]),
        levels=work.data.levels,
        resize=config.input.resize,
    )
    return Classifier(cut, new_head(features.pooled, config, classes), design)


def _adaptation(
    work: StudyContext,
    slug: str,
    classifier: Classifier,
    features: FeatureCache,
    pairs: Sequence[MapPair],
) -> tuple[StageSummary, MapPair]:
    """Stage 1: the head alone, on pooled features; then the choice of maps, and the maps."""
    data, tail_and_head = work.data, classifier.tail_and_head
    head = tail_and_head.head
    trained = adapt(
        head,
        features.pooled,
        data,
        work.config,
        work.progress,
        f"{slug}: adaptation",
        checkpoint=work.run.training.checkpoint_path(slug, "adaptation"),
    )
    validation = predict_pooled(head, features.pooled, data, data.where("validation"))
    test = predict_pooled(head, features.pooled, data, data.where("test"))
    # The tail still has its pretrained weights: fine-tuning will change it in place.
    at_cut, predicted = features.at_cut, test.predicted
    pair = choose_pair(work, slug, classifier, at_cut, pairs, validation)
    write_stage_maps(work, slug, "adaptation", tail_and_head, at_cut, pair, predicted)
    summary = _finish_stage(work, slug, "adaptation", classifier, trained, validation, test)
    return summary, pair


def _finetuning(
    work: StudyContext, slug: str, classifier: Classifier, at_cut: CutInput, pair: MapPair
) -> tuple[StageSummary, ExplanationSummary]:
    """Stage 2: tail and head; then predictions and maps in one pass, and how faithful they are."""
    tail_and_head = classifier.tail_and_head
    trained = finetune(
        tail_and_head,
        at_cut,
        work.data,
        work.config,
        work.compute,
        work.progress,
        f"{slug}: fine-tuning",
        checkpoint=work.run.training.checkpoint_path(slug, "finetuning"),
    )
    validation = predict_at_cut(
        tail_and_head, at_cut.batch, work.data, work.data.where("validation"), work.compute
    )
    sample = faithfulness_sample(work)
    maps = write_stage_maps(work, slug, "finetuning", tail_and_head, at_cut, pair, keep=sample)
    with work.failures.optional("mirrored images", slug):
        predict_mirrored(work, slug, tail_and_head, at_cut, validation, maps.predictions)
    faithfulness = None
    with work.failures.optional("faithfulness", slug):
        faithfulness = write_faithfulness(work, slug, classifier, at_cut, sample, maps, pair)
    summary = _finish_stage(
        work, slug, "finetuning", classifier, trained, validation, maps.predictions
    )
    return summary, ExplanationSummary(
        method=pair.method,
        layer=shown_layers(pair.layers),
        images=len(maps.predictions.ids),
        seconds=maps.seconds,
        faithfulness=faithfulness,
    )


def _with_planned_epochs(work: StudyContext, slug: str, feature_seconds: float) -> StudyContext:
    """Return the study with the epochs that fit into its minutes, as they were first planned."""
    if work.budget is None:
        return work
    plan = work.run.training.read_plan(slug)
    if plan is None:
        plan = work.budget.plan(slug, features=feature_seconds)
        work.run.training.write_plan(slug, plan)
        log.info("%s: plan: %s", slug, plan)
    note = f"{count(plan.epochs, 'epoch')} of fine-tuning fit into {plan.minutes:g} minutes"
    work.progress.say(f"{slug}: {note}")
    tuning = work.config.finetuning.model_copy(update={"epochs": plan.epochs})
    return replace(work, config=work.config.model_copy(update={"finetuning": tuning}))


def _finish_stage(
    work: StudyContext,
    slug: str,
    stage: Stage,
    classifier: Classifier,
    trained: StageResult,
    validation: Predictions,
    predictions: Predictions,
) -> StageSummary:
    """Score a stage on the test images, write its results, and audit its classifier."""
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
        metric=None if trained.best_validation_metric is None else work.config.head.metric,
        best_validation_metric=trained.best_validation_metric,
    )
    save_classifier(classifier, work.run.training.model_path(slug, stage))
    work.run.training.write_validation(slug, stage, validation, classes)
    work.run.training.write_stage(
        slug, metrics, trained.history, predictions, scores.confusion, classes
    )
    log.info(
        f"{slug}: {stage}: test accuracy {metrics.accuracy:.4f} after {metrics.epochs} epochs "
        f"(best: {metrics.best_epoch}) in {trained.seconds:.1f} s"
    )
    work.progress.say(f"{slug}: {stage}: test accuracy {metrics.accuracy:.3f}")
    if stage in work.config.audit.stages:
        with work.failures.optional("audit", slug, stage):
            _audit(work, slug, stage, classifier, predictions)
    return StageSummary(
        accuracy=metrics.accuracy,
        precision=metrics.precision,
        recall=metrics.recall,
        per_class_recall=metrics.per_class_recall,
        epochs=metrics.epochs,
        seconds=trained.seconds,
    )


def _audit(
    work: StudyContext, slug: str, stage: Stage, classifier: Classifier, predictions: Predictions
) -> None:
    """Look for shortcuts in one stage's classifier, unless an interrupted study has done so."""
    run, seed, progress = work.run, work.config.seed, work.progress
    if run.audit.read(slug, stage) is None:
        audit_stage(
            run, slug, stage, classifier, work.compute, work.audited, predictions, seed, progress
        )
