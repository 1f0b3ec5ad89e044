"""``seewhy check``: the quality of images before a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from seewhy.cli.console import out, print_result
from seewhy.cli.options import (
    QuietOption,
    SeedOption,
    SettingsOption,
    SourceArgument,
    TestOption,
)
from seewhy.cli.progress_bars import choose_progress
from seewhy.wording import plain

if TYPE_CHECKING:
    from seewhy.storage.schemas.data_checks import DataChecks, DataFindings, DuplicateGroup

EXAMPLES = (
    "seewhy check my_photos/",
    "seewhy check labels.csv --set data.label=species --set data.group=camera",
    "seewhy check train.npz --test test.npz --out checked/",
    "seewhy check my_photos/ --strict --set data.near_duplicates=0.9",
)
MOST_GROUPS = 10  # groups of duplicates that are printed
MOST_PATHS = 3  # example paths in a row of the table of checks
MOST_CLASSES = 20  # rows of the table of classes: 210 would fill several screens


def check(
    source: SourceArgument,
    test: TestOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for checks.json and contact_sheet.png.")
    ] = None,
    seed: SeedOption = None,
    settings: SettingsOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if a problem is found.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Check images before a study: faults, duplicates, leakage between splits, class balance.

    Writes files only with --out. A study runs the same checks.
    """
    from seewhy.config import load_config

    config = load_config(source, test=test, seed=seed, settings=settings or ())
    from seewhy.pipeline.data_check import check_images

    checked = check_images(config, out_dir, choose_progress(quiet))
    findings = checked.findings
    out.print(_classes_table(checked.checks))
    out.print(_checks_table(checked.checks, findings))
    for sentence in (*findings.notes, *(findings.sentences or ["No problems were found."])):
        print_result(sentence)
    _print_duplicates(findings.duplicates.first, "" if out_dir else "; --out FOLDER lists more")
    for file in checked.files:
        print_result(f"written: {file}")
    if strict and findings.sentences:
        raise typer.Exit(1)


def _print_duplicates(groups: Sequence[DuplicateGroup], hint: str) -> None:
    """Print the duplicates that matter most: across splits, or with different labels."""
    worst = [group for group in groups if len(group.splits) > 1 or len(group.labels) > 1]
    for group in worst[:MOST_GROUPS]:
        members = (f"{image.path} ({image.split}, {image.label})" for image in group.images)
        print_result(f"  {'  =  '.join(members)}")
    if len(worst) > MOST_GROUPS:
        print_result(f"  … and {len(worst) - MOST_GROUPS} more groups{hint}")


def _classes_table(checks: DataChecks) -> Table:
    """Return the number of images per class and split; of many classes, the first ones."""
    from seewhy.storage.schemas.dataset import SPLITS

    counts = checks.counts
    names = list(counts["train"])
    title = f"{len(names):,} classes"
    if len(names) > MOST_CLASSES + 1:
        names, title = names[:MOST_CLASSES], f"{title}, the first {MOST_CLASSES} of them"
    table = Table("class", "training", "validation", "test", title=title)
    for name in names:
        table.add_row(escape(plain(name, 60)), *(f"{counts[split][name]:,}" for split in SPLITS))
    totals = (f"{sum(counts[split].values()):,}" for split in SPLITS)
    table.add_row("all", *totals, style="bold")
    return table


def _checks_table(checks: DataChecks, findings: DataFindings) -> Table:
    """Return the number of findings per check, with the first paths."""
    duplicates = findings.duplicates
    rows = [("set aside", len(checks.set_aside), [image["path"] for image in checks.set_aside])]
    rows += [
        (fault.fault, fault.count, [image.path for image in fault.first])
        for fault in findings.faults
    ]
    for name, number, kind in (
        ("exact copies, groups", duplicates.exact, "exact"),
        ("near duplicates, groups", duplicates.near, "near"),
    ):
        groups = [group for group in duplicates.first if group.kind == kind]
        rows.append((name, number, [group.images[0].path for group in groups]))
    rows.append(("duplicates across splits, groups", duplicates.leaking, []))
    rows.append(("duplicates with different labels, groups", duplicates.conflicting, []))
    rows += [
        (f"other files: {files.suffix or 'no suffix'}", files.count, files.first)
        for files in findings.other_files
    ]
    images = f"{findings.images:,} images, {len(checks.counts['train'])} classes"
    table = Table("check", "found", "for example", title=images)
    for name, number, paths in rows:
        table.add_row(name, f"{number:,}", escape(", ".join(paths[:MOST_PATHS])))
    return table
