"""The report's part on the search for fine-tuning's settings: candidates, and why one was taken."""

from __future__ import annotations

from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.titles import METRIC_TITLES
from seewhy.wording import sentence


def finetuning_searches(study: ReportInput) -> list[Section]:
    """Return a sentence and a table of the trials per backbone whose settings were searched."""
    parts: list[Section] = []
    for slug, records in study.records.items():
        found = records.finetuning_search
        if found is not None:
            name = study.names[slug]
            parts.append(
                {"name": name, "reason": sentence(found.stopped), "table": _table(name, records)}
            )
    return parts


def _table(name: str, records: BackboneRecords) -> ReportTable:
    found = records.finetuning_search
    assert found is not None
    longest = max((one.epochs for one in records.finetuning_trials), default=0)
    rows: list[tuple[Value, ...]] = [
        (
            "configured" if one.candidate == 0 else f"candidate {one.candidate}",
            *(one.epochs, one.learning_rate, one.first_layer_rate, one.mixup, one.views),
            *(one.value, one.loss, round(one.seconds, 1)),
            "chosen" if (one.candidate, one.epochs) == (found.chosen, longest) else one.reason,
        )
        for one in records.finetuning_trials
    ]
    columns = (
        *(
            "Settings",
            "Epochs",
            "Learning rate",
            "First layer's share of it",
            "Mixup",
            "Versions of an image",
        ),
        *(f"Validation {METRIC_TITLES[found.metric]}", "Validation loss", "Seconds", "Note"),
    )
    title = f"Settings of fine-tuning that were tried with {name}"
    return ReportTable(f"finetuning-search-{records.slug}", title, columns, tuple(rows))
