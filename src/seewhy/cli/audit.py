"""``seewhy audit``: the shortcut audit of a finished study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seewhy.cli.console import print_result
from seewhy.cli.options import DeviceOption, QuietOption, RunArgument, StageOption, check_stage
from seewhy.cli.progress_bars import choose_progress

if TYPE_CHECKING:
    from seewhy.storage.schemas.audit import Audit

EXAMPLES = ("seewhy audit runs/demo", "seewhy audit runs/demo --stage adaptation")


def audit(
    run_dir: RunArgument,
    stage: StageOption = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone of the study.", show_default="all of them")
    ] = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Look for shortcuts in a study's classifiers, confirm them, and redraw its report."""
    from seewhy.audit.stage_audit import audit_run
    from seewhy.report.build import redraw_report
    from seewhy.storage.lock import under_lock
    from seewhy.storage.run_directory import RunDirectory

    audited_stage = check_stage(stage) or "finetuning"
    progress = choose_progress(quiet)

    @under_lock  # one lock for the audit and the report
    def audit_and_redraw(root: Path | str) -> tuple[dict[str, Audit], Path]:
        audits = audit_run(root, audited_stage, backbone, device or "auto", progress)
        for slug in audits:
            RunDirectory(Path(root)).summary.remove_failed(("audit",), slug, audited_stage)
        return audits, redraw_report(root)

    audits, report = audit_and_redraw(run_dir)
    for slug, record in audits.items():
        for sentence in record.sentences or ["no shortcut found. " + record.searched]:
            print_result(f"{slug}: {sentence}")
    print_result(f"report: {report}")
