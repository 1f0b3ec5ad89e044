"""Guided Grad-CAM: Grad-CAM's places with guided backpropagation's pixels.

Knows how ReLUs are called, not which modules call them: nothing in the network is replaced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from seewhy.errors import ConfigError
from seewhy.explanation.endings import ask
from seewhy.explanation.engine import MethodContext


def guided_gradcam(maps: Tensor, guided: Tensor) -> Tensor:
    r"""Guided Grad-CAM, as one map at the image's size, (N, H, W).

    .. math:: L^c = \sum_{\text{colours}} \mathrm{ReLU}\big(G^c \odot \mathrm{Up}(M^c)\big)

    with M Grad-CAM's map, (N, h, w), and G the guided gradient, (N, C, H, W): the score's gradient
    by the image where every ReLU passes on, in the backward pass, only what is positive and came
    from a positive input. The paper shows the product in colour; a map keeps its positive part,
    summed over the colours.

    References
    ----------
    Selvaraju et al., "Grad-CAM", ICCV 2017, section 3.2; Springenberg et al., "Striving for
    Simplicity: The All Convolutional Net", ICLR 2015 workshop, section 3.4.
    """
    size = guided.shape[2:]
    fine = F.interpolate(maps[:, None], size=(int(size[0]), int(size[1])), mode="bilinear")
    return (guided * fine).relu().sum(dim=1)


def guided_gradients(case: MethodContext) -> Iterator[Tensor]:
    """Yield, score by score, the guided gradient by the images, (N, C, H, W) float32.

    Raises ConfigError where the network has no ReLU to guide.
    """
    leaf = case.images.detach().clone().requires_grad_()
    with torch.enable_grad():
        with _GuidedReLUs() as guides:
            answer = ask(case.model, partial(case.model, leaf), case.target, len(leaf))
        if not guides.used:
            raise ConfigError(
                "guidedgradcam: the network runs no ReLU, and guided backpropagation is defined "
                "for ReLUs alone; choose gradcam or layercam"
            )
        for k in range(case.columns):
            coefficients = case.question.coefficients(k, answer.logits)
            last = k + 1 == case.columns
            (found,) = torch.autograd.grad(answer.logits, leaf, coefficients, retain_graph=not last)
            yield found.float()


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward((values > 0) & (values < limit))
        return values.clamp(0, limit)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (passing,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * passing, None


class _GuidedReLUs(TorchFunctionMode):
    """While active, every ReLU called through PyTorch's functions is a guided one."""

    def __init__(self) -> None:
        super().__init__()
        self.used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        limit = _limit(func, args[1:], kwargs)
        if limit is None:
            return func(*args, **kwargs)
        self.used = True
        values = args[0] if args else kwargs["input"]
        # Whatever the function's other arguments, the last that may be given in order is in-place.
        in_order = args[-1] if func in _PLACE and len(args) > _PLACE[func] else False
        if func in (torch.relu_, Tensor.relu_, F.hardtanh_) or kwargs.get("inplace", in_order):
            return values.copy_(_GuidedReLU.apply(values.clone(), limit))
        return _GuidedReLU.apply(values, limit)


# Where `inplace` stands among the arguments in their order.
_PLACE: dict[object, int] = {F.relu: 1, F.relu6: 1, F.hardtanh: 3}


def _limit(func: object, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """Return where a ReLU ends, infinity for the plain one; None for any other function."""
    if func in (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_):
        return math.inf
    if func is F.relu6:
        return 6.0
    if func in (F.hardtanh, F.hardtanh_):
        least = rest[0] if rest else kwargs.get("min_val", -1.0)
        most = rest[1] if len(rest) > 1 else kwargs.get("max_val", 1.0)
        # nn.ReLU6 is a hardtanh of 0 … 6.
        return float(most) if least == 0 else None
    return None
