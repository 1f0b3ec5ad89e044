"""The part of the evaluation on columns of the table: accuracy per value, the worst group."""

from __future__ import annotations

from seewhy.evaluation.breakdown import SIGNIFICANT
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable, Value
from seewhy.storage.schemas.breakdown import Breakdown, ColumnBreakdown


def breakdown_section(study: ReportInput) -> list[Section]:
    """Return sentences and tables per backbone; empty where the images have no columns."""
    return [
        {
            "name": study.names[slug],
            "sentences": found.sentences,
            "columns": [_tables(slug, one) for one in found.columns],
        }
        for slug, found in study.breakdowns.items()
        if found is not None and found.columns
    ]


def worst_groups(found: Breakdown | None) -> list[str]:
    """Return the sentence on the worst group for the top of the report.

    Only of columns on which errors depend: of many groups one is always the lowest.
    """
    if found is None:
        return []
    prefixes = [
        f"Worst group by {one.column!r}:"
        for one in found.columns
        if one.p is not None and one.p < SIGNIFICANT
    ]
    return [text for text in found.sentences if text.startswith(tuple(prefixes))][:1]


def _tables(slug: str, one: ColumnBreakdown) -> Section:
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in one.column)[:60]
    values: list[tuple[Value, ...]] = [
        (found.value, found.images, found.accuracy, found.recall, found.precision, found.f1)
        for found in one.values
    ]
    cells: list[tuple[Value, ...]] = [
        (found.label, found.value, found.images, found.accuracy)
        for found in sorted(one.cells, key=lambda found: found.accuracy.value)
    ]
    column = one.column
    return {
        "values": ReportTable(
            f"by-{name}-{slug}",
            f"Test performance by {column}",
            (column, "Images", "Accuracy", "Recall", "Precision", "F1"),
            tuple(values),
        ),
        "cells": ReportTable(
            f"by-{name}-and-class-{slug}",
            f"Accuracy by class and {column}, the lowest first",
            ("Class", column, "Images", "Accuracy"),
            tuple(cells),
        ),
        "untested": one.untested,
        "fewest": one.fewest,
    }
