"""The search for fine-tuning's settings: which candidates, which trials, and who wins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from seewhy.config import FinetuningConfig, StudyConfig
from seewhy.errors import TrainingError
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.finetuning_search import FinetuningTrial
from seewhy.training.search.acceptance import HeldOut
from seewhy.training.search.finetuning_search import candidates, search_finetuning

from .held_out import held_out


def _config(trials: int = 9, epochs: int = 6, **head: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "seed": 4,
            "head": head,
            "search": {"finetuning_trials": trials},
            "finetuning": {"epochs": epochs, "learning_rate": 0.0007, "mixup": 0.15},
        }
    )


def test_candidates_begin_with_the_configured_settings_and_lie_in_the_ranges() -> None:
    config = _config(17)
    first, *others = candidates(config)
    assert first == config.finetuning
    rates = np.array([one.learning_rate for one in others])
    layers = np.array([one.first_layer_rate for one in others])
    mixed = np.array([one.mixup for one in others])
    assert len(others) == 16
    # A Sobol sequence has one point in each sixteenth, on the scale that is searched.
    for values, (low, high) in ((np.log(rates), np.log((3e-5, 3e-3))),
                                (np.log(layers), np.log((0.03, 1.0))),
                                (mixed, (0.0, 0.4))):  # fmt: skip
        sixteenths = ((values - low) / (high - low) * 16).astype(int)
        assert sorted(sixteenths) == list(range(16))
    assert {one.weight_decay for one in others} == {config.finetuning.weight_decay}
    # Half of them without augmented versions.
    assert sorted(one.views for one in others) == [1] * 8 + [4] * 8


@pytest.mark.parametrize(("names", "views"), [("none", 4), ("light", 0), ("light", 1)])
def test_versions_are_not_searched_where_none_are_kept(names: str, views: int) -> None:
    config = _config(17)
    plain = config.input.model_copy(update={"augmentation": names})
    tuning = config.finetuning.model_copy(update={"views": views})
    config = config.model_copy(update={"input": plain, "finetuning": tuning})
    assert {one.views for one in candidates(config)} == {views}


def test_more_candidates_begin_with_the_same_ones() -> None:
    assert candidates(_config(9))[:5] == candidates(_config(5))
    other = _config(5).model_copy(update={"seed": 5})
    assert candidates(other)[1:] != candidates(_config(5))[1:]
    assert candidates(_config(1)) == candidates(_config(0)) == (_config().finetuning,)


class Scripted:
    """Its candidates reach a value by their learning rate; trials are counted."""

    def __init__(self, config: StudyConfig, best: int, failing: Sequence[int] = ()) -> None:
        settings = candidates(config)
        self.rates = [one.learning_rate for one in settings]
        self.best, self.failing = best, failing
        self.seen: list[tuple[int, int]] = []
        self.compared: list[tuple[float, float]] = []
        self.answer = held_out(40, 4)

    def run(self, settings: FinetuningConfig) -> tuple[float, float]:
        number = self.rates.index(settings.learning_rate)
        self.seen.append((number, settings.epochs))
        if number in self.failing:
            raise TrainingError("it diverged")
        # The farther from the best candidate, the worse.
        return 0.9 - 0.01 * abs(number - self.best), 0.5

    def compare(self, configured: FinetuningConfig, best: FinetuningConfig) -> HeldOut:
        self.compared.append((configured.learning_rate, best.learning_rate))
        return self.answer


def test_short_trials_of_all_then_full_ones_of_the_best_third_and_the_configured() -> None:
    config = _config(9)
    script = Scripted(config, best=6)
    found = search_finetuning(config, script.run, script.compare, Silent(), "net")
    assert script.seen[:9] == [(number, 2) for number in range(9)]
    # 6, then 5 and 7 alike: of equals the lower number.
    assert script.seen[9:] == [(6, 6), (5, 6), (7, 6), (0, 6)]
    assert script.compared == [(0.0007, script.rates[6])]
    assert found.chosen == 6
    assert found.settings.learning_rate == script.rates[6]
    assert found.difference is not None
    assert found.difference.value == pytest.approx(36 / 400)
    assert "was better than the configured settings: +0.090 (" in found.stopped
    assert (found.images, found.folds, found.candidates) == (400, 3, 9)


def test_within_chance_the_configured_settings_stay() -> None:
    config = _config(9)
    script = Scripted(config, best=6)
    script.answer = held_out(12, 10)
    found = search_finetuning(config, script.run, script.compare, Silent(), "net")
    assert found.chosen == 0
    assert found.settings.learning_rate == 0.0007
    assert found.difference is not None
    assert found.difference.low < 0 < found.difference.high
    assert found.stopped.startswith("the best candidate was not better beyond chance, so the")


def test_where_the_configured_settings_are_the_best_no_fold_is_trained() -> None:
    config = _config(5)
    script = Scripted(config, best=0)
    found = search_finetuning(config, script.run, script.compare, Silent(), "net")
    assert script.compared == []
    assert (found.chosen, found.difference, found.folds) == (0, None, 0)
    assert found.stopped == (
        "the configured settings were better than 4 other candidates on the validation images"
    )


def test_of_equal_metrics_the_lower_loss_goes_on() -> None:
    config = _config(9)
    settings = candidates(config)

    def run(one: FinetuningConfig) -> tuple[float, float]:
        return 0.8, {settings[3].learning_rate: 0.2}.get(one.learning_rate, 0.4)

    seen: list[float] = []

    def compare(configured: FinetuningConfig, best: FinetuningConfig) -> HeldOut:
        seen.append(best.learning_rate)
        return held_out(40, 0)

    assert search_finetuning(config, run, compare, Silent(), "net").chosen == 3
    assert seen == [settings[3].learning_rate]


def test_of_a_metric_where_lower_is_better_the_lowest_wins() -> None:
    config = _config(3, metric="log_loss")
    rates = [one.learning_rate for one in candidates(config)]
    values = dict(zip(rates, (0.6, 0.3, 0.5), strict=True))
    found = search_finetuning(
        config,
        lambda one: (values[one.learning_rate], 1.0),
        lambda configured, best: held_out(40, 0),
        Silent(),
        "net",
    )
    assert found.chosen == 1
    assert found.difference is not None
    # −log 0.9 against −log 0.1 for 40 of 400 images; positive, since it is better.
    assert found.difference.value == pytest.approx(0.1 * math.log(9))


def test_trials_that_ended_are_not_run_again() -> None:
    config = _config(9)
    told: list[tuple[FinetuningTrial, ...]] = []
    whole = Scripted(config, best=6)
    expected = search_finetuning(
        config, whole.run, whole.compare, Silent(), "net", tell=lambda t: told.append(tuple(t))
    )
    assert [len(one) for one in told] == list(range(1, 14))
    for stopped in (1, 8, 9, 11, 13):
        again = Scripted(config, best=6)
        found = search_finetuning(
            config, again.run, again.compare, Silent(), "net", done=told[stopped - 1]
        )
        assert again.seen == whole.seen[stopped:]
        assert replace_seconds(found) == replace_seconds(expected)


def replace_seconds(record: object) -> object:
    return record.model_copy(update={"seconds": 0.0})  # type: ignore[attr-defined]


def test_a_trial_that_fails_is_left_out_and_its_reason_kept() -> None:
    config = _config(9)
    script = Scripted(config, best=6, failing=(6, 0))
    told: list[Sequence[FinetuningTrial]] = []
    found = search_finetuning(config, script.run, script.compare, Silent(), "net", tell=told.append)
    assert found.chosen == 5
    failed = [one for one in told[-1] if one.state == "failed"]
    assert {one.candidate for one in failed} == {0, 6}
    assert {one.reason for one in failed} == {"it diverged"}


def test_where_all_fail_there_is_one_sentence() -> None:
    config = _config(4)
    script = Scripted(config, best=0, failing=range(4))
    with pytest.raises(TrainingError, match=r"^net: all 4 trials of fine-tuning failed; the first"):
        search_finetuning(config, script.run, script.compare, Silent(), "net")
