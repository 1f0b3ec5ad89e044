"""The epochs that fit into a study's minutes: by hand, in a real study, and after a stop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seewhy.config import StudyConfig, load_config
from seewhy.pipeline.study import run_study
from seewhy.pipeline.time_plan import (
    ADAPTATION_SECONDS,
    CHOICE_PASSES,
    MOST_EPOCHS,
    REPORT_SECONDS,
    Costs,
    Estimate,
    TimeBudget,
    estimate,
)
from seewhy.storage.schemas.dataset import Dataset

from .conftest import draw_folder, save_local

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
ONE = Estimate(before=40, epoch=20, after=52, features=25)


def test_fine_tuning_has_what_the_other_steps_leave() -> None:
    budget = TimeBudget(10, 0.0, {"net": ONE})
    # 600 seconds, 41 of them gone, 52 for what follows and 8 for the report: 499, 24 times 20.
    plan = budget.plan("net", 41)
    assert REPORT_SECONDS == 8
    assert (plan.epochs, plan.epoch_seconds, plan.elapsed_seconds) == (24, 20, 41)
    assert plan.reserved_seconds == pytest.approx(52 + 8)


def test_the_feature_pass_says_how_fast_the_machine_is() -> None:
    other = Estimate(before=100, epoch=30, after=50, features=80)
    budget = TimeBudget(10, 0.0, {"net": ONE, "other": other})
    # Half as fast as estimated: 600 - 80 - 2 * 52 - 8 - 2 * 150 = 108, for two, 40 an epoch.
    plan = budget.plan("net", 80, features=50)
    assert (plan.epochs, plan.epoch_seconds) == (1, 40)
    # Twice as fast: 600 - 20 - 26 - 8 - 75 = 471, for two, 10 an epoch.
    assert budget.plan("net", 20, features=12.5).epochs == 23


def test_backbones_share_what_is_left() -> None:
    other = Estimate(before=100, epoch=30, after=50, features=80)
    budget = TimeBudget(10, 0.0, {"net": ONE, "other": other})
    # 600 - 40 - 52 - 8 - 150 = 350 for two.
    assert budget.plan("net", 40).epochs == 175 // 20
    # The second one has all that is left: 600 - 300 - 50 - 8 = 242.
    assert budget.plan("other", 300).epochs == 242 // 30


def test_there_is_one_epoch_at_least_and_a_sentence_where_it_does_not_fit() -> None:
    budget = TimeBudget(1, 0.0, {"net": ONE})
    assert budget.plan("net", 40).epochs == 1
    *_, last = budget.sentences(0.0)
    # 40 + 20 + 52 + 8 = 120 seconds.
    assert last.startswith(
        "1 minutes are too few even for one epoch: the study will take about 2:00"
    )


def test_there_are_sixty_epochs_at_most() -> None:
    assert TimeBudget(1000, 0.0, {"net": ONE}).plan("net", 0).epochs == MOST_EPOCHS == 60


def test_the_plan_is_told_in_minutes_and_seconds() -> None:
    first, last = TimeBudget(10, 0.0, {"net": ONE}).sentences(1.0)
    # 600 - 41 - 52 - 8 = 499: 24 epochs, 480 s.
    assert first == (
        "net: about 0:40 to fine-tuning, 8:00 for 24 epochs of it, 0:52 for maps and audit"
    )
    assert last == "the study is to take 9:41 of 10 minutes"


def _data() -> Dataset:
    splits = ("train",) * 100 + ("validation",) * 10 + ("test",) * 40
    count = len(splits)
    return Dataset(
        source="s", classes=("a", "b"), ids=tuple(map(str, range(count))),
        paths=tuple(map(str, range(count))), labels=np.arange(count) % 2, splits=splits,
        pixels=np.zeros((count, 4, 4, 3), np.uint8),
    )  # fmt: skip


def _config(**finetuning: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "input": {"augmentation": finetuning.pop("names", "none")},
            "finetuning": finetuning,
            "explanation": {"faithfulness": 0},
            "audit": {"stages": []},
        }
    )


def test_the_steps_are_estimated_from_the_seconds_per_image() -> None:
    costs = Costs(forward=0.5, tail=0.2, step=0.7)
    plain = estimate(_config(), _data(), costs)
    assert plain.before == pytest.approx(150 * 0.5 + 40 * 0.2 + ADAPTATION_SECONDS)
    assert plain.epoch == pytest.approx(100 * 0.7 + 10 * 0.2)
    assert plain.after == pytest.approx(40 * 0.2)
    assert plain.features == pytest.approx(150 * 0.5)
    # Ten validation images, by which three pairs of method and layer are compared.
    chosen = estimate(_config(), _data(), costs, pairs=3)
    assert chosen.before - plain.before == pytest.approx(10 * 3 * CHOICE_PASSES * 0.5)
    kept = estimate(_config(names="flip", views=4), _data(), costs)
    assert kept.before - plain.before == pytest.approx(3 * 110 * 0.3)
    assert kept.epoch == plain.epoch
    anew = estimate(_config(names="flip", views=0), _data(), costs)
    assert anew.before == plain.before
    assert anew.epoch - plain.epoch == pytest.approx(100 * 0.3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("minutes")
    draw_folder(place / "colours", each=6)
    save_local(place / "resnet10t", "resnet10t")
    return place


SMALL = [
    "--backbone", "local-dir:resnet10t", "--set=input.size=64", "--set=adaptation.epochs=2",
    "--set=audit.stages=[]", "--set=explanation.faithfulness=0", "--set=search.trials=0",
    "--set=finetuning.patience=2", "--device=cpu",
]  # fmt: skip


def test_a_study_tells_its_plan_first_and_writes_down_what_it_came_to(
    place: Path, seewhy: CommandLine
) -> None:
    done = seewhy("run", "colours", "--minutes", "0.1", "--out", "out", *SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    places = [
        done.stderr.index(words)
        for words in (
            "plan: resnet10t: about 0:",
            "plan: 0.1 minutes are too few even for one epoch",
            "1 epoch of fine-tuning fit into 0.1 minutes",
        )
    ]
    assert places == sorted(places)
    plan = json.loads((place / "out/backbones/resnet10t/plan.json").read_text("utf-8"))
    assert (plan["minutes"], plan["epochs"]) == (0.1, 1)
    history = (place / "out/backbones/resnet10t/finetuning/history.csv").read_text("utf-8")
    assert len(history.splitlines()) - 1 == 1


def test_minutes_are_a_number_above_zero(place: Path, seewhy: CommandLine) -> None:
    done = seewhy("run", "colours", "--minutes", "0", "--out", "none", cwd=place)
    assert done.returncode == 2
    assert "minutes: input should be greater than 0, but got 0" in done.stderr
    assert not (place / "none").exists()


def test_a_study_that_is_resumed_has_the_epochs_it_had_planned(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    settings = [key.removeprefix("--set=") for key in SMALL if key.startswith("--set=")]
    config = load_config(
        "colours",
        backbones="local-dir:resnet10t",
        device="cpu",
        settings=[*settings, "minutes=0.1"],
    )
    path = Path("stopped/backbones/resnet10t/plan.json")
    with monkeypatch.context() as patch:
        patch.setattr("seewhy.pipeline.backbone.finetune", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_study(config, "stopped")
    stored = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(stored | {"epochs": 2}))
    run_study(config, "stopped")
    history = (path.parent / "finetuning" / "history.csv").read_text("utf-8")
    assert len(history.splitlines()) - 1 == 2


def _interrupt(*arguments: object, **named: object) -> None:
    raise KeyboardInterrupt
