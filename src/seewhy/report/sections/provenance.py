"""The report's last section: what the numbers depend on."""

from __future__ import annotations

import shlex

from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable
from seewhy.storage.schemas.input_size import InputSize, shown_size, sides
from seewhy.wording import count, duration, millions


def provenance_section(study: ReportInput) -> Section:
    """Return what the numbers depend on."""
    given = study.provenance
    facts: list[tuple[str, str]] = []
    if given:
        facts = [
            ("seewhy", given.seewhy),
            ("Python", given.python),
            ("Machine", f"{given.platform}, {given.processor}, {count(given.cores, 'core')}"),
            ("Device", given.device),
            ("Precision", given.precision),
            ("Seed", str(given.seed)),
            ("Started", given.started),
            ("Finished", given.finished),
            ("Took", duration(given.seconds) + _last_start(given.starts)),
            ("Peak memory", f"{given.peak_memory_gib:.1f} GiB"),
            ("Data key", given.data_key),
        ]
    return {
        "facts": facts,
        "command": shlex.join(given.command) if given else "",
        "versions": given.versions if given else {},
        "parts": {k: duration(v) for k, v in given.seconds_by_part.items()} if given else {},
        "backbones": [
            {
                "name": study.names[slug],
                "backbone": part.backbone,
                "weights": part.weights,
                "parameters": millions(part.parameters),
                "layers": part.weighted_layers,
                "cut": part.cut,
                "size": " × ".join(map(str, sides(part.input_size))),
            }
            for slug, part in study.summary.backbones.items()
        ],
        "config": study.config,
        "table": _table(study),
    }


def _last_start(starts: int) -> str:
    """Say that the time is that of the last process where there were several."""
    return f", since it was resumed ({count(starts - 1, 'interruption')})" * (starts > 1)


def _input(size: InputSize) -> int | str:
    """Return the side of a square input, or both of another."""
    return size if isinstance(size, int) else shown_size(size)


def _table(study: ReportInput) -> ReportTable:
    return ReportTable(
        "backbones",
        "Backbones",
        ("Backbone", "Name", "Weights", "Parameters", "Weighted layers", "Input", "Cut"),
        tuple(
            (
                *(study.names[slug], part.backbone, part.weights, part.parameters),
                *(part.weighted_layers, _input(part.input_size), part.cut),
            )
            for slug, part in study.summary.backbones.items()
        ),
    )
