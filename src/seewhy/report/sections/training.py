"""The report's section on training: the curves of both stages."""

from __future__ import annotations

from seewhy.report.figures.training_figures import curves
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.base import STAGES, Stage
from seewhy.storage.schemas.training import HeadSummary
from seewhy.storage.titles import METRIC_TITLES, STAGE_TITLES
from seewhy.wording import duration, listing, share

POOLED = "pooled trunk features kept in memory: the trunk ran once"


def training_section(study: ReportInput) -> list[Section]:
    """Return curves and settings of both stages, one part per backbone."""
    parts = []
    for slug, records in study.records.items():
        name, part = study.names[slug], study.summary.backbones[slug]
        best: dict[Stage, int] = {s: records.metrics[s].best_epoch for s in STAGES}
        metric = records.metrics["adaptation"].metric
        quantities = {"accuracy": "accuracy", "loss": "loss"}
        if metric:
            quantities["metric"] = METRIC_TITLES[metric]
        figures = {
            _capital(title): curves(
                records.history,
                best,
                quantity,
                f"{quantity}-over-epochs-{slug}",
                f"{_capital(title)} of {name} over the epochs of adaptation and fine-tuning, on "
                f"{'' if quantity == 'metric' else 'training and '}validation images",
            )
            for quantity, title in quantities.items()
        }
        fitted = part.head.fitted is not None
        stages = [_stage_line(records, stage, fitted) for stage in STAGES]
        parts.append(
            {
                "name": name,
                "head": _head(part.head) + "; found by the search" * (part.search is not None),
                "fitted": fitted,
                "cut": part.cut,
                "figures": figures,
                "metric": METRIC_TITLES[metric] if metric else None,
                "stages": stages,
                "table": _table(name, slug, records),
            }
        )
    return parts


def _stage_line(records: BackboneRecords, stage: Stage, fitted: bool) -> Section:
    """Return a stage's row; an adaptation whose head was `fitted` has no epochs and no rate."""
    metrics, history = records.metrics[stage], records.history[stage]
    at_once = fitted and stage == "adaptation"
    return {
        "title": STAGE_TITLES[stage],
        "epochs": "–" if at_once else metrics.epochs,
        "best": "–" if at_once else metrics.best_epoch,
        "accuracy": share(metrics.best_validation_accuracy, 3),
        "metric": None
        if metrics.best_validation_metric is None
        else share(metrics.best_validation_metric, 3),
        "rate": f"{history[0].learning_rate:g}" if history and not at_once else "–",
        "time": duration(sum(epoch.seconds for epoch in history)),
        "features": records.features.at_cut if stage == "finetuning" else POOLED,
    }


def _table(name: str, slug: str, records: BackboneRecords) -> ReportTable:
    """Return every epoch of both stages, the data of the curves."""
    metric = records.metrics["adaptation"].metric
    return ReportTable(
        f"epochs-{slug}",
        f"Epochs of {name}",
        (
            *("Stage", "Epoch", "Training loss", "Training accuracy", "Validation loss"),
            "Validation accuracy",
            *((f"Validation {METRIC_TITLES[metric]}",) if metric else ()),
            *("Learning rate", "Best"),
        ),
        tuple(
            (
                *(STAGE_TITLES[stage], one.epoch, one.train_loss, one.train_accuracy),
                *(one.validation_loss, one.validation_accuracy),
                *((one.validation_metric,) if metric else ()),
                f"{one.learning_rate:g}",
                "best" if one.epoch == records.metrics[stage].best_epoch else "",
            )
            for stage in STAGES
            for one in records.history[stage]
        ),
    )


def _capital(title: str) -> str:
    return f"{title[0].upper()}{title[1:]}"


def _head(head: HeadSummary) -> str:
    if head.fitted:
        return f"{head.fitted.chosen}; fine-tuning in batches of {head.batch_size}"
    units = listing([str(width) for width in head.units])
    layers = f"{units} hidden units, dropout {head.dropout:g}" if units else "no hidden layer"
    return (
        f"{layers}; Adam at {head.learning_rate:g}, batches of {head.batch_size}, "
        f"{head.loss.replace('-', ' ') if head.loss.startswith('cross') else head.loss}"
    )
