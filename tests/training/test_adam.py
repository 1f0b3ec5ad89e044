"""Adam against PyTorch's own, parameter by parameter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seewhy.training.adam import Adam

SHAPES = ((7,), (3, 5), (4, 3, 2, 2), ())


def _parameters(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def _gradients(step: int) -> list[Tensor]:
    """Of very different sizes, and zero now and then, as those of a head behind ReLU are."""
    generator = torch.Generator().manual_seed(100 + step)
    found = [torch.randn(shape, generator=generator) * 10.0 ** (step % 5 - 3) for shape in SHAPES]
    found[step % len(found)].zero_()
    return found


def _step(ours: Adam, step: int, without: int | None = None) -> None:
    for k, (parameter, gradient) in enumerate(zip(ours.parameters, _gradients(step), strict=True)):
        parameter.grad = None if k == without else gradient
    ours.step()


def test_thirty_steps_are_those_of_pytorch() -> None:
    mine, theirs = _parameters(), _parameters()
    ours = Adam(mine, 0.01)
    reference = torch.optim.Adam(theirs, lr=0.01, foreach=False, fused=False)
    for step in range(30):
        _step(ours, step)
        for parameter, gradient in zip(theirs, _gradients(step), strict=True):
            parameter.grad = gradient
        reference.step()
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_the_first_step_by_hand() -> None:
    # m / (1 - 0.9) = g and v / (1 - 0.999) = g², so the step is the rate against g's sign.
    parameter = torch.tensor([1.0, 1.0, 1.0])
    ours = Adam([parameter], 0.1)
    parameter.grad = torch.tensor([5.0, -0.001, 0.0])
    ours.step()
    torch.testing.assert_close(parameter, torch.tensor([0.9, 1.1, 1.0]), rtol=0, atol=2e-6)


def test_a_parameter_without_a_gradient_is_left_alone_with_its_state() -> None:
    mine, theirs = _parameters(), _parameters()
    ours = Adam(mine, 0.01)
    reference = torch.optim.Adam(theirs, lr=0.01)
    for step in range(20):
        # The second parameter learns in every third step, the third in all others.
        without = 1 if step % 3 else 2
        before = mine[without].clone()
        _step(ours, step, without)
        assert torch.equal(mine[without], before)
        for k, (parameter, gradient) in enumerate(zip(theirs, _gradients(step), strict=True)):
            parameter.grad = None if k == without else gradient
        reference.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    state = ours.tensors()
    assert [int(state[f"step.{k}"]) for k in range(4)] == [20, 7, 13, 20]


def test_no_gradient_at_all_is_no_step() -> None:
    mine = _parameters()
    ours = Adam(mine, 0.01)
    ours.step()
    torch.testing.assert_close(mine, _parameters(), rtol=0, atol=0)


@pytest.mark.parametrize("stopped_after", [1, 9])
def test_a_state_that_was_stored_goes_on_as_if_it_had_never_stopped(stopped_after: int) -> None:
    whole = _parameters()
    optimizer = Adam(whole, 0.01)
    kept: dict[str, Tensor] = {}
    weights: list[Tensor] = []
    for step in range(20):
        if step == stopped_after:
            kept = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
            weights = [parameter.clone() for parameter in whole]
        _step(optimizer, step)
    again = Adam(weights, 0.01)
    again.load(kept)
    for step in range(stopped_after, 20):
        _step(again, step)
    for one, other in zip(weights, whole, strict=True):
        assert torch.equal(one, other)
    # What was loaded was copied: the stored tensors did not move along.
    assert int(kept["step.0"]) == stopped_after


def test_a_state_of_other_shapes_is_refused() -> None:
    smaller = Adam(_parameters()[:2], 0.01)
    with pytest.raises(KeyError):
        Adam(_parameters(), 0.01).load(smaller.tensors())
    other = Adam([torch.zeros(2, 2)], 0.01)
    with pytest.raises(RuntimeError):
        Adam([torch.zeros(3)], 0.01).load(other.tensors())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 2, 3)])
def test_weights_that_lie_otherwise_in_memory_move_alike(order: tuple[int, ...]) -> None:
    # (0, 2, 3, 1) is what channels-last convolutions have.
    given = _parameters()[2]
    back = [order.index(k) for k in range(4)]
    mine = given.permute(order).contiguous().permute(back).requires_grad_(True)
    theirs = given.clone().requires_grad_(True)
    ours = Adam([mine], 0.01)
    reference = torch.optim.Adam([theirs], lr=0.01, foreach=False, fused=False)
    images = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        for weight, optimizer in ((mine, ours), (theirs, reference)):
            weight.grad = None
            F.conv2d(images, weight).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert mine.is_contiguous() == (order == (0, 1, 2, 3))


def test_gradients_are_dropped() -> None:
    ours = Adam(_parameters(), 0.01)
    _step(ours, 0)
    assert all(parameter.grad is not None for parameter in ours.parameters)
    ours.clear_gradients()
    assert all(parameter.grad is None for parameter in ours.parameters)
