"""Both stages weigh the classes by the images that they are trained on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from seewhy.config import load_config
from seewhy.runtime.device import Compute
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training import stages
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


def _settings_of_both_stages(
    settings: list[str], monkeypatch: pytest.MonkeyPatch
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
