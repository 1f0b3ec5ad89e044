"""``seewhy evaluate``: the evaluation and comparison of a finished study, computed again."""

from __future__ import annotations

from seewhy.cli.console import print_result
from seewhy.cli.options import QuietOption, RunArgument
from seewhy.cli.progress_bars import choose_progress

EXAMPLES = ("seewhy evaluate runs/demo",)


def evaluate(run_dir: RunArgument, quiet: QuietOption = False) -> None:
    """Evaluate and compare a finished study's backbones again, and redraw its report.

    Uses the stored predictions. Needed only if this step failed during the study.
    """
    from seewhy.pipeline.evaluation import evaluate_run
    from seewhy.storage.run_directory import RunDirectory

    comparison = evaluate_run(run_dir, choose_progress(quiet))
    for sentence in comparison.sentences:
        print_result(sentence.text)
    run = RunDirectory(run_dir)
    ensemble = run.ensemble.read()
    if ensemble is not None:
        print_result(ensemble.sentence)
    print_result(f"report: {run.report.path}")
