"""How a stage's weights move: optimiser, learning rate over the steps, clipping, weight averaging.

Everything depends on the number of the step alone, or is in tensors that a checkpoint holds, so a
stage that is interrupted continues as if it had not been. Knows modules; nothing of data or files.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class Optimisation:
    """How weights are updated; the defaults are the paper's: Adam at a constant rate.

    Attributes
    ----------
    optimizer : {"adam", "adamw"}
    weight_decay : float
        Decoupled from the gradient (AdamW). Biases and the parameters of normalisation have none.
    first_layer_rate : float
        The learning rate of the first trained layer, as a share of the last one's; those in between
        follow in equal ratios.
    schedule : {"constant", "cosine"}
        Of the learning rate over the steps of the stage.
    warmup : float
        Share of the steps in which the rate rises linearly, before a cosine.
    clip : float
        Gradients of a greater norm, over all parameters, are scaled down to it; 0: never.
    average : float
        Decay per step of an exponential moving average of the weights, which is then what is
        validated and kept; 0: none.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, and "SGDR", ICLR
    2017 (cosine). Clark et al., "ELECTRA", ICLR 2020 (rates per layer).
    """

    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    first_layer_rate: float = 1.0
    schedule: Schedule = "constant"
    warmup: float = 0.0
    clip: float = 0.0
    average: float = 0.0


PAPERS_OPTIMISATION = Optimisation()


def make_optimizer(module: nn.Module, rate: float, how: Optimisation) -> Optimizer:
    """Return an optimiser of the module's parameters that require gradients.

    Its groups are one per layer and per kind of parameter; ``base_rate`` of a group is its learning
    rate before the schedule.

    Parameters
    ----------
    module : nn.Module
        Its parameters in the order in which its layers run.
    rate : float
        Learning rate of the last layer.
    how : Optimisation
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for parameter, depth in _with_depth(module):
        own = rate * how.first_layer_rate ** (1 - depth)
        decay = how.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((own, decay), []).append(parameter)
    made = [
        {"params": some, "lr": own, "base_rate": own, "weight_decay": decay}
        for (own, decay), some in groups.items()
    ]
    kind = AdamW if how.optimizer == "adamw" else Adam
    return kind(made, rate, fused=True)


def _with_depth(module: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    """Yield what is trained, and how deep its layer is: 0 the first, 1 the last."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in trained))
    for name, parameter in trained:
        place = layers.index(name.rpartition(".")[0])
        yield parameter, place / (len(layers) - 1) if len(layers) > 1 else 1.0


def rate_factor(how: Optimisation, step: int, steps: int) -> float:
    """Return what the learning rate is multiplied with in a step, 0 … 1.

    Parameters
    ----------
    how : Optimisation
    step : int
        From 0; of all steps of the stage.
    steps : int

    Examples
    --------
    >>> how = Optimisation(schedule="cosine", warmup=0.5)
    >>> [round(rate_factor(how, step, 8), 3) for step in (0, 3, 4, 6, 7)]
    [0.25, 1.0, 1.0, 0.5, 0.146]
    """
    if how.schedule == "constant":
        return 1.0
    rising = int(how.warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))


def take_step(optimizer: Optimizer, how: Optimisation, step: int, steps: int) -> None:
    """Clip the gradients, set the step's learning rates, update the weights."""
    factor = rate_factor(how, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["base_rate"] * factor
    if how.clip > 0:
        every = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(every, how.clip)
    optimizer.step()


class WeightAverage:
    r"""An exponential moving average of a module's weights.

    .. math:: \bar w_t = d_t \bar w_{t-1} + (1 - d_t) w_t, \qquad
              d_t = \min\left(d, \frac{1 + t}{10 + t}\right)

    so that the first steps, which are far from the last ones, are soon forgotten. Running
    statistics are taken over as they are.

    Parameters
    ----------
    module : nn.Module
    decay : float
        d, in 0 … 1.

    Attributes
    ----------
    module : nn.Module
        A copy with the averaged weights.

    References
    ----------
    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take the weights after a step (from 0) into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine = self.module.state_dict()
        averaged = {name for name, _ in module.named_parameters()}
        for name, value in module.state_dict().items():
            if name in averaged:
                mine[name].lerp_(value, 1 - decay)
            else:
                mine[name].copy_(value)
