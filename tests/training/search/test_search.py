"""The search over a made-up surface: what it finds, when it stops, what an interruption costs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import seewhy.training.search.search
from seewhy.config import AdaptationConfig, HeadConfig, SearchConfig, StudyConfig
from seewhy.errors import TrainingError
from seewhy.runtime.progress import Advance, Progress, Silent
from seewhy.storage.schemas.search import Trial
from seewhy.storage.schemas.training import Epoch
from seewhy.training.search.search import RunTrial, SearchResult, head_summary, search_head
from seewhy.training.search.trial_store import TrialStore
from seewhy.training.trainer import OnEpoch, StageResult

EPOCHS = 9


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """SQLite flushes after every step, against power cuts; these tests know none."""

    def connected(connection, record) -> None:  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


def quality(head: HeadConfig) -> float:
    """What a head reaches: at most 0.9, at a learning rate of 2e-4 and a dropout of 0.2."""
    rate = (math.log10(head.learning_rate) - math.log10(2e-4)) ** 2
    return 0.9 - 0.15 * rate - 1.5 * (head.dropout - 0.2) ** 2


def training(
    reached: Callable[[HeadConfig], float] = quality,
    before: Callable[[HeadConfig, int], None] = lambda head, epoch: None,
    epochs: int = EPOCHS,
) -> RunTrial:
    """Return what "trains" a head: its accuracy rises, and falls a little in the last epoch."""

    def run_trial(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        history: list[Epoch] = []
        for number in range(1, epochs + 1):
            before(head, number)
            accuracy = reached(head) * (1 - 0.4 * 0.6**number - 0.05 * (number == epochs))
            history.append(Epoch(number, 1.0, accuracy, 1.0, accuracy, head.learning_rate, 0.01))
            on_epoch(history[-1])
        best = max(history, key=lambda epoch: epoch.validation_accuracy)
        return StageResult(tuple(history), best.epoch, best.validation_accuracy)

    return run_trial


def settings(**search: object) -> StudyConfig:
    given = {"trials": 7, "sampler": "random", "max_layers": 1, "pruner": "none", **search}
    return StudyConfig(
        seed=3,
        head=HeadConfig(units=(5,), label_smoothing=0.1),
        search=SearchConfig.model_validate(given),
        adaptation=AdaptationConfig(epochs=EPOCHS),
    )


def search(
    path: Path,
    run_trial: RunTrial,
    progress: Progress | None = None,
    key: str = "a key",
    tell: Callable[[list[Trial]], None] = lambda trials: None,
    images: int = 0,
    **wanted: object,
) -> SearchResult:
    """Search as a new process does."""
    store = TrialStore(None, path)
    return search_head(
        settings(**wanted), key, store, run_trial, progress or Silent(), "a net", tell, images
    )


def plain(found: SearchResult) -> tuple[object, ...]:
    """Return all that was found but the times it took."""
    record = found.record.model_dump()
    record.pop("seconds")
    for count in record["layer_counts"]:
        count.pop("seconds")
    return record, [replace(trial, seconds=0.0) for trial in found.trials]


def value_of(reached: float, epochs: int = EPOCHS) -> float:
    """Return the mean of the last five epochs of `training`, by hand."""
    shares = [1 - 0.4 * 0.6**n - 0.05 * (n == epochs) for n in range(1, epochs + 1)][-5:]
    return reached * sum(shares) / len(shares)


@pytest.mark.parametrize(("sampler", "share"), [("gp", 0.95), ("tpe", 0.75)])
def test_it_finds_the_best_heads_neighbourhood_as_chance_would_not(
    sampler: str, share: float, tmp_path: Path
) -> None:
    found = search(tmp_path / "trials.db", training(), sampler=sampler, trials=22)
    chance = random.Random(0)
    drawn = [
        value_of(
            quality(
                HeadConfig(
                    learning_rate=10 ** chance.uniform(-5, -3), dropout=chance.uniform(0, 0.6)
                )
            )
        )
        for _ in range(4000)
    ]
    late = [trial.value for trial in found.trials[-8:]]
    assert np.median(late) > np.quantile(drawn, share)
    best = found.record.head
    assert abs(math.log10(best.learning_rate / 2e-4)) < 0.4
    assert abs(best.dropout - 0.2) < 0.15


def test_the_record_says_what_the_trials_say(tmp_path: Path) -> None:
    found = search(tmp_path / "trials.db", training(), trials=9)
    record, trials = found.record, found.trials
    assert [trial.number for trial in trials] == list(range(9))
    for trial in trials:
        reached = quality(HeadConfig(learning_rate=trial.learning_rate, dropout=trial.dropout))
        assert trial.value == pytest.approx(value_of(reached))
        assert trial.best_validation_accuracy == pytest.approx(reached * (1 - 0.4 * 0.6**8))
        assert (trial.state, trial.epochs, trial.reason) == ("complete", EPOCHS, "")
        assert trial.units == (trial.units_p,)
        assert 0 < trial.seconds < 60
    best = max(trials, key=lambda trial: trial.value)
    [count] = record.layer_counts
    assert (count.layers, count.trials, count.complete, count.pruned, count.failed) == (
        1,
        9,
        9,
        0,
        0,
    )
    assert (count.best_trial, count.best_value) == (best.number, best.value)
    assert record.head.model_dump() == {
        "units": list(best.units),
        "dropout": best.dropout,
        "learning_rate": best.learning_rate,
        "batch_size": best.batch_size,
        "loss": best.loss,
    }
    assert record.head == count.head
    assert (record.sampler, record.pruner, record.objective) == ("random", "none", "adaptation")
    assert record.seconds == pytest.approx(sum(trial.seconds for trial in trials))
    assert count.seconds == pytest.approx(record.seconds)


@pytest.mark.parametrize("epochs", [1, 3, 5, 7])
def test_the_value_is_the_mean_of_the_last_five_epochs_or_of_all(
    epochs: int, tmp_path: Path
) -> None:
    found = search(tmp_path / "trials.db", training(lambda head: 0.8, epochs=epochs), trials=1)
    [trial] = found.trials
    assert trial.value == pytest.approx(value_of(0.8, epochs))
    assert found.record.layer_counts[0].best_value == pytest.approx(value_of(0.8, epochs))
    assert trial.epochs == epochs


def test_of_both_stages_the_last_one_counts(tmp_path: Path) -> None:
    """Where fine-tuning is behind adaptation, its epochs alone are the objective."""
    adaptation, finetuning = training(lambda head: 0.9), training(lambda head: 0.5, epochs=3)

    def both(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        adaptation(head, on_epoch)
        return finetuning(head, on_epoch)

    [trial] = search(tmp_path / "trials.db", both, trials=1, objective="both").trials
    assert trial.value == pytest.approx(value_of(0.5, 3))
    assert trial.best_validation_accuracy == pytest.approx(0.5 * (0.95 - 0.4 * 0.216))
    assert trial.epochs == EPOCHS + 3


def test_of_equals_the_first_wins(tmp_path: Path) -> None:
    found = search(tmp_path / "trials.db", training(lambda head: 0.7), trials=5)
    assert found.record.layer_counts[0].best_trial == 0
    assert found.record.head.dropout == found.trials[0].dropout


def by_layers(*reached: float) -> Callable[[HeadConfig], float]:
    """Return a surface that is `reached[n - 1]` at best for n hidden layers."""
    return lambda head: reached[len(head.units) - 1] - 0.1 * head.dropout**2


def test_it_goes_on_while_a_layer_improves_and_hands_on_the_head_before(tmp_path: Path) -> None:
    found = search(
        tmp_path / "trials.db", training(by_layers(0.7, 0.8, 0.75, 0.9)), trials=6, max_layers=4
    )
    record = found.record
    assert [count.layers for count in record.layer_counts] == [1, 2, 3]
    assert record.head == record.layer_counts[1].head
    assert record.best is record.layer_counts[1]
    first, second, third = record.layer_counts
    assert record.stopped == (
        f"3 hidden layers did not improve the validation accuracy "
        f"({third.best_value:.4f} against {second.best_value:.4f})"
    )
    assert len(record.head.units) == 2
    assert record.head.units[1] == record.head.units[0] // 2
    # What the first layer found stays; dropout and units are searched again.
    for count in (second, third):
        for name in ("learning_rate", "batch_size", "loss"):
            assert getattr(count.head, name) == getattr(first.head, name)
    assert len({trial.dropout for trial in found.trials}) == 18
    assert [(trial.layers, trial.number) for trial in found.trials] == [
        (layers, number) for layers in (1, 2, 3) for number in range(6)
    ]
    assert all(len(trial.units) == trial.layers for trial in found.trials)


def test_an_equal_value_is_no_improvement(tmp_path: Path) -> None:
    found = search(tmp_path / "trials.db", training(lambda head: 0.5), trials=2, max_layers=3)
    assert [count.layers for count in found.record.layer_counts] == [1, 2]
    assert len(found.record.head.units) == 1
    assert found.record.stopped.startswith("2 hidden layers did not improve")


@pytest.mark.parametrize("most", [1, 2])
def test_it_ends_at_the_most_layers(most: int, tmp_path: Path) -> None:
    surface = training(by_layers(0.5, 0.6, 0.7))
    found = search(tmp_path / "trials.db", surface, trials=2, max_layers=most)
    assert [count.layers for count in found.record.layer_counts] == list(range(1, most + 1))
    assert len(found.record.head.units) == most
    assert found.record.stopped == f"search.max_layers is {most}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingError("training diverged in epoch 2"), "training diverged in epoch 2"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation"),
            "CUDA out of memory. Tried to allocate 2 GiB",
        ),
        (MemoryError(), "MemoryError"),
        (FloatingPointError("underflow"), "underflow"),
    ],
)
def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(
    error: Exception, reason: str, tmp_path: Path
) -> None:
    def fail(head: HeadConfig, epoch: int) -> None:
        if head.dropout > 0.25 and epoch == 3:
            raise error

    found = search(tmp_path / "trials.db", training(before=fail))
    assert len(found.trials) == 7
    failed = [trial for trial in found.trials if trial.dropout > 0.25]
    assert 2 <= len(failed) <= 5
    for trial in failed:
        assert (trial.state, trial.value, trial.reason) == ("failed", None, reason)
        # Two epochs had ended, the second at 0.856 of what it reaches.
        reached = quality(HeadConfig(learning_rate=trial.learning_rate, dropout=trial.dropout))
        assert trial.epochs == 2
        assert trial.best_validation_accuracy == pytest.approx(0.856 * reached)
    assert all(trial.state == "complete" for trial in found.trials if trial.dropout <= 0.25)
    [count] = found.record.layer_counts
    assert (count.trials, count.failed, count.complete) == (7, len(failed), 7 - len(failed))
    assert found.record.head.dropout <= 0.25


def test_where_all_fail_there_is_one_error_with_the_first_reason(tmp_path: Path) -> None:
    told: list[str] = []

    def fail(head: HeadConfig, epoch: int) -> None:
        told.append(f"no number at {head.dropout:.3f}")
        raise TrainingError(told[-1])

    with pytest.raises(TrainingError) as caught:
        search(tmp_path / "trials.db", training(before=fail), trials=3)
    assert len(told) == 3
    assert str(caught.value) == f"a net: all 3 trials of the search failed; the first: {told[0]}"
    # Continued, it says the same, and runs none again.
    with pytest.raises(TrainingError, match=told[0]):
        search(tmp_path / "trials.db", training(before=fail), trials=3)
    assert len(told) == 3


def test_where_all_of_a_further_layer_fail_the_smaller_head_is_handed_on(tmp_path: Path) -> None:
    def fail(head: HeadConfig, epoch: int) -> None:
        if len(head.units) == 2:
            raise MemoryError

    found = search(tmp_path / "trials.db", training(before=fail), trials=3, max_layers=3)
    assert found.record.stopped == "no trial with 2 hidden layers succeeded"
    assert [count.layers for count in found.record.layer_counts] == [1]
    assert len(found.record.head.units) == 1
    # What failed is in the list of trials all the same.
    assert [trial.state for trial in found.trials] == ["complete"] * 3 + ["failed"] * 3


@pytest.mark.parametrize("error", [TypeError("a bug"), KeyError("a bug"), AttributeError("a bug")])
def test_a_bug_is_no_failed_trial(error: Exception, tmp_path: Path) -> None:
    def fail(head: HeadConfig, epoch: int) -> None:
        raise error

    with pytest.raises(type(error), match="a bug"):
        search(tmp_path / "trials.db", training(before=fail), trials=2)


class Interrupting:
    """Raises KeyboardInterrupt at the given one of the moments it is told of."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self, *given: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupted(path: Path, moments: list[int], **wanted: object) -> tuple[SearchResult, list[int]]:
    """Run a search to its end, interrupted at epochs' beginnings; return how many each run saw."""
    seen = []
    for moment in [*moments, 10**9]:
        stop = Interrupting(moment)
        try:
            found = search(path, training(before=stop), **wanted)
        except KeyboardInterrupt:
            seen.append(moment)
        else:
            seen.append(10**9 - stop.left)
    return found, seen


@pytest.mark.parametrize("sampler", ["gp", "random"])
def test_trials_are_a_total_and_the_same_after_interruptions(sampler: str, tmp_path: Path) -> None:
    wanted = {"sampler": sampler, "trials": 12, "max_layers": 2}
    whole = search(tmp_path / "whole.db", training(), **wanted)
    # In the midst of the first trial, again in it, at the beginning of the third, later on,
    # within the second layer's.
    moments = [4, 1, 2 * EPOCHS + 1, 8 * EPOCHS + 3, 6 * EPOCHS + 9]
    found, seen = interrupted(tmp_path / "stopped.db", moments, **wanted)
    assert plain(found) == plain(whole)
    assert len(seen) == len(moments) + 1
    # Each interruption repeats no more than the epochs of one trial.
    repeated = sum(seen) - 24 * EPOCHS
    assert 0 < repeated <= len(moments) * EPOCHS


def test_an_interruption_between_epochs_comes_through_the_progress(tmp_path: Path) -> None:
    class Stopping(Silent):
        steps = 0

        @contextmanager
        def task(self, name: str, total: int) -> Iterator[Advance]:
            def advance(steps: int) -> None:
                self.steps += 1
                if self.steps == 14:
                    raise KeyboardInterrupt

            yield advance

    ran: list[int] = []
    watched = training(before=lambda head, epoch: ran.append(epoch))
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "trials.db", watched, Stopping())
    # It may stop before the first trial and after each epoch and trial.
    assert ran == [*range(1, EPOCHS + 1), 1, 2, 3]
    whole = search(tmp_path / "whole.db", training())
    assert plain(search(tmp_path / "trials.db", training())) == plain(whole)


def test_more_trials_later_continue_and_fewer_are_a_part(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    four = search(path, training(), trials=4)
    ran: list[float] = []

    def note(head: HeadConfig, epoch: int) -> None:
        if epoch == 1:
            ran.append(head.dropout)

    nine = search(path, training(before=note), trials=9)
    assert len(ran) == 5
    assert nine.trials[:4] == four.trials
    assert plain(nine) == plain(search(tmp_path / "nine.db", training(), trials=9))
    again = search(path, training(before=note), trials=4)
    assert len(ran) == 5
    assert again.trials == four.trials
    assert plain(again) == plain(four)


def in_turn(*reached: float) -> RunTrial:
    """Return what "trains" heads that reach these values, one after the other."""
    left = iter(reached)
    return training(lambda head: next(left), epochs=1)


# The standard error of 100 images at a value of 0.8 × 0.71 is 0.0495; of 10,000 images 0.005.
RISING = [0.5, 0.8, 0.79, 0.81, 0.8, 0.82, 0.83, 0.84, 0.85, 0.86]


@pytest.mark.parametrize(
    ("images", "patience", "trials"),
    [
        # The best value after the second trial is 0.8; the next three raise it to 0.81.
        (100, 3, 5),
        # 0.86 is less than a standard error above 0.82, four trials before.
        (100, 4, 6),
        (10_000, 3, 10),
        (100, 0, 10),
        (0, 3, 10),
    ],
)
def test_it_is_over_when_trials_in_a_row_bring_no_more_than_chance(
    images: int, patience: int, trials: int, tmp_path: Path
) -> None:
    run = in_turn(*RISING)
    found = search(tmp_path / "x.db", run, trials=10, patience=patience, images=images)
    assert [trial.number for trial in found.trials] == list(range(trials))
    assert found.record.best.best_trial == max(range(trials), key=RISING.__getitem__)
    reason = (
        f"{patience} trials in a row raised the best value by no more than 0.049, a standard error "
        "with 100 validation images"
    )
    assert found.record.best.ended == (reason if trials < 10 else "")


def test_where_it_was_over_it_stays_so_after_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    wanted = {"trials": 10, "patience": 3, "images": 100}
    search(path, in_turn(*RISING[:4]), **{**wanted, "trials": 4})
    found = search(path, in_turn(*RISING[4:]), **wanted)
    assert len(found.trials) == 5
    assert len(search(path, in_turn(), **wanted).trials) == 5


def test_another_key_is_another_search(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    ran: list[int] = []
    count = training(before=lambda head, epoch: ran.append(epoch))
    first = search(path, count, key="one", trials=2)
    second = search(path, count, key="other", trials=2)
    assert len(ran) == 4 * EPOCHS
    # Suggestions depend on the seed, not on the key.
    assert plain(first) == plain(second)
    search(path, count, key="one", trials=2)
    assert len(ran) == 4 * EPOCHS


def test_everyone_is_told_after_each_trial(tmp_path: Path) -> None:
    told: list[list[tuple[int, int]]] = []

    def tell(trials: list[Trial]) -> None:
        told.append([(trial.layers, trial.number) for trial in trials])

    search(tmp_path / "trials.db", training(by_layers(0.5, 0.6)), tell=tell, trials=2, max_layers=2)
    assert told == [
        [(1, 0)],
        [(1, 0), (1, 1)],
        [(1, 0), (1, 1), (2, 0)],
        [(1, 0), (1, 1), (2, 0), (2, 1)],
    ]


def median_by_hand(found: SearchResult) -> list[int]:
    """Return each trial's epochs: pruned where its best is below the median of those before.

    From the sixth epoch on (five are let pass), once five trials are complete.
    """
    complete: list[float] = []
    epochs = []
    for trial in found.trials:
        reached = quality(HeadConfig(learning_rate=trial.learning_rate, dropout=trial.dropout))
        curve = [reached * (1 - 0.4 * 0.6**n - 0.05 * (n == EPOCHS)) for n in range(1, EPOCHS + 1)]
        ended = EPOCHS
        for step in range(5, EPOCHS + 1):
            at_step = [
                other * (1 - 0.4 * 0.6**step - 0.05 * (step == EPOCHS)) for other in complete
            ]
            if len(complete) >= 5 and max(curve[:step]) < np.median(at_step):
                ended = step
                break
        else:
            complete.append(reached)
        epochs.append(ended)
    return epochs


def test_the_median_prunes_hopeless_trials(tmp_path: Path) -> None:
    found = search(tmp_path / "trials.db", training(), trials=14, pruner="median")
    assert [trial.epochs for trial in found.trials] == median_by_hand(found)
    check_pruned(found)


def test_the_median_waits_for_five_trials_and_five_epochs(tmp_path: Path) -> None:
    begun: list[float] = []

    def reached(head: HeadConfig) -> float:
        if head.dropout not in begun:
            begun.append(head.dropout)
        return 0.8 if begun.index(head.dropout) < 4 else 0.1

    found = search(tmp_path / "trials.db", training(reached), trials=6, pruner="median")
    # The fifth is as hopeless, but only four were complete when it ran.
    assert [trial.epochs for trial in found.trials] == [*[EPOCHS] * 5, 5]


@pytest.mark.parametrize("sampler", ["gp", "random"])
def test_hyperband_prunes_hopeless_trials(sampler: str, tmp_path: Path) -> None:
    found = search(
        tmp_path / "trials.db", training(), trials=16, pruner="hyperband", sampler=sampler
    )
    check_pruned(found)
    # Rungs are at 1, 3 and 9 epochs.
    assert {trial.epochs for trial in found.trials if trial.state == "pruned"} <= {1, 3, 9}


def test_hyperband_judges_as_optunas_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"trials": 18, "pruner": "hyperband"}
    ours = search(tmp_path / "ours.db", training(), **wanted)
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS)
    monkeypatch.setattr(seewhy.training.search.search, "_pruner", lambda kind, config: pruner)
    theirs = search(tmp_path / "theirs.db", training(), **wanted)
    assert plain(ours) == plain(theirs)
    assert {trial.epochs for trial in ours.trials} == {1, 3, 9}


def check_pruned(found: SearchResult) -> None:
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert 2 <= len(pruned) <= len(found.trials) - 2
    for trial in pruned:
        reached = quality(HeadConfig(learning_rate=trial.learning_rate, dropout=trial.dropout))
        curve = [
            reached * (1 - 0.4 * 0.6**n - 0.05 * (n == EPOCHS)) for n in range(1, trial.epochs + 1)
        ]
        assert trial.value == pytest.approx(sum(curve[-5:]) / len(curve[-5:]))
        assert trial.best_validation_accuracy == pytest.approx(max(curve))
        assert trial.reason == ""
    [count] = found.record.layer_counts
    assert count.pruned == len(pruned)
    assert count.complete == len(found.trials) - len(pruned)
    best = found.trials[count.best_trial]
    assert best.state == "complete"
    values = [trial.value for trial in found.trials if trial.state == "complete"]
    assert best.value == max(values)


def test_a_pruned_trial_does_not_win_even_where_it_had_reached_more(tmp_path: Path) -> None:
    """It fell from a height that those it is measured with never had."""
    ran = 0

    def run_trial(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        nonlocal ran
        ran += 1
        # The seventh is at 0.9 for one epoch, then at nothing.
        curve = [0.9, 0.0, 0.0, 0.0] if ran == 7 else [0.1, 0.2, 0.3, 0.4]
        history = []
        for number, accuracy in enumerate(curve, start=1):
            history.append(Epoch(number, 1.0, 0.0, 1.0, accuracy, 1e-3, 0.01))
            on_epoch(history[-1])
        return StageResult(tuple(history), 1, curve[0])

    found = search(tmp_path / "trials.db", run_trial, trials=9, pruner="hyperband")
    assert found.record.best.best_value == pytest.approx(0.25)
    assert found.record.best.best_trial == 0


@pytest.fixture(scope="module", params=["median", "hyperband"])
def pruned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, object], SearchResult]:
    """What is wanted of a search, and what it finds where nothing interrupts it."""
    wanted = {"trials": 10, "pruner": request.param}
    found = search(tmp_path_factory.mktemp("pruned") / "whole.db", training(), **wanted)
    assert found.record.layer_counts[0].pruned >= 2
    return wanted, found


def test_pruning_is_the_same_after_interruptions(
    pruned: tuple[dict[str, object], SearchResult], tmp_path: Path
) -> None:
    wanted, whole = pruned
    # Before each epoch in turn: each run gets an epoch further than the one before it.
    moments = [*range(2, EPOCHS + 1)] * 2
    found, _ = interrupted(tmp_path / "stopped.db", moments, **wanted)
    assert plain(found) == plain(whole)


def test_a_trial_that_had_ended_but_was_not_stored_ends_again_as_it_had(
    pruned: tuple[dict[str, object], SearchResult], tmp_path: Path
) -> None:
    """Killed between the pruner's word and the storing of it, at each trial but the first."""
    wanted, whole = pruned
    path = tmp_path / "stopped.db"
    for _ in range(9):
        store = TrialStore(None, path)
        finish, ended = store.finish, Interrupting(2)

        def late(*given, finish=finish, ended=ended) -> None:  # type: ignore[no-untyped-def]
            ended()
            finish(*given)

        store.finish = late  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            search_head(settings(**wanted), "a key", store, training(), Silent(), "a net")
    assert plain(search(path, training(), **wanted)) == plain(whole)


def test_importance_ranks_what_matters(tmp_path: Path) -> None:
    surface = training(lambda head: 0.9 - head.dropout + 0.02 * math.log10(head.learning_rate))
    found = search(tmp_path / "trials.db", surface, trials=24)
    importance = found.record.layer_counts[0].importance
    assert set(importance) == {"learning_rate", "dropout", "batch_size", "loss", "units_p"}
    assert sum(importance.values()) == pytest.approx(1.0)
    assert importance["dropout"] > 0.8
    assert all(0 <= share <= 1 for share in importance.values())
    again = search(tmp_path / "trials.db", surface, trials=24)
    assert again.record == found.record


@pytest.mark.parametrize(
    ("trials", "reached"),
    [
        # Too few; and nothing that matters.
        (7, quality),
        (9, lambda head: 0.5),
    ],
)
def test_importance_is_empty_where_there_is_no_telling(
    trials: int, reached: Callable[[HeadConfig], float], tmp_path: Path
) -> None:
    found = search(tmp_path / "trials.db", training(reached), trials=trials)
    assert found.record.layer_counts[0].importance == {}


def test_importance_is_empty_where_all_that_ended_are_equal(tmp_path: Path) -> None:
    """Pruned trials had other values, but what is pruned is not compared."""
    begun: list[float] = []

    def reached(head: HeadConfig) -> float:
        if head.dropout not in begun:
            begun.append(head.dropout)
        return 0.7 if begun.index(head.dropout) < 9 else 0.1

    found = search(tmp_path / "trials.db", training(reached), trials=12, pruner="median")
    count = found.record.layer_counts[0]
    assert (count.complete, count.pruned) == (9, 3)
    assert count.importance == {}


def test_what_cannot_vary_has_no_importance(tmp_path: Path) -> None:
    found = search(
        tmp_path / "trials.db", training(), trials=12, loss=("cross-entropy",), batch_size=(32,)
    )
    importance = found.record.layer_counts[0].importance
    assert importance["loss"] == importance["batch_size"] == 0
    assert sum(importance.values()) == pytest.approx(1.0)


def test_a_heads_summary_says_all_but_the_smoothing() -> None:
    head = HeadConfig(units=(55, 27), dropout=0.1, learning_rate=2e-4, batch_size=32)
    assert head_summary(head).model_dump() == {
        "units": [55, 27],
        "dropout": 0.1,
        "learning_rate": 2e-4,
        "batch_size": 32,
        "loss": "cross-entropy",
    }


@pytest.mark.parametrize("sampler", ["random", "gp"])
def test_a_metric_that_is_better_where_it_is_lower_finds_the_same_head(
    sampler: str, tmp_path: Path
) -> None:
    """One search by accuracy, one by a loss of 3 less the accuracy: mirror images."""

    def shallow(head: HeadConfig) -> float:
        return quality(head) - 0.3 * (len(head.units) - 1)

    def losing(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        mirrored: list[Epoch] = []

        def keep(epoch: Epoch) -> None:
            value = 3 - epoch.validation_accuracy
            mirrored.append(replace(epoch, validation_accuracy=0.0, validation_metric=value))
            on_epoch(mirrored[-1])

        training(shallow)(head, keep)
        return StageResult(tuple(mirrored), 1, 0.0, 3.0)

    wanted = {"sampler": sampler, "max_layers": 2, "pruner": "median"}
    ours = search(tmp_path / "one.db", training(shallow), **wanted)
    config = settings(**wanted)
    by_loss = config.model_copy(
        update={"head": config.head.model_copy(update={"metric": "log_loss"})}
    )
    store = TrialStore(None, tmp_path / "other.db")
    theirs = search_head(by_loss, "a key", store, losing, Silent(), "a net")
    assert (ours.record.metric, theirs.record.metric) == (None, "log_loss")
    assert theirs.record.head == ours.record.head
    assert [one.state for one in theirs.trials] == [one.state for one in ours.trials]
    values = [None if one.value is None else 3 - one.value for one in theirs.trials]
    assert values == [
        None if one.value is None else pytest.approx(one.value) for one in ours.trials
    ]
    for one, other in zip(ours.record.layer_counts, theirs.record.layer_counts, strict=True):
        assert other.best_trial == one.best_trial
        assert other.best_value == pytest.approx(3 - one.best_value)
    assert "did not improve the validation accuracy (" in ours.record.stopped
    assert theirs.record.stopped.startswith(ours.record.stopped.split("accuracy")[0] + "log loss (")
