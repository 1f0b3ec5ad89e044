"""What a trial tries: its suggestion depends on seed, layer count, its number and those before it.

Knows Optuna's samplers and the searched ranges; nothing of training or storages.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from optuna import Study, Trial, create_study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from seewhy.config import HeadConfig, SearchConfig
from seewhy.runtime.seeding import seed_of

Space = dict[str, BaseDistribution]
# The user attribute with the outcome of a trial.
OUTCOME = "seewhy:trial"
_NEAR = 0.01
_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


class NumberedSampler(BaseSampler):
    """Gives every trial a sampler of its own, seeded by its number, that sees how all others went.

    So a suggestion depends on nothing that a killed process takes with it. Optuna's own samplers
    leave out trials that were pruned, failed or still run, and would suggest the same hopeless
    head again and again: here a pruned trial counts with what it had reached, a failed one as the
    worst so far, one that runs elsewhere as the mean. A head that was tried before is replaced by a
    random one.

    Parameters
    ----------
    kind : {"gp", "tpe", "random"}
    seed : int
        The study's.
    layers : int
        Hidden layers of the heads that are searched.
    space : dict of str to BaseDistribution
        See `search_space`.
    """

    def __init__(self, kind: str, seed: int, layers: int, space: Space) -> None:
        self._kind, self._seed, self._layers, self._space = kind, seed, layers, space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        """Return what is sampled together: everything."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        """Sample all parameters of a trial."""
        seed = seed_of("search", self._seed, self._layers, trial.number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = _SAMPLERS[self._kind](seed)
        seen = _seen(study, trial, sampler)
        tried = [other.params for other in seen.get_trials(deepcopy=False)]
        found = seen.ask(search_space).params
        if any(_alike(found, other, search_space) for other in tried):
            found = create_study(sampler=RandomSampler(seed=seed)).ask(search_space).params
        return found

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse a parameter that is not in the space."""
        raise KeyError(param_name)


def _seen(study: Study, trial: FrozenTrial, sampler: BaseSampler) -> Study:
    """Return all other trials as ones that ended, with the values they count with."""
    others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number and t.params]
    values = [t.user_attrs.get(OUTCOME, {}).get("value") for t in others]
    known = [value for value in values if value is not None]
    view = create_study(direction="maximize", sampler=sampler)
    for other, value in zip(others, values, strict=True):
        if value is None and known:
            value = min(known) if other.state == TrialState.FAIL else sum(known) / len(known)
        if value is not None:
            ended = create_trial(
                params=other.params, distributions=other.distributions, value=value
            )
            view.add_trial(ended)
    return view


def _alike(one: dict[str, Any], other: dict[str, Any], space: Space) -> bool:
    """Tell two heads that differ by less than a hundredth of every range."""
    return all(
        name in other and _distance(one[name], other[name], within) < _NEAR
        for name, within in space.items()
    )


def _distance(one: Any, other: Any, within: BaseDistribution) -> float:
    """Return how far apart two values of a parameter are, as a share of its range."""
    if not isinstance(within, (FloatDistribution, IntDistribution)):
        return float(one != other)
    bend = math.log if within.log else float
    width = bend(within.high) - bend(within.low)
    return abs(bend(one) - bend(other)) / (width or 1.0)


def search_space(search: SearchConfig, layers: int) -> Space:
    """Return what is searched: all for the first hidden layer, then dropout and units alone."""
    space: Space = {
        "dropout": FloatDistribution(*search.dropout),
        "units_p": IntDistribution(*search.units),
    }
    if layers == 1:
        space |= {
            "learning_rate": FloatDistribution(*search.learning_rate, log=True),
            "batch_size": CategoricalDistribution(search.batch_size),
            "loss": CategoricalDistribution(search.loss),
        }
    return space


def suggest(
    trial: Trial, search: SearchConfig, layers: int, smaller: HeadConfig | None, start: HeadConfig
) -> HeadConfig:
    """Return the head that a trial tries, with n = `layers` hidden layers.

    Layer i gets ``trunc(p · 2^-i)`` units (the paper's equation 1). `smaller` is the best head with
    a layer less, whose learning rate, batch size and loss stay; None for the first layer, where
    they are searched too. `start` gives what is not searched.
    """
    given: dict[str, Any] = {
        name: trial._suggest(name, within) for name, within in search_space(search, layers).items()
    }
    return _as_head(given, layers, smaller or start)


def layer_units(units_p: int, layers: int) -> tuple[int, ...]:
    """Return the hidden layers' units, ``trunc(p · 2^-i)`` for i = 0 … n−1.

    References
    ----------
    The paper's equation 1 (section 3.4); its table 1.3 has 55 + 27 for p = 55 and n = 2.
    """
    return tuple(units_p // 2**i for i in range(layers))


def tried_head(
    trial: FrozenTrial, layers: int, smaller: HeadConfig | None, start: HeadConfig
) -> HeadConfig:
    """Return the head that a stored trial tried."""
    return _as_head(dict(trial.params), layers, smaller or start)


def _as_head(given: dict[str, Any], layers: int, rest: HeadConfig) -> HeadConfig:
    given["units"] = layer_units(given.pop("units_p"), layers)
    return rest.model_copy(update=given)
