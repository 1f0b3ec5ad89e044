"""The report's section on the search: which heads were tried, and why one was chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from seewhy.evaluation.published_results import has_cifar10_classes, paper_scores
from seewhy.report.figures.search_figures import (
    LOSSES,
    PARAMETERS,
    Scale,
    against,
    best_so_far,
    course,
    importance_bars,
    parameter_name,
    ranked,
    rate,
    reached,
    value_scale,
    varied,
)
from seewhy.report.figures.svg import key_entry
from seewhy.report.sections.section import ReportInput, Section
from seewhy.report.text.tables import ReportTable
from seewhy.statistics.classification import LOWER_IS_BETTER
from seewhy.storage.schemas.backbone import BackboneRecords
from seewhy.storage.schemas.search import LayerSearch, SearchRecord, Trial
from seewhy.storage.schemas.training import HeadSummary
from seewhy.storage.titles import METRIC_TITLES
from seewhy.wording import count, duration, listing, plain, sentence, share

SAMPLERS = {
    "gp": "a Gaussian process",
    "tpe": "a tree-structured Parzen estimator",
    "random": "random search",
}
PRUNERS = {"median": "by the median rule", "hyperband": "by Hyperband"}
OBJECTIVES = {"adaptation": "adaptation", "both": "the fine-tuning that follows adaptation"}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
# A reason may be the last line of a traceback, and hundreds of trials may have different ones.
MOST_REASONS, REASON_LETTERS = 5, 400


def search_section(study: ReportInput) -> Section:
    """Return the search, one part per backbone; ``parts`` is empty where none has a search."""
    found = [records.search for records in study.records.values() if records.search]
    names, backbones = study.names, study.summary.backbones
    if not found:
        fitted = [
            f"{name}: {head.chosen}."
            for slug, name in names.items()
            if (head := backbones[slug].head.fitted)
        ]
        return {"parts": [], "fitted": fitted}
    cifar = has_cifar10_classes(study.data.classes)
    parts = []
    for slug, records in study.records.items():
        if records.search is None:
            fitted_head = backbones[slug].head.fitted
            chosen = fitted_head.chosen if fitted_head else None
            parts.append({"name": names[slug], "search": None, "fitted": chosen})
            continue
        paper = paper_scores(backbones[slug].backbone) if cifar else None
        part = _part(names[slug], records.search, records)
        part["paper"] = paper.name if paper else None
        part["paper_rows"] = [_head_cells(head) for head in paper.heads] if paper else []
        part["tables"] = [
            _best_table(names[slug], slug, part),
            _trials_table(names[slug], slug, records.trials),
        ]
        parts.append(part)
    return {
        "parts": parts,
        "metric": METRIC_TITLES[found[0].metric or "accuracy"],
        "lower": found[0].metric in LOWER_IS_BETTER,
        "objective": OBJECTIVES.get(found[0].objective, found[0].objective),
        "both_losses": any(varied(records.trials, "loss") for records in study.records.values()),
        "further": any(
            trial.layers > 1 for records in study.records.values() for trial in records.trials
        ),
    }


def _part(name: str, search: SearchRecord, records: BackboneRecords) -> Section:
    trials = sorted(records.trials, key=lambda trial: (trial.layers, trial.number))
    scale = value_scale(trials, search.metric)
    return {
        "name": name,
        "search": search,
        "mark": "chosen" if search.accepted else "best",
        "opening": _opening(search, trials),
        "rows": [
            {
                **_head_cells(one.head),
                "chosen": one is search.best,
                "value": share(one.best_value, 4),
                "trials": one.trials,
            }
            for one in search.layer_counts
        ],
        "layers": _layers(name, search, trials, scale, records.slug),
        "panels": [
            against(
                own,
                parameter,
                scale,
                f"value-against-{parameter.replace('_', '-')}-{records.slug}",
                f"Value of the trials of {name} against {label}",
            )
            for parameter, label in PARAMETERS.items()
            if (own := varied(trials, parameter))
        ],
        "states": {trial.state for trial in trials},
        "reasons": _reasons(trials),
        "trials": [_trial_cells(trial, search) for trial in trials],
    }


def _layers(
    name: str, search: SearchRecord, trials: Sequence[Trial], scale: Scale, slug: str
) -> list[Section]:
    """Return the course and the importances of each layer count."""
    parts = []
    before: float | None = None
    lower = search.metric in LOWER_IS_BETTER
    found = {one.layers: one for one in search.layer_counts}
    # A layer count none of whose trials succeeded has trials alone.
    for layers in sorted({trial.layers for trial in trials}):
        own = [trial for trial in trials if trial.layers == layers]
        one = found.get(layers)
        best = one.best_trial if one else None
        figure = f"{slug}-{layers}-layer{'s'[: layers != 1]}"
        parts.append(
            {
                **key_entry(layers - 1, _hidden(layers)),
                "before": before,
                "course": course(
                    own,
                    best,
                    before,
                    scale,
                    f"optimisation-{figure}",
                    _course_alt(name, own, lower),
                    lower,
                ),
                "importance": importance_bars(
                    one.importance, layers, f"importance-{figure}", _importance_alt(name, one)
                )
                if one and one.importance
                else None,
                "unknown": _why_no_importance(own),
            }
        )
        if one:
            value = one.best_value
            before = value if before is None else (min if lower else max)(value, before)
    return parts


def _why_no_importance(trials: Sequence[Trial]) -> str:
    values = [reached(trial) for trial in trials if trial.state == "complete"]
    if len(values) > 1 and len(set(values)) == 1:
        return "All completed trials have the same value: no hyperparameter mattered."
    return f"Too few completed trials ({len(values)}) to estimate importance."


def _opening(search: SearchRecord, trials: Sequence[Trial]) -> str:
    """Return what was tried, what was best, and why the search ended, in a few sentences."""
    sampler = SAMPLERS.get(search.sampler, search.sampler)
    tried = f"{count(len(trials), 'trial')} in {duration(search.seconds)}, suggested by {sampler}"
    tally = Counter(trial.layers for trial in trials)
    if len(tally) == 1:
        tried += f", each with {_hidden(*tally)}"
    elif tally:
        first, *others = sorted(tally)
        shares = [f"{tally[first]} with {_hidden(first)}"]
        shares += [f"{tally[layers]} with {_word(layers)}" for layers in others]
        tried += f": {listing(shares)}"
    states = Counter(trial.state for trial in trials)
    ended = [f"{states['failed']} failed"] if states["failed"] else []
    if states["pruned"]:
        how = PRUNERS.get(search.pruner, "")
        verb = "was" if states["pruned"] == 1 else "were"
        ended.append(f"{states['pruned']} {verb} pruned {how}".strip())
    best = search.best
    units = " + ".join(map(str, best.head.units))
    reasons = [
        f"With {_hidden(one.layers)}, {one.ended}" for one in search.layer_counts if one.ended
    ]
    reasons += [f"No further layer was tried: {search.stopped}"]
    reasons += [search.comparison.reason] if search.comparison else []
    return (
        f"{tried}{'; ' if ended else ''}{listing(ended)}. "
        f"Best head: {_hidden(best.layers)} ({units} units), value {share(best.best_value, 3)} in "
        f"trial {best.best_trial}. {' '.join(map(sentence, reasons))}"
    )


def _head_cells(head: HeadSummary | Trial) -> Section:
    return {
        "layers": len(head.units),
        "units": " + ".join(map(str, head.units)),
        "dropout": _dropout(head.dropout),
        "rate": rate(head.learning_rate),
        "batch": head.batch_size,
        "loss": LOSSES.get(head.loss, head.loss),
    }


def _trial_cells(trial: Trial, search: SearchRecord) -> Section:
    value = reached(trial)
    return {
        **_head_cells(trial),
        "number": trial.number,
        "state": trial.state,
        "value": "–" if value is None else share(value, 4),
        "epochs": trial.epochs,
        "seconds": f"{trial.seconds:.1f}",
        "reason": _one_line(trial.reason),
        "chosen": (trial.layers, trial.number) == (search.best.layers, search.best.best_trial),
    }


def _best_table(name: str, slug: str, part: Section) -> ReportTable:
    """Return the best head per layer count, with the paper's below."""
    ours = [(name, row, row["value"], row["trials"]) for row in part["rows"]]
    theirs = [(f"{part['paper']} in the paper", row, None, None) for row in part["paper_rows"]]
    keys = ("layers", "units", "dropout", "rate", "batch", "loss")
    return ReportTable(
        f"best-parameters-{slug}",
        f"Best hyperparameters of {name}",
        (
            *("Backbone", "Layers added", "Units", "Dropout", "Learning rate", "Batch size"),
            *("Loss", "Best value", "Trials"),
        ),
        tuple(
            (who, *(row[key] for key in keys), value, trials)
            for who, row, value, trials in ours + theirs
        ),
    )


def _trials_table(name: str, slug: str, trials: Sequence[Trial]) -> ReportTable:
    return ReportTable(
        f"trials-{slug}",
        f"All trials of {name}",
        (
            *("Trial", "Layers added", "State", "Value", "Units", "Dropout", "Learning rate"),
            *("Batch size", "Loss", "Epochs", "Seconds", "Reason"),
        ),
        tuple(
            (
                *(one.number, one.layers, one.state, one.value, " + ".join(map(str, one.units))),
                *(_dropout(one.dropout), rate(one.learning_rate), one.batch_size, one.loss),
                *(one.epochs, f"{one.seconds:.1f}", _one_line(one.reason)),
            )
            for one in sorted(trials, key=lambda one: (one.layers, one.number))
        ),
    )


def _reasons(trials: Sequence[Trial]) -> list[str]:
    """Return why trials failed, the most frequent reason first."""
    failed = Counter(_one_line(trial.reason) for trial in trials if trial.state == "failed")
    reasons = [
        f"{count(number, 'trial')} failed: {reason or 'no reason was recorded'}"
        for reason, number in failed.most_common(MOST_REASONS)
    ]
    if len(failed) > MOST_REASONS:
        rest = len(failed) - MOST_REASONS
        reasons.append(f"{count(rest, 'further reason')}: see the table of all trials")
    return reasons


def _course_alt(name: str, trials: Sequence[Trial], lower: bool) -> str:
    states = Counter(trial.state for trial in trials)
    words = f"Value of each of {count(len(trials), 'trial')} of {name} with "
    words += f"{_hidden(trials[0].layers)}, and the best so far"
    curve = [value for value in best_so_far(trials, lower) if value is not None]
    if curve:
        ends = f"{share(curve[0], 3)} to {share(curve[-1], 3)}"
        words += f", which {'falls' if lower else 'rises'} from {ends}"
    return f"{words}; {states['failed']} failed, {states['pruned']} pruned"


def _importance_alt(name: str, one: LayerSearch) -> str:
    shares = [f"{parameter_name(k)} {share(one.importance[k])}" for k in ranked(one.importance)]
    where = f"{name} with {_hidden(one.layers)}"
    return f"Importance of the hyperparameters of {where}: {listing(shares)}"


def _one_line(reason: str) -> str:
    return plain(" ".join(reason.split()), REASON_LETTERS)


def _word(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def _hidden(layers: int) -> str:
    return f"{_word(layers)} hidden {'layer' if layers == 1 else 'layers'}"


def _dropout(value: float) -> str:
    return f"{value:.3g}"
