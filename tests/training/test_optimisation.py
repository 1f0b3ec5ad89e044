"""The steps of a stage against PyTorch's own, or by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from seewhy.training.optimisation import (
    Optimisation,
    WeightAverage,
    make_optimizer,
    rate_factor,
    take_step,
)

FIELD = Optimisation("adamw", 0.05, 0.25, "cosine", 0.1, 1.0, 0.9)


def _module() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def _backward(module: nn.Module, seed: int, scale: float = 1.0) -> None:
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
    module.zero_grad()
    (scale * module(rows).square().sum()).backward()


def test_weights_decay_and_neither_biases_nor_normalisation_do() -> None:
    module = _module()
    optimizer = make_optimizer(module, 0.01, Optimisation("adamw", weight_decay=0.1))
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert {name: decays[id(p)] for name, p in module.named_parameters()} == {
        "0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0,
        "3.weight": 0.1, "3.bias": 0.0,
    }  # fmt: skip


def test_rates_rise_in_equal_ratios_from_the_first_layer_to_the_last() -> None:
    module = _module()
    optimizer = make_optimizer(module, 0.08, FIELD)
    rates = {id(p): group["base_rate"] for group in optimizer.param_groups for p in group["params"]}
    found = [rates[id(module[place].weight)] for place in (0, 1, 3)]
    assert found == pytest.approx([0.02, 0.04, 0.08])
    assert rates[id(module[0].bias)] == rates[id(module[0].weight)]


def test_frozen_layers_are_neither_trained_nor_counted_in_the_depth() -> None:
    module = _module()
    module[0].requires_grad_(False)
    optimizer = make_optimizer(module, 0.08, FIELD)
    rates = {id(p): group["base_rate"] for group in optimizer.param_groups for p in group["params"]}
    assert id(module[0].weight) not in rates
    assert rates[id(module[1].weight)] == pytest.approx(0.02)


def test_one_trained_layer_has_the_whole_rate() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), 0.5, FIELD)
    assert {group["base_rate"] for group in optimizer.param_groups} == {0.5}


def test_the_cosine_is_pytorchs() -> None:
    how = Optimisation(schedule="cosine")
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 1.0)
    theirs = CosineAnnealingLR(optimizer, 20)
    for step in range(20):
        assert rate_factor(how, step, 20) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_the_rate_rises_before_the_cosine_and_never_reaches_zero_in_a_step() -> None:
    how = Optimisation(schedule="cosine", warmup=0.25)
    factors = [rate_factor(how, step, 16) for step in range(16)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert 0 < factors[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 11 / 12)))


def test_a_constant_rate_has_no_warmup() -> None:
    assert rate_factor(Optimisation(warmup=0.5), 0, 10) == 1.0


def test_a_step_is_adamws_at_the_steps_rate_with_the_gradient_clipped() -> None:
    how = Optimisation("adamw", 0.3, 1.0, "cosine", 0.0, 0.5)
    # Without batch normalisation, before which a bias has no gradient but rounding errors.
    mine, theirs = (nn.Sequential(one[0], one[2], one[3]) for one in (_module(), _module()))
    optimizer = make_optimizer(mine, 0.02, how)
    weights = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim == 1]
    reference = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}], 0.02
    )
    for step in range(6):
        _backward(mine, step, 40.0)
        _backward(theirs, step, 40.0)
        take_step(optimizer, how, step, 6)
        norm = torch.cat([p.grad.flatten() for p in theirs.parameters()]).norm()
        assert norm > 0.5
        for p in theirs.parameters():
            p.grad *= 0.5 / (norm + 1e-6)
        for group in reference.param_groups:
            group["lr"] = 0.02 * 0.5 * (1 + math.cos(math.pi * step / 6))
        reference.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_small_gradients_are_not_scaled() -> None:
    how = Optimisation(clip=1e6)
    module, plain = _module(), _module()
    clipped, free = make_optimizer(module, 0.1, how), make_optimizer(plain, 0.1, Optimisation())
    for step in range(3):
        _backward(module, step)
        _backward(plain, step)
        take_step(clipped, how, step, 3)
        take_step(free, Optimisation(), step, 3)
    torch.testing.assert_close(module[0].weight, plain[0].weight)


def test_the_average_is_pytorchs_once_its_start_is_behind() -> None:
    module = _module()
    mine = WeightAverage(module, 0.9)
    theirs = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(module)  # the first call copies
    for step in range(100, 105):  # (1 + 100) / (10 + 100) is above 0.9
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.5)
        module[1].running_mean.add_(1)
        mine.update(module, step)
        theirs.update_parameters(module)
    for one, other in zip(mine.module.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(mine.module[1].running_mean, module[1].running_mean)


def test_the_first_steps_of_an_average_are_soon_forgotten() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    average = WeightAverage(module, 0.999)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average.update(module, 0)  # a tenth of the old is left
    assert average.module.weight.item() == pytest.approx(0.9)
    average.update(module, 1)  # then 2 / 11 of that
    assert average.module.weight.item() == pytest.approx(1 - 0.1 * 2 / 11)


def test_what_is_averaged_is_a_copy_that_is_not_trained() -> None:
    module = _module()
    before = copy.deepcopy(module.state_dict())
    average = WeightAverage(module, 0.9)
    assert not any(p.requires_grad for p in average.module.parameters())
    with torch.no_grad():
        module[0].weight.add_(1)
    assert torch.equal(average.module[0].weight, before["0.weight"])
