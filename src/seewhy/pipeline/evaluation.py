"""A study's evaluation and comparison, from the records of its backbones.

Done at the end of a study, and again for a finished one. It reads records and runs no networks.
"""

from __future__ import annotations

from pathlib import Path

from seewhy.errors import RunError
from seewhy.evaluation.comparison import compare
from seewhy.evaluation.performance import evaluate
from seewhy.evaluation.repetitions import over_repetitions
from seewhy.pipeline.abstention import write_abstention
from seewhy.pipeline.breakdown import write_breakdown
from seewhy.pipeline.dependent_images import with_groups
from seewhy.pipeline.ensemble import write_ensemble
from seewhy.pipeline.imbalance import write_imbalance
from seewhy.pipeline.localisation import write_localisation
from seewhy.pipeline.mirror import write_mirror
from seewhy.pipeline.run_opening import opened_run
from seewhy.report.build import redraw_report
from seewhy.runtime.arguments import listener, run_root
from seewhy.runtime.progress import Progress
from seewhy.storage.optional_steps import Failures
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.comparison import Comparison
from seewhy.storage.schemas.summary import Summary
from seewhy.storage.titles import display_names, failure


def evaluate_backbones(run: RunDirectory, summary: Summary, failures: Failures) -> None:
    """Evaluate each backbone and compare them, from what is in the run directory.

    Failures are recorded in `failures`; what could be evaluated is compared all the same.
    """
    classes, seed = tuple(summary.data.classes), summary.seed
    names = display_names(summary)
    records, evaluations = {}, {}
    for slug in summary.backbones:
        with failures.optional("evaluation", slug):
            one = with_groups(run, run.backbones.read(slug, classes))
            found = evaluate(
                one.predictions, one.validation, one.baseline_predictions, classes, seed
            )
            run.evaluation.write(slug, found)
            records[slug], evaluations[slug] = one, found
            write_imbalance(run, slug, one, seed)
            write_breakdown(run, slug, one.predictions["finetuning"], seed)
            write_abstention(run, slug, one, found)
            write_localisation(run, slug, one, seed)
            write_mirror(run, slug, one, found, seed)
    with failures.optional("ensemble"):
        write_ensemble(run, tuple(summary.backbones), records, evaluations, names, seed)
    with failures.optional("comparison"):
        if not records:
            raise RunError("no backbone could be evaluated")
        evaluated = {slug: names[slug] for slug in records}
        folds = over_repetitions({slug: one.folds for slug, one in records.items()})
        run.evaluation.write_comparison(
            compare(records, evaluations, evaluated, classes, folds, seed=seed)
        )


def evaluate_run(root: Path | str, progress: Progress | None = None) -> Comparison:
    """Evaluate and compare the backbones of a finished study again, and redraw its report.

    Parameters
    ----------
    root : Path or str
        The run directory.
    progress : Progress, optional

    Raises
    ------
    RunError
        Where there is no finished study, a record is damaged, or a step fails again.
    """
    run = RunDirectory.open(run_root(root))
    progress = listener(progress)
    with opened_run(run.root, run.config.read()):
        failures = Failures(run, progress)
        progress.say("evaluating")
        evaluate_backbones(run, run.summary.read(), failures)
        if failures.found:
            raise RunError(f"{run.root}: {failure(failures.found[0])} ({run.layout.log} has more)")
        run.summary.remove_failed(("evaluation", "ensemble", "comparison"))
        redraw_report(run.root)
    comparison = run.evaluation.read_comparison()
    assert comparison is not None
    return comparison
