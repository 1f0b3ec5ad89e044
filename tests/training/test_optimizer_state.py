"""The optimizer's state on its way into a file and back, against one that was never stored."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from seewhy.training.checkpoint import load_optimizer, optimizer_tensors

SHAPES = ((7,), (3, 5), (4, 3, 2, 2), ())


def _parameters(shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _step(optimizer: Adam, step: int) -> None:
    """Take a step; the second parameter learns in every third alone."""
    generator = torch.Generator().manual_seed(100 + step)
    for k, parameter in enumerate(optimizer.param_groups[0]["params"]):
        gradient = torch.randn(parameter.shape, generator=generator) * 10.0 ** (step % 5 - 3)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
        if k == 1 and step % 3:
            parameter.grad = None
    optimizer.step()


@pytest.mark.parametrize("stopped_after", [0, 1, 9])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 2, 3)])
def test_a_stored_state_continues_as_if_it_had_never_been_stored(
    stopped_after: int, order: tuple[int, ...]
) -> None:
    # (0, 2, 3, 1) is the memory layout of channels-last convolutions.
    back = [order.index(k) for k in range(4)]
    whole = _parameters()
    whole[2] = whole[2].permute(order).contiguous().permute(back)
    optimizer = Adam(whole, 0.01, fused=True)
    for step in range(20):
        if step == stopped_after:
            # As safetensors writes them: contiguous, and copies.
            stored = {
                name: tensor.clone(memory_format=torch.contiguous_format)
                for name, tensor in optimizer_tensors(optimizer).items()
            }
            weights = [parameter.clone() for parameter in whole]
        _step(optimizer, step)
    assert [int(optimizer_tensors(optimizer)[f"{k}.step"]) for k in range(4)] == [20, 7, 20, 20]
    resumed = Adam(weights, 0.01, fused=True)
    load_optimizer(resumed, stored)
    for step in range(stopped_after, 20):
        _step(resumed, step)
    for one, other in zip(weights, whole, strict=True):
        assert torch.equal(one, other)
    # What was loaded was copied: the stored tensors did not change.
    assert all(int(stored[f"{k}.step"]) == stopped_after for k in (0, 2, 3) if stopped_after)


def test_a_state_of_other_shapes_is_refused() -> None:
    other = Adam(_parameters(((2, 2),)), 0.01, fused=True)
    _step(other, 0)
    with pytest.raises(RuntimeError):
        load_optimizer(Adam(_parameters(((3,),)), 0.01), optimizer_tensors(other))
