"""The search for fine-tuning's settings, from short trainings to folds.

All candidates are trained for a third of the epochs, from the same adapted head and the same
activations at the cut. The best third and the configured settings are trained in full. The best of
these takes the configured ones' place only if, on images that the folds hold out, it is better
beyond chance. Candidates are drawn before any of them is trained, so nothing depends on the order
in which trials end. What a trial is, the caller says; this module knows no networks or files.

References
----------
Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016 (successive halving).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch.quasirandom import SobolEngine

from seewhy.config import FinetuningConfig, Metric, SearchConfig, StudyConfig
from seewhy.errors import SeewhyError, TrainingError, first_line
from seewhy.runtime.progress import Progress
from seewhy.runtime.seeding import seed_of
from seewhy.storage.schemas.finetuning_search import (
    FinetuningSearchRecord,
    FinetuningSettings,
    FinetuningTrial,
)
from seewhy.storage.schemas.search import FoldComparison
from seewhy.training.search.acceptance import FOLDS, HeldOut, judge
from seewhy.training.trainer import goodness
from seewhy.wording import count

# Of the candidates, this share goes on; of the epochs, this share comes first.
HALVING = 3


# Settings and epochs to the metric and the loss of the best epoch on the validation images.
RunCandidate = Callable[[FinetuningConfig], tuple[float, float]]
# Two settings to what classifiers trained with them say of images that folds hold out.
Compare = Callable[[FinetuningConfig, FinetuningConfig], HeldOut]
Tell = Callable[[Sequence[FinetuningTrial]], None]


def candidates(config: StudyConfig) -> tuple[FinetuningConfig, ...]:
    """Return the settings that are tried: the configured ones, then points of a Sobol sequence.

    Learning rates are spread evenly on a logarithmic scale. The same seed and count give the same
    candidates, and a greater count the same ones first.
    """
    search, start = config.search, config.finetuning
    wanted = search.finetuning_trials - 1
    if wanted < 1:
        return (start,)
    ranges = (search.finetuning_learning_rate, search.first_layer_rate, search.mixup)
    seed = seed_of("finetuning", config.seed) % 2**32
    engine = SobolEngine(len(ranges) + 1, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    points = engine.draw(wanted, dtype=torch.float64)
    # Images as they are alone, or with their augmented versions, where these are kept.
    versions = (1, start.views) if config.input.augmentations and start.views else (start.views,)
    return (start, *(_at(start, point, search, versions) for point in points.numpy()))


def _at(
    start: FinetuningConfig,
    point: NDArray[np.float64],
    search: SearchConfig,
    versions: tuple[int, ...],
) -> FinetuningConfig:
    """Return the settings at a point of the unit cube."""
    rate, first, mixup, version = point.tolist()
    return start.model_copy(
        update={
            "learning_rate": _log_between(search.finetuning_learning_rate, rate),
            "learning_rate_factor": None,
            "first_layer_rate": _log_between(search.first_layer_rate, first),
            "mixup": search.mixup[0] + mixup * (search.mixup[1] - search.mixup[0]),
            "views": versions[int(version * len(versions))],
        }
    )


def _log_between(bounds: tuple[float, float], share: float) -> float:
    low, high = map(math.log, bounds)
    return math.exp(low + share * (high - low))


class _Search:
    """The trials of one search: those that ended before, and those that are run now."""

    def __init__(
        self,
        config: StudyConfig,
        run: RunCandidate,
        done: Sequence[FinetuningTrial],
        tell: Tell,
    ) -> None:
        self.settings = candidates(config)
        self.metric: Metric = config.head.metric
        self.trials = list(done)
        self._run, self._tell = run, tell

    def rung(self, chosen: Sequence[int], epochs: int, advance: Callable[[int], None]) -> list[int]:
        """Train some candidates for some epochs; return those that did not fail, the best first."""
        for number in chosen:
            if self._find(number, epochs) is None:
                self.trials.append(self._try(number, epochs))
                self._tell(self.trials)
            advance(1)
        found = [trial for number in chosen if (trial := self._find(number, epochs)) is not None]
        ended = [trial for trial in found if trial.value is not None and trial.loss is not None]
        return [trial.candidate for trial in sorted(ended, key=self._rank)]

    def first_failure(self) -> str:
        """Return why the first trial that failed did."""
        return next(trial.reason for trial in self.trials if trial.state == "failed")

    def _find(self, number: int, epochs: int) -> FinetuningTrial | None:
        same = (t for t in self.trials if (t.candidate, t.epochs) == (number, epochs))
        return next(same, None)

    def _rank(self, trial: FinetuningTrial) -> tuple[float, float, int]:
        """Order trials, the best first: by the metric, then by the loss, then by their number."""
        assert trial.value is not None
        assert trial.loss is not None
        return -goodness(self.metric, trial.value), trial.loss, trial.candidate

    def _try(self, number: int, epochs: int) -> FinetuningTrial:
        settings = self.settings[number].model_copy(update={"epochs": epochs})
        value = loss = None
        reason, started = "", perf_counter()
        try:
            value, loss = self._run(settings)
        except (SeewhyError, RuntimeError, MemoryError, ArithmeticError) as error:
            # PyTorch's own errors, of memory above all, are RuntimeErrors.
            reason = first_line(error)
        return FinetuningTrial(
            candidate=number,
            epochs=epochs,
            learning_rate=_rate(settings),
            first_layer_rate=settings.first_layer_rate,
            mixup=settings.mixup,
            views=settings.views,
            state="failed" if reason else "complete",
            value=value,
            loss=loss,
            seconds=perf_counter() - started,
            reason=reason,
        )


def search_finetuning(
    config: StudyConfig,
    run: RunCandidate,
    compare: Compare,
    progress: Progress,
    title: str,
    done: Sequence[FinetuningTrial] = (),
    tell: Tell = lambda trials: None,
) -> FinetuningSearchRecord:
    """Search for fine-tuning's settings.

    Parameters
    ----------
    config : StudyConfig
        Its ``search`` says how many candidates and in which ranges; the learning rate of its
        ``finetuning`` is a number, see `seewhy.training.stages.with_finetuning_rate`.
    run : callable
        Fine-tunes with some settings.
    compare : callable
        Fine-tunes with the configured and the best settings on `FOLDS` folds.
    progress : Progress
    title : str
        The backbone's name, for people.
    done : sequence of FinetuningTrial, optional
        Trials of the same search that ended before it was interrupted.
    tell : callable, optional
        Gets all trials that have ended, after each one.

    Raises
    ------
    TrainingError
        Where every trial failed.
    """
    started = perf_counter()
    search = _Search(config, run, done, tell)
    number, epochs = len(search.settings), config.finetuning.epochs
    short, kept = max(1, round(epochs / HALVING)), max(1, math.ceil(number / HALVING))
    total = number + kept + 1
    with progress.task(f"{title}: search for fine-tuning's settings", total) as advance:
        first = search.rung(range(number), short, advance)
        if not first:
            raise TrainingError(
                f"{title}: all {number} trials of fine-tuning failed; the first: "
                f"{search.first_failure()}"
            )
        finalists = list(dict.fromkeys([*first[:kept], 0]))
        best, *_ = [*search.rung(finalists, epochs, advance), 0]
        advance(total)
    before = sum(trial.seconds for trial in search.trials)
    if best == 0:
        return _record(config, search, 0, None, before)
    found = judge(
        lambda: compare(search.settings[0], search.settings[best]),
        config.head.metric,
        config.seed,
        "settings",
    )
    spent = perf_counter() - started
    return _record(config, search, best if found.accepted else 0, found, max(before, spent))


def trainings(number: int) -> float:
    """Return how many full trainings a search among so many candidates takes, and fine-tuning.

    Examples
    --------
    >>> trainings(0), trainings(9)
    (1.0, 12.0)
    """
    if number < 2:
        return 1.0
    kept = math.ceil(number / HALVING)
    return 1 + number / HALVING + kept + 1 + 2 * (FOLDS - 1)


def _record(
    config: StudyConfig,
    search: _Search,
    chosen: int,
    found: FoldComparison | None,
    seconds: float,
) -> FinetuningSearchRecord:
    settings = search.settings[chosen]
    others = count(len(search.settings) - 1, "other candidate")
    first = f"the configured settings were better than {others} on the validation images"
    return FinetuningSearchRecord(
        metric=search.metric,
        candidates=len(search.settings),
        chosen=chosen,
        settings=FinetuningSettings(
            learning_rate=_rate(settings),
            first_layer_rate=settings.first_layer_rate,
            mixup=settings.mixup,
            views=settings.views,
        ),
        difference=found.difference if found else None,
        folds=found.folds if found else 0,
        images=found.images if found else 0,
        stopped=found.reason if found else first,
        seconds=seconds,
    )


def _rate(settings: FinetuningConfig) -> float:
    """Return the learning rate of the last layer, before the schedule."""
    assert settings.learning_rate != "auto", "see with_finetuning_rate"
    return settings.learning_rate
