"""A suggestion depends on seed, layer count, trial number and earlier trials; on nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from seewhy.config import HeadConfig, SearchConfig
from seewhy.training.search.sampling import (
    OUTCOME,
    NumberedSampler,
    layer_units,
    search_space,
    suggest,
    tried_head,
)
from seewhy.training.search.trial_store import TrialStore, quiet_optuna

SAMPLERS = pytest.mark.parametrize("kind", ["gp", "tpe", "random"])
SEARCH = SearchConfig()
START = HeadConfig(units=(3,), label_smoothing=0.1)
# Past the ten trials that every sampler draws by chance first.
TRIALS = 15


class Fed:
    """A search whose trials get made-up results; in memory, or in a file that may be reopened."""

    def __init__(
        self,
        kind: str,
        path: Path | None = None,
        seed: int = 0,
        layers: int = 1,
        smaller: HeadConfig | None = None,
        search: SearchConfig = SEARCH,
    ) -> None:
        self._kind, self._path, self._seed, self._search = kind, path, seed, search
        self._layers, self._smaller = layers, smaller
        with quiet_optuna():
            self.study = self._memory() if path is None else self.open()

    def _sampler(self) -> NumberedSampler:
        space = search_space(self._search, self._layers)
        return NumberedSampler(self._kind, self._seed, self._layers, space)

    def _memory(self) -> optuna.Study:
        return optuna.create_study(direction="maximize", sampler=self._sampler())

    def open(self) -> optuna.Study:
        """Open the file as a new process does."""
        assert self._path is not None
        self._store = TrialStore(None, self._path)
        self.study = self._store.study("a test", self._sampler(), optuna.pruners.NopPruner())
        return self.study

    def claim(self) -> optuna.Trial:
        trial = self._store.claim(self.study, 1000) if self._path else self.study.ask()
        assert trial is not None
        return trial

    def suggest(self, trial: optuna.Trial) -> HeadConfig:
        with quiet_optuna():
            return suggest(trial, self._search, self._layers, self._smaller, START)

    def finish(self, trial: optuna.Trial, head: HeadConfig, scale: float = 1.0) -> None:
        value = scale * (1 - abs(math.log10(head.learning_rate) + 4) / 3 - head.dropout / 3)
        # Some fail, as they may.
        failed = trial.number % 5 == 3
        trial.set_user_attr(OUTCOME, {"value": None if failed else value})
        if failed:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)

    def run(self, trials: int, scale: float = 1.0) -> list[HeadConfig]:
        heads = []
        for _ in range(trials):
            trial = self.claim()
            heads.append(self.suggest(trial))
            self.finish(trial, heads[-1], scale)
        return heads


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, list[HeadConfig]]:
    """What each sampler suggests where nothing disturbs it."""
    return {kind: Fed(kind).run(TRIALS) for kind in ("gp", "tpe", "random")}


@SAMPLERS
def test_suggestions_are_the_same_after_a_kill_between_two_parameters_of_a_trial(
    kind: str, uninterrupted: dict[str, list[HeadConfig]], tmp_path: Path
) -> None:
    """Early, where they are drawn by chance, and late, where a model suggests them.

    The file is closed and opened again in between; the uninterrupted search needed no file at all.
    """
    fed = Fed(kind, tmp_path / "killed.db")
    killed_after = {0: 1, 2: 3, 5: 5, 11: 2, 12: 1, 13: 0, 14: 5}
    heads = []
    for number in range(TRIALS):
        if number in killed_after:
            trial = fed.claim()
            assert trial.number == number
            _first_parameters(fed.study, trial, killed_after[number])
            assert len(fed.study.get_trials()[-1].params) == killed_after[number]
            fed.open()
        trial = fed.claim()
        assert trial.number == number
        heads.append(fed.suggest(trial))
        fed.finish(trial, heads[-1])
    assert heads == uninterrupted[kind]
    assert len({repr(head) for head in heads}) == TRIALS


def _first_parameters(study: optuna.Study, trial: optuna.Trial, count: int) -> None:
    """Ask for the first of a trial's parameters, as `suggest` does before it is killed."""

    class KilledError(Exception):
        pass

    class Few(optuna.Trial):
        left = count

        def _suggest(
            self, name: str, distribution: optuna.distributions.BaseDistribution
        ) -> object:
            if not self.left:
                raise KilledError
            self.left -= 1
            return super()._suggest(name, distribution)

    with quiet_optuna():
        try:
            suggest(Few(study, trial._trial_id), SEARCH, 1, None, START)
        except KilledError:
            assert count < 5
        else:
            assert count == 5


@SAMPLERS
def test_seed_and_layer_count_make_other_suggestions(
    kind: str, uninterrupted: dict[str, list[HeadConfig]]
) -> None:
    seed = Fed(kind, seed=1).run(3)
    layers = Fed(kind, layers=2).run(3)
    for others in (seed, layers):
        for one, other in zip(uninterrupted[kind], others, strict=False):
            assert one.dropout != other.dropout
    # And each trial its own.
    assert len({head.learning_rate for head in uninterrupted[kind]}) == TRIALS


@pytest.mark.parametrize(("kind", "heeds"), [("gp", True), ("tpe", True), ("random", False)])
def test_results_before_it_count_for_all_but_chance(
    kind: str, heeds: bool, uninterrupted: dict[str, list[HeadConfig]]
) -> None:
    turned = Fed(kind).run(TRIALS, scale=-1.0)
    assert turned[0] == uninterrupted[kind][0]
    assert (turned[-1] != uninterrupted[kind][-1]) == heeds


@SAMPLERS
def test_suggestions_stay_in_their_ranges(
    kind: str, uninterrupted: dict[str, list[HeadConfig]]
) -> None:
    for head in uninterrupted[kind]:
        assert 1e-5 <= head.learning_rate <= 1e-3
        assert 0 <= head.dropout <= 0.6
        assert head.batch_size in (16, 32, 64)
        assert head.loss in ("cross-entropy", "kl-divergence")
        assert len(head.units) == 1
        assert 16 <= head.units[0] <= 512
        # What is not searched is what the configuration says.
        assert head.label_smoothing == 0.1


def test_chance_draws_learning_rates_evenly_on_the_logarithmic_scale() -> None:
    heads = Fed("random").run(40)
    places = [math.log10(head.learning_rate) + 5 for head in heads]
    # Evenly in 0 … 2: its mean is 1 with a deviation of 0.577 / sqrt(40) = 0.091.
    assert sum(places) / 40 == pytest.approx(1, abs=4 * 0.091)
    assert {head.batch_size for head in heads} == {16, 32, 64}
    assert {head.loss for head in heads} == {"cross-entropy"}
    dropouts = sorted(head.dropout for head in heads)
    assert dropouts[0] < 0.06
    assert dropouts[-1] > 0.54
    # Each parameter is drawn by itself: none follows another.
    assert abs(_correlation(places, [head.dropout for head in heads])) < 0.5
    assert abs(_correlation(places, [float(head.units[0]) for head in heads])) < 0.5


def _correlation(one: list[float], other: list[float]) -> float:
    mean, other_mean = sum(one) / len(one), sum(other) / len(other)
    products = sum((a - mean) * (b - other_mean) for a, b in zip(one, other, strict=True))
    squares = sum((a - mean) ** 2 for a in one) * sum((b - other_mean) ** 2 for b in other)
    return float(products / math.sqrt(squares))


@SAMPLERS
def test_for_a_further_layer_only_dropout_and_units_change(kind: str) -> None:
    smaller = HeadConfig(
        units=(100,),
        dropout=0.5,
        learning_rate=3e-4,
        batch_size=16,
        loss="kl-divergence",
        label_smoothing=0.1,
    )
    fed = Fed(kind, layers=3, smaller=smaller)
    heads = fed.run(TRIALS)
    for head in heads:
        first, second, third = head.units
        assert (second, third) == (first // 2, first // 4)
        fixed = {"learning_rate", "batch_size", "loss", "label_smoothing"}
        assert head.model_dump(include=fixed) == smaller.model_dump(include=fixed)
    assert len({head.dropout for head in heads}) == TRIALS
    assert len({head.units for head in heads}) > TRIALS / 2
    stored = fed.study.get_trials()
    assert all(set(trial.params) == {"dropout", "units_p"} for trial in stored)


@pytest.mark.parametrize("kind", ["gp", "tpe"])
def test_every_trial_teaches_however_it_ended(kind: str) -> None:
    """A pruned one what it had reached, a failed one the worst so far, a running one the mean."""
    heads = Fed("random", layers=2, smaller=START)
    heads.run(14)
    values = [0.5 + 0.03 * number for number in range(14)]
    # What is known: the pruned one's 0.6, and those that ended.
    worst, mean = min([*values[3:], 0.6]), (sum(values[3:]) + 0.6) / 12

    def suggested(counts: bool) -> HeadConfig:
        """Give the first three their state, or, complete, the value they should count with."""
        fed = Fed(kind, layers=2, smaller=START)
        states = [
            TrialState.FAIL,
            TrialState.RUNNING,
            TrialState.PRUNED,
            *[TrialState.COMPLETE] * 11,
        ]
        shown = [None, None, 0.6, *values[3:]]
        for stored, state, value in zip(heads.study.get_trials(), states, shown, strict=True):
            if counts and value is None:
                value = worst if state == TrialState.FAIL else mean
            fed.study.add_trial(
                optuna.create_trial(
                    params=stored.params,
                    distributions=stored.distributions,
                    state=TrialState.COMPLETE if counts else state,
                    value=value if counts or state == TrialState.COMPLETE else None,
                    user_attrs={OUTCOME: {"value": value}} if value is not None else {},
                )
            )
        return fed.suggest(fed.claim())

    assert suggested(counts=False) == suggested(counts=True)


def test_trials_side_by_side_try_different_heads() -> None:
    fed = Fed("gp", layers=2, smaller=START)
    for _ in range(11):
        trial = fed.claim()
        value = 1 - abs(fed.suggest(trial).dropout - 0.3)
        trial.set_user_attr(OUTCOME, {"value": value})
        fed.study.tell(trial, value)
    running = [fed.suggest(fed.claim()) for _ in range(4)]
    for k, one in enumerate(running):
        assert all(_apart(one, other) >= 0.01 for other in running[:k])


def test_no_head_is_tried_twice() -> None:
    # The best head is in a corner, where a model would stay.
    fed = Fed("gp", layers=2, smaller=START)
    heads: list[HeadConfig] = []
    for _ in range(20):
        trial = fed.claim()
        heads.append(fed.suggest(trial))
        value = heads[-1].units[0] / 512 - heads[-1].dropout
        trial.set_user_attr(OUTCOME, {"value": value})
        fed.study.tell(trial, value)
    for k, one in enumerate(heads):
        assert all(_apart(one, other) >= 0.01 for other in heads[:k])
    assert min(head.dropout for head in heads) < 0.01


def _apart(one: HeadConfig, other: HeadConfig) -> float:
    """Return how far two heads are apart, as a share of the wider of both ranges."""
    return max(abs(one.dropout - other.dropout) / 0.6, abs(one.units[0] - other.units[0]) / 496)


def test_what_a_stored_trial_tried_is_what_was_suggested() -> None:
    fed = Fed("random")
    heads = fed.run(3)
    stored = fed.study.get_trials()
    assert [tried_head(trial, 1, None, START) for trial in stored] == heads
    smaller = heads[0]
    fed = Fed("random", layers=2, smaller=smaller)
    assert fed.run(3) == [tried_head(trial, 2, smaller, START) for trial in fed.study.get_trials()]


def test_one_choice_is_taken_and_narrow_ranges_hold() -> None:
    narrow = SearchConfig(
        trials=TRIALS,
        learning_rate=(1e-4, 1e-4),
        dropout=(0.25, 0.25),
        batch_size=(8,),
        loss=("cross-entropy",),
    )
    for head in Fed("gp", search=narrow).run(TRIALS):
        assert head.model_dump(
            include={"dropout", "learning_rate", "batch_size", "loss", "label_smoothing"}
        ) == {
            "learning_rate": pytest.approx(1e-4),
            "dropout": 0.25,
            "batch_size": 8,
            "loss": "cross-entropy",
            "label_smoothing": 0.1,
        }


def test_units_are_the_papers() -> None:
    # Table 1.3: 55 and 27; trunc, not round: 55 / 4 is 13.75.
    assert layer_units(55, 2) == (55, 27)
    assert layer_units(55, 3) == (55, 27, 13)
    assert layer_units(512, 4) == (512, 256, 128, 64)


@settings(deadline=None, derandomize=True)
@given(units_p=st.integers(1, 4096), layers=st.integers(1, 8))
def test_units_are_truncated_halves(units_p: int, layers: int) -> None:
    assert layer_units(units_p, layers) == tuple(
        math.trunc(units_p * 2.0**-i) for i in range(layers)
    )


def test_a_stored_trial_may_hold_what_no_range_holds_now() -> None:
    params = {"dropout": 0.9, "units_p": 7}
    distributions = {
        "dropout": optuna.distributions.FloatDistribution(0, 1),
        "units_p": optuna.distributions.IntDistribution(1, 9),
    }
    stored = optuna.create_trial(params=params, distributions=distributions, value=0.0)
    assert isinstance(stored, FrozenTrial)
    head = tried_head(stored, 2, START, HeadConfig())
    assert (head.units, head.dropout, head.label_smoothing) == ((7, 3), 0.9, 0.1)
