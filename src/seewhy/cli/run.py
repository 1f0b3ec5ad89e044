"""``seewhy run``: a study from images to a report, or the rest of one that was interrupted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from seewhy.cli.console import out, print_message, print_result
from seewhy.cli.options import (
    DeviceOption,
    QuietOption,
    SeedOption,
    SettingsOption,
    SourceArgument,
    TestOption,
)
from seewhy.cli.progress_bars import choose_progress
from seewhy.runtime.interruption import stopping_gently

if TYPE_CHECKING:
    from seewhy.storage.run_directory import RunDirectory
    from seewhy.storage.schemas.mitigation import MitigationRecord
    from seewhy.storage.schemas.summary import BackboneSummary, FailedStep

EXAMPLES = (
    "seewhy run demo",
    "seewhy run my_photos/ --backbone resnet50 --set input.size=160",
    "seewhy run my_photos/ --minutes 10   (as many epochs of fine-tuning as fit)",
    "seewhy run labels.csv --set data.group=patient",
    "seewhy run labels.csv --set head.metric=balanced_accuracy "
    "--set evaluation.operating_point=sensitivity=0.95   (few positives)",
    "seewhy run photos/ --set data.corrections=corrections.csv   (labels that a person put right)",
    "seewhy run my_photos/ --set input.resize=pad   (whole pictures instead of their middle)",
    "seewhy run train.npz --test test.npz --backbone vgg16 --backbone tf_efficientnet_lite0",
    "seewhy run paper --out runs/paper",
    "seewhy run my_photos/ --set search.trials=35  (try other heads first)",
    "seewhy run my_photos/ --mitigate   (then trains again without the confirmed shortcuts)",
)


def run(
    source: SourceArgument,
    test: TestOption = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="A timm name or local-dir:PATH; repeatable.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Run directory.", show_default="runs/NAME")
    ] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="What the whole study is to take: as many epochs of fine-tuning as fit. The plan "
            "is told first.",
            show_default="no limit",
        ),
    ] = None,
    settings: SettingsOption = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Delete the study in the run directory and start again."),
    ] = False,
    mitigate: Annotated[
        bool,
        typer.Option(
            "--mitigate",
            help="If the audit confirms a shortcut, train and audit a second classifier without "
            "it. Works for finished studies too.",
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run a study: baseline, search, two-stage fine-tuning, maps, audit and a report.

    The same command resumes an interrupted study (Ctrl-C, a crash, a power cut). If an optional
    step fails, for example the audit, the study finishes without its result, reports the failure
    and exits with code 0.
    """
    from seewhy.config import load_config

    config = load_config(
        source,
        test=test,
        backbones=backbone or (),
        seed=seed,
        device=device,
        settings=[*(settings or ()), *([] if minutes is None else [f"minutes={minutes}"])],
    )
    from seewhy.pipeline.mitigation import check_mitigation, mitigate_run
    from seewhy.pipeline.study import run_folder, run_study
    from seewhy.storage.run_directory import RunDirectory

    if mitigate:
        check_mitigation(config, run_folder(config, out_dir), fresh)
    try:
        with stopping_gently(choose_progress(quiet)) as progress:
            study = run_study(config, out_dir, progress, sys.argv, fresh)
            mitigated = mitigate_run(study.root, progress, sys.argv) if mitigate else {}
    except KeyboardInterrupt:
        _exit_interrupted(run_folder(config, out_dir))
    finished = RunDirectory(study.root)
    failed = finished.summary.read().failed
    _print_accuracies(study.summary.backbones, finished)
    _print_mitigations(mitigated, failed)
    if study.report:
        print_result(f"report: {study.report}")
    for step in failed:
        _print_failed_step(step, study.root)


def _print_accuracies(backbones: Mapping[str, BackboneSummary], run: RunDirectory) -> None:
    """Print the test accuracy per backbone and stage, and why a baseline is missing.

    The mean of mirrored images is a further column, that of all backbones a further row.
    """
    mirrors = {slug: run.mirror.read(slug) for slug in backbones}
    table = Table("backbone", "baseline", "adaptation", "fine-tuning", title="test accuracy")
    if any(mirrors.values()):
        table.add_column("mirrored")
    for slug, backbone in backbones.items():
        baseline, mirror = getattr(backbone.baseline, "accuracy", None), mirrors[slug]
        table.add_row(
            escape(slug),
            "skipped" if baseline is None else f"{baseline:.3f}",
            f"{backbone.adaptation.accuracy:.3f}",
            f"{backbone.finetuning.accuracy:.3f}",
            *([f"{mirror.scores.accuracy.value:.3f}"] if mirror else []),
        )
    ensemble = run.ensemble.read()
    if ensemble:
        table.add_row("ensemble", "", "", f"{ensemble.scores.accuracy.value:.3f}")
    out.print(table)
    for slug, backbone in backbones.items():
        reason = getattr(backbone.baseline, "skipped", None)
        if reason:
            print_result(f"{slug}: no baseline: {reason}")


def _print_mitigations(
    mitigated: Mapping[str, MitigationRecord | None], failed: Sequence[FailedStep]
) -> None:
    """Print what mitigation changed, per backbone; a failed one is reported with the failures."""
    failed_slugs = {step.backbone for step in failed if step.step == "mitigation"}
    for slug, record in mitigated.items():
        if record is not None:
            for sentence in record.sentences:
                print_result(f"{slug}: {sentence}")
        elif slug not in failed_slugs:
            print_result(f"{slug}: no shortcut was confirmed, so there is nothing to mitigate")


def _print_failed_step(step: FailedStep, root: Path) -> None:
    """Print which optional step of a finished study failed, and which command repeats it."""
    from seewhy.storage.run_directory import RunDirectory
    from seewhy.storage.titles import failure, remedy

    command = remedy(step, shlex.quote(str(root)))
    how = f"; run `{command}` to repeat it" if command else ""
    print_message(f"seewhy: {failure(step)}{how}; see {RunDirectory(root).layout.log} for details")


def _exit_interrupted(root: Path) -> NoReturn:
    """Print what Ctrl-C left and how to resume the study; exit with code 130."""
    if root.is_dir():
        words = [argument for argument in sys.argv[1:] if argument != "--fresh"]
        command = shlex.join(["seewhy", *words])
        print_message(
            f"seewhy: stopped; all finished steps are saved in {root}; resume with: {command}"
        )
    else:
        print_message("seewhy: stopped before anything was saved")
    sys.exit(130)
