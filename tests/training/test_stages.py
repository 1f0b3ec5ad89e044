"""Both stages weigh the classes by the images that they are trained on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from seewhy.config import load_config
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training import stages
from seewhy.training.optimisation import PAPERS_OPTIMISATION, Optimisation
from seewhy.training.trainer import StageResult, StageSettings

CPU = Compute(torch.device("cpu"), "float32", "a test")


@pytest.mark.parametrize(
    ("setting", "weights"),
    [("none", ()), ("balanced", (2 / 3, 2)), ("{ b = 3 }", (2 / 3, 2))],
)
def test_the_weights_are_those_of_the_training_images(
    setting: str, weights: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _settings_of_both_stages([f"head.class_weights={setting}"], monkeypatch)
    for one in given:
        assert one.class_weights == pytest.approx(weights)
        assert (one.sampler, one.logit_offsets) == ("shuffle", ())


def test_sampler_and_adjustment_reach_both_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in _settings_of_both_stages(["head.sampler=balanced"], monkeypatch):
        assert (one.sampler, one.logit_offsets, one.class_weights) == ("balanced", (), ())
    for one in _settings_of_both_stages(["head.logit_adjustment=2"], monkeypatch):
        assert one.logit_offsets == pytest.approx((2 * math.log(0.75), 2 * math.log(0.25)))


def test_images_count_by_their_weights_in_every_correction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six images of a weigh 1 each and two of b 0.5 each: 6 to 1; others weigh 9."""
    weights = np.array([1.0] * 6 + [0.5] * 2 + [9.0] * 6)

    def given(setting: str) -> list[StageSettings]:
        return _settings_of_both_stages([setting], monkeypatch, weights)

    for one in given("head.class_weights=balanced"):
        assert one.class_weights[1] / one.class_weights[0] == pytest.approx(6)
    for one in given("head.logit_adjustment=1"):
        assert one.logit_offsets == pytest.approx((math.log(6 / 7), math.log(1 / 7)))
    # Drawn by the weights, the images of a class count alike in its loss: mean 1.
    drawn = _settings_of_both_stages(
        ["head.sampler=balanced", "head.class_weights={ b = 3 }"], monkeypatch, weights
    )
    for one in drawn:
        assert one.class_weights == pytest.approx((2 / 3, 2))


def _settings_of_both_stages(
    settings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    weights: NDArray[np.float64] | None = None,
) -> list[StageSettings]:
    """Return what the stages are told: six training images of a and two of b.

    Validation and test images, mostly b, do not count.
    """
    given: list[StageSettings] = []

    def train_stage(learner: object, settings: StageSettings, *rest: object) -> StageResult:
        given.append(settings)
        return StageResult((), 0, 0.0)

    monkeypatch.setattr(stages, "train_stage", train_stage)
    labels = np.array([0] * 6 + [1] * 2 + [1] * 6)
    data = Dataset(
        source="made up",
        classes=("a", "b"),
        ids=tuple(map(str, range(14))),
        paths=tuple(map(str, range(14))),
        labels=labels,
        splits=("train",) * 8 + ("validation",) * 3 + ("test",) * 3,
        pixels=np.zeros((14, 2, 2, 3), np.uint8),
        weights=weights,
    )
    config = load_config("demo", settings=[*settings, "head.units=[]"])
    pooled = torch.zeros(14, 3)
    head = stages.new_head(pooled, config, data.classes)
    stages.adapt(head, pooled, data, config, Silent(), "adaptation")

    class AtCut:
        batch = staticmethod(lambda indices, generator: pooled)

    stages.finetune(nn.Linear(3, 2), AtCut(), data, config, CPU, Silent(), "fine-tuning")  # type: ignore[arg-type]
    assert [one.stage for one in given] == ["adaptation", "finetuning"]
    return given


def test_the_metric_and_the_order_of_the_classes_reach_both_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metric = "head.metric=quadratic_kappa"
    for order, degrees in (("true", (0, 1)), ("['b', 'a']", (1, 0))):
        for one in _settings_of_both_stages([metric, f"data.ordered={order}"], monkeypatch):
            assert (one.metric, one.degrees) == ("quadratic_kappa", degrees)
    for one in _settings_of_both_stages(["data.ordered=true"], monkeypatch):
        assert (one.metric, one.degrees) == ("accuracy", ())


def test_the_paper_s_fine_tuning_is_adam_at_a_tenth_of_the_head_s_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paper = load_config("paper").finetuning.model_dump()
    chosen = [f"finetuning.{key}={value!r}" for key, value in paper.items() if value is not None]
    _, tuning = _settings_of_both_stages(chosen, monkeypatch)
    assert tuning.learning_rate == pytest.approx(1e-4)
    assert tuning.optimisation == PAPERS_OPTIMISATION
    assert (tuning.mixup, tuning.cutmix, tuning.label_smoothing) == (0.0, 0.0, 0.0)
    assert tuning.batch_size == load_config("demo").head.batch_size


def test_fine_tuning_has_a_rate_and_a_smoothing_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["finetuning.learning_rate=0.002", "finetuning.average=0.9", "head.learning_rate=0.1"]
    words += ["head.batch_size=16", "finetuning.batch_size=48"]
    adaptation, tuning = _settings_of_both_stages(words, monkeypatch)
    assert (adaptation.learning_rate, tuning.learning_rate) == (0.1, 0.002)
    assert (adaptation.label_smoothing, tuning.label_smoothing) == (0.0, 0.1)
    assert adaptation.optimisation == PAPERS_OPTIMISATION
    assert tuning.optimisation == Optimisation("adamw", 0.05, 0.3, "cosine", 0.1, 1.0, 0.9)
    assert (adaptation.mixup, tuning.mixup) == (0.0, 0.2)
    assert (adaptation.batch_size, tuning.batch_size) == (16, 48)


@pytest.mark.parametrize(
    ("words", "tail", "rate"),
    [
        ([], nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), 1e-3),
        # As in VGG16, and in transformers.
        ([], nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), 3e-4),
        ([], nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), 3e-4),
        (["finetuning.learning_rate=0.002"], nn.Linear(3, 2), 0.002),
        (
            ["finetuning.learning_rate_factor=0.1", "head.learning_rate=0.03"],
            nn.Linear(3, 2),
            0.003,
        ),
    ],
)
def test_the_rate_follows_the_network_where_it_is_left_open(
    words: list[str], tail: nn.Module, rate: float
) -> None:
    config = load_config("photos", settings=words)
    found = stages.with_finetuning_rate(config, tail).finetuning
    assert found.learning_rate == pytest.approx(rate)
    assert found.learning_rate_factor is None
