"""The search for a head: Bayesian optimisation, one added hidden layer at a time.

One hidden layer first: learning rate, dropout, batch size, loss and units are searched. Then a
layer more at a time, for which only dropout and units are searched again, until a layer does not
improve the validation metric (in the paper's section 3.4, accuracy). What a trial is, the caller
says; this module knows no features, networks or files.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from seewhy.config import HeadConfig, Metric, SearchConfig, StudyConfig
from seewhy.errors import SeewhyError, TrainingError, first_line
from seewhy.runtime.device import one_thread
from seewhy.runtime.progress import Advance, Progress
from seewhy.runtime.seeding import seed_of
from seewhy.storage.schemas.search import LayerSearch, SearchRecord, Trial, TrialState
from seewhy.storage.schemas.training import Epoch, HeadSummary
from seewhy.storage.titles import METRIC_TITLES
from seewhy.training.search.sampling import (
    OUTCOME,
    NumberedSampler,
    search_space,
    suggest,
    tried_head,
)
from seewhy.training.search.trial_store import TrialStore, quiet_optuna
from seewhy.training.trainer import LAST_EPOCHS, OnEpoch, StageResult, goodness

log = logging.getLogger("seewhy")

# Trains one head and is called after every epoch; the last stage's result is what counts.
RunTrial = Callable[[HeadConfig, OnEpoch], StageResult]
_STATES: dict[OptunaState, TrialState] = {
    OptunaState.COMPLETE: "complete",
    OptunaState.PRUNED: "pruned",
    OptunaState.FAIL: "failed",
}
# Metrics that are shares of images, or close to one: a binomial standard error is their noise.
_SHARES: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "macro_f1")
# With fewer trials there is no telling which parameter mattered.
_ENOUGH_TRIALS = 8


@dataclass(frozen=True)
class SearchResult:
    """What a search returns: its record, and all trials in the order they were numbered."""

    record: SearchRecord
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class _Search:
    """What all layer counts of one search share."""

    config: StudyConfig
    key: str
    store: TrialStore
    run_trial: RunTrial
    progress: Progress
    title: str
    tell: Callable[[Sequence[Trial]], None]
    images: int

    @property
    def wanted(self) -> SearchConfig:
        """The configuration's part that is this module's."""
        return self.config.search

    @property
    def metric(self) -> Metric:
        """What chooses the best head. In the store higher is better, whatever the metric."""
        return self.config.head.metric

    def is_better(self, value: float, other: float) -> bool:
        """Tell whether one value of the metric is better than another."""
        return goodness(self.metric, value) > goodness(self.metric, other)


class _PrunedError(Exception):
    """Ends a trial that the pruner holds for hopeless."""


def search_head(
    config: StudyConfig,
    key: str,
    store: TrialStore,
    run_trial: RunTrial,
    progress: Progress,
    title: str,
    tell: Callable[[Sequence[Trial]], None] = lambda trials: None,
    images: int = 0,
) -> SearchResult:
    """Search for the head of one backbone.

    Parameters
    ----------
    config : StudyConfig
        Its ``search`` says what is searched; ``head`` gives what is not.
    key : str
        Names the search in `store`: what trials depend on besides their parameters.
    store : TrialStore
    run_trial : callable
    progress : Progress
    title : str
        The backbone's name, for people.
    tell : callable, optional
        Gets all trials that have ended, after each one.
    images : int, default 0
        Validation images, whose number says how large chance is; 0: no layer count ends early.

    Raises
    ------
    TrainingError
        Where every trial with one hidden layer failed.
    """
    search = _Search(config, key, store, run_trial, progress, title, tell, images)
    counts: list[LayerSearch] = []
    trials: list[Trial] = []
    best: HeadConfig | None = None
    stopped = f"search.max_layers is {search.wanted.max_layers}"
    for layers in range(1, search.wanted.max_layers + 1):
        with quiet_optuna(), store.answering():
            ended, count, head = _search_layers(search, layers, best, trials)
        trials += ended
        if count is None or head is None:
            if best is None:
                raise TrainingError(
                    f"{title}: all {len(ended)} trials of the search failed; "
                    f"the first: {ended[0].reason}"
                )
            stopped = f"no trial with {_layers(layers)} succeeded"
            break
        counts.append(count)
        if best is not None and not search.is_better(count.best_value, counts[-2].best_value):
            stopped = (
                f"{_layers(layers)} did not improve the validation {METRIC_TITLES[search.metric]} "
                f"({count.best_value:.4f} against {counts[-2].best_value:.4f})"
            )
            break
        best = head
    assert best is not None
    record = SearchRecord(
        sampler=search.wanted.sampler,
        pruner=search.wanted.pruner,
        objective=search.wanted.objective,
        metric=None if search.metric == "accuracy" else search.metric,
        layer_counts=counts,
        head=head_summary(best),
        stopped=stopped,
        seconds=sum(trial.seconds for trial in trials),
    )
    return SearchResult(record, tuple(trials))


def head_summary(head: HeadConfig) -> HeadSummary:
    """Return a head as records hold it."""
    return HeadSummary.model_validate(head.model_dump(include=set(HeadSummary.model_fields)))


def _search_layers(
    search: _Search, layers: int, smaller: HeadConfig | None, before: Sequence[Trial]
) -> tuple[list[Trial], LayerSearch | None, HeadConfig | None]:
    """Run the trials of one layer count; return them, their record and the best head."""
    wanted, start = search.wanted, search.config.head
    study = search.store.study(
        f"{search.key} {_layers(layers)}",
        NumberedSampler(wanted.sampler, search.config.seed, layers, search_space(wanted, layers)),
        _pruner(wanted.pruner, search.config),
    )
    budget, reason = wanted.trials, ""

    def ended() -> list[Trial]:
        found = (t for t in study.get_trials(deepcopy=False) if t.number < budget)
        return [
            _trial(t, layers, smaller, start, search.metric) for t in found if t.state in _STATES
        ]

    with search.progress.task(f"{search.title}: search, {_layers(layers)}", budget) as advance:
        done = 0
        while True:
            advance(len(ended()) - done)
            done = len(ended())
            over, reason = _over(search, study)
            if over < budget:
                advance(budget - done)
                budget = over
                break
            started = perf_counter()
            trial = search.store.claim(study, budget, idle=lambda: advance(0))
            if trial is None:
                break
            with one_thread():
                head = suggest(trial, wanted, layers, smaller, start)
            with search.store.beating(trial):
                _run(search, study, trial, head, started, advance)
            search.tell([*before, *ended()])
    trials = ended()
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        return trials, None, None
    # The first of equals, whatever order they ended in.
    top = max(complete, key=lambda one: (goodness(search.metric, one.value or 0.0), -one.number))
    head = tried_head(study.get_trials(deepcopy=False)[top.number], layers, smaller, start)
    importance = _importance(study, search.config.seed, len(complete))
    return trials, _layer_search(trials, top, head, importance, reason), head


def _over(search: _Search, study: optuna.Study) -> tuple[int, str]:
    """Return after how many trials the search brings no more than chance, and why; or all of them.

    It is over when ``search.patience`` trials in a row have raised the best value by no more than
    one standard error of a share of the validation images. Trials count in their order, as far as
    all before them have ended.
    """
    wanted, metric = search.wanted, search.metric
    if not wanted.patience or not search.images or metric not in _SHARES:
        return wanted.trials, ""
    best: list[float] = []
    for number, trial in enumerate(study.get_trials(deepcopy=False)[: wanted.trials]):
        if trial.state not in _STATES or trial.number != number:
            break
        value = trial.value if trial.state == OptunaState.COMPLETE else None
        best.append(max([*best[-1:], -math.inf if value is None else value]))
        before = best[-1 - wanted.patience] if len(best) > wanted.patience else -math.inf
        share = min(max(best[-1], 0.0), 1.0)
        noise = math.sqrt(share * (1 - share) / search.images)
        if before > -math.inf and best[-1] - before <= noise:
            return len(best), (
                f"{wanted.patience} trials in a row raised the best value by no more than "
                f"{noise:.3f}, a standard error with {search.images:,} validation images"
            )
    return wanted.trials, ""


def _run(
    search: _Search,
    study: optuna.Study,
    trial: optuna.Trial,
    head: HeadConfig,
    started: float,
    advance: Advance,
) -> None:
    """Run one claimed trial and store how it ended; a failure does not end the search."""
    epochs: list[Epoch] = []
    behind = dict(study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        advance(0)  # a study that is interrupted stops here
        if search.wanted.pruner != "none":
            _prune(trial, goodness(search.metric, epoch.objective), len(epochs), behind)

    state, value, reason, result = OptunaState.COMPLETE, None, "", None
    try:
        result = search.run_trial(head, on_epoch)
        value = goodness(search.metric, result.last_objective)
    except _PrunedError:
        state = OptunaState.PRUNED
    except (SeewhyError, RuntimeError, MemoryError, ArithmeticError) as error:
        # PyTorch's own errors, of memory above all, are RuntimeErrors.
        state, reason = OptunaState.FAIL, first_line(error)
    behind_it = result.history if result else epochs
    last = [goodness(search.metric, epoch.objective) for epoch in behind_it[-LAST_EPOCHS:]]
    reached = sum(last) / len(last) if last and state != OptunaState.FAIL else None
    outcome = {
        "epochs": len(epochs),
        "seconds": perf_counter() - started,
        "value": reached,
        "best": max((epoch.validation_accuracy for epoch in behind_it), default=None),
        "reason": reason,
    }
    search.store.finish(study, trial, state, value, {OUTCOME: outcome})
    log.info(
        "%s: search: trial %d with %s: %s %s; units %s, dropout %.3f, learning rate %.2e, "
        "batches of %d, %s; %d epochs in %.1f s",
        search.title,
        trial.number,
        _layers(len(head.units)),
        _STATES[state],
        reason or f"{goodness(search.metric, reached or 0.0):.4f}",
        head.units,
        head.dropout,
        head.learning_rate,
        head.batch_size,
        head.loss,
        len(epochs),
        outcome["seconds"],
    )


def _prune(trial: optuna.Trial, reached: float, step: int, behind: dict[int, float]) -> None:
    """Report an epoch to the pruner, unless it passed it before its process was killed."""
    if step not in behind:
        trial.report(reached, step)
    # The pruner looks at the trial's last step: earlier ones were let pass.
    if step >= max(behind, default=0) and trial.should_prune():
        raise _PrunedError


def _pruner(kind: str, config: StudyConfig) -> BasePruner:
    if kind == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=LAST_EPOCHS)
    if kind == "hyperband":
        most = config.adaptation.epochs
        if config.search.objective == "both":
            most += config.finetuning.epochs
        return _Hyperband(min_resource=1, max_resource=most)
    return NopPruner()


class _Hyperband(HyperbandPruner):
    """Optuna's Hyperband, judging by what trials reported alone.

    Optuna notes in a trial which rungs it has passed before it tells its judgement: a trial whose
    process was killed in between would never be judged there.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Tell whether a trial is not among the best third of its bracket at a rung."""
        if not self._pruners:
            self._try_initialization(study)
        bracket, step = self._get_bracket_id(study, trial), trial.last_step or 0
        factor = self._reduction_factor
        if step not in (factor ** (bracket + rung) for rung in range(step)):
            return False
        rivals = self._create_bracket_study(study, bracket).get_trials(deepcopy=False)
        at_step = (rival.intermediate_values for rival in rivals)
        reached = sorted(values[step] for values in at_step if step in values)
        return trial.intermediate_values[step] < reached[-max(len(reached) // factor, 1)]


def _trial(
    stored: FrozenTrial,
    layers: int,
    smaller: HeadConfig | None,
    start: HeadConfig,
    metric: Metric,
) -> Trial:
    """Turn a stored trial that has ended into its record."""
    head = tried_head(stored, layers, smaller, start)
    outcome: dict[str, Any] = stored.user_attrs[OUTCOME]
    return Trial(
        layers=layers,
        number=stored.number,
        state=_STATES[stored.state],
        value=None if outcome["value"] is None else goodness(metric, outcome["value"]),
        best_validation_accuracy=outcome["best"],
        units_p=stored.params["units_p"],
        units=head.units,
        dropout=head.dropout,
        learning_rate=head.learning_rate,
        batch_size=head.batch_size,
        loss=head.loss,
        epochs=outcome["epochs"],
        seconds=outcome["seconds"],
        reason=outcome["reason"],
    )


def _layer_search(
    trials: Sequence[Trial],
    top: Trial,
    head: HeadConfig,
    importance: dict[str, float],
    ended: str,
) -> LayerSearch:
    states = [trial.state for trial in trials]
    return LayerSearch(
        layers=top.layers,
        trials=len(trials),
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        best_trial=top.number,
        best_value=top.value or 0.0,
        head=head_summary(head),
        importance=importance,
        ended=ended,
        seconds=sum(trial.seconds for trial in trials),
    )


def _importance(study: optuna.Study, seed: int, complete: int) -> dict[str, float]:
    """Return each parameter's share of the objective's variance (fANOVA).

    References
    ----------
    Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
    Importance", ICML 2014.
    """
    ended = study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))
    values = {t.value for t in ended}
    if complete < _ENOUGH_TRIALS or len(values) < 2:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=seed_of("importance", seed) % 2**32)
    shares = get_param_importances(study, evaluator=evaluator)
    return {name: min(share, 1.0) for name, share in shares.items() if math.isfinite(share)}


def _layers(count: int) -> str:
    return f"{count} hidden layer{'s'[: count != 1]}"
