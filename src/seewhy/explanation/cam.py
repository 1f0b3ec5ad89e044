"""The engine: one forward pass, many maps.

Gradients are recorded only behind the target layer, so an explained forward costs little more
than a plain one, and parameters, modes, hooks, ``.grad`` and random state are as before
afterwards. Works on any ``nn.Module`` classifier; knows nothing of studies, data sets or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.layers import find_layer, last_map
from seewhy.explanation.methods import find_method

Classes = Tensor | Sequence[int] | Literal["all"] | None


@dataclass(frozen=True)
class Explanation:
    """Maps of a batch and the predictions they explain.

    Attributes
    ----------
    maps : Tensor, (N, K, h, w) float32
        At the target layer's resolution, not normalised, never negative.
    classes : Tensor, (N, K) int64
        The class each map is for.
    logits, probabilities : Tensor, (N, M) float32
    layer, method : str
    """

    maps: Tensor
    classes: Tensor
    logits: Tensor
    probabilities: Tensor
    layer: str
    method: str

    @property
    def predicted(self) -> Tensor:
        """The likeliest class of each image, (N,) int64."""
        return self.logits.argmax(dim=1)

    @property
    def empty(self) -> Tensor:
        """Which maps are zero everywhere, (N, K) bool: nothing spoke for the class there."""
        return self.maps.amax(dim=(2, 3)) <= 0

    def resized(self, size: tuple[int, int]) -> Tensor:
        """Return the maps at image size `size` (H, W), bilinear: (N, K, H, W)."""
        return F.interpolate(self.maps, size=size, mode="bilinear", align_corners=False)


def explain(
    model: nn.Module,
    images: Tensor,
    classes: Classes = None,
    layer: str = "auto",
    method: str = "gradcam",
) -> Explanation:
    """Show where a classifier looks.

    Parameters
    ----------
    model : nn.Module
        Any classifier that turns `images` into logits (N, M); frozen or not, in any mode.
    images : Tensor, (N, C, H, W)
        Preprocessed, on the model's device.
    classes : None, "all", Tensor or sequence of int, default None
        What to explain: the predicted class of each image, every class, or one index an image.
    layer : str, default "auto"
        Name of the target module as in ``model.named_modules()``; ``auto`` takes the last
        spatial map before pooling.
    method : str, default "gradcam"

    Returns
    -------
    Explanation
        Detached, on the model's device.

    Raises
    ------
    ConfigError
        For an unknown method or layer, a layer without a spatial map, or classes out of range.

    Examples
    --------
    >>> import torch, timm
    >>> from seewhy import explain
    >>> model = timm.create_model("resnet18")
    >>> explain(model, torch.zeros(1, 3, 64, 64)).maps.shape
    torch.Size([1, 1, 2, 2])
    """
    compute_map = find_method(method)
    with _evaluating(model):
        name = layer if layer != "auto" else last_map(model, images[:1])
        target = find_layer(model, name)
        # A model called under inference_mode would hand out tensors that can carry no graph.
        with torch.inference_mode(False), torch.no_grad():
            logits, activations = _forward(model, target, images, name)
            shown = _chosen(classes, logits)
            # The caller's autocast is for the forward pass; sums over channels want float32.
            with torch.autocast(images.device.type, enabled=False):
                maps = [
                    compute_map(activations.detach().float(), gradients.float())
                    for gradients in _gradients(logits, activations, shown)
                ]
    logits = logits.detach().float()
    return Explanation(
        maps=torch.stack(maps, dim=1),
        classes=shown,
        logits=logits,
        probabilities=logits.softmax(dim=1),
        layer=name,
        method=method,
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode; give every submodule its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _forward(
    model: nn.Module, target: nn.Module, images: Tensor, name: str
) -> tuple[Tensor, Tensor]:
    """Run the model; record the graph from the target's output on.

    Must run inside ``no_grad``, whose end switches recording off again.
    """
    captured: list[Tensor] = []
    handle = target.register_forward_hook(_recorder(captured))
    try:
        logits: Tensor = model(images)
    finally:
        handle.remove()
        torch.set_grad_enabled(False)
    if not captured:
        raise ConfigError(f"layer {name!r}: the model's forward pass does not reach it")
    if captured[-1].ndim != 4:
        shape = tuple(captured[-1].shape)
        raise ConfigError(
            f"layer {name!r}: expected a spatial map (N, C, h, w), but it puts out {shape}"
        )
    if logits.ndim != 2:
        raise ConfigError(
            f"expected a classifier with logits (N, M), but it puts out {tuple(logits.shape)}"
        )
    return logits, captured[-1]


def _recorder(captured: list[Tensor]) -> Callable[[nn.Module, object, object], Tensor | None]:
    def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        leaf = output.detach().requires_grad_()
        captured.append(leaf)
        torch.set_grad_enabled(True)
        # The clone takes what an in-place layer behind the target would do to the leaf.
        return leaf.clone()

    return hook


def _chosen(classes: Classes, logits: Tensor) -> Tensor:
    """Return the explained classes, (N, K) int64."""
    count, known = logits.shape
    if classes is None:
        return logits.detach().argmax(dim=1, keepdim=True)
    if isinstance(classes, str):
        if classes != "all":
            raise ConfigError(f"expected classes to be None, 'all' or indices, but got {classes!r}")
        return torch.arange(known, device=logits.device).expand(count, known)
    chosen = torch.as_tensor(classes, device=logits.device)
    if chosen.shape != (count,) or chosen.is_floating_point():
        raise ConfigError(
            f"expected classes to be one index for each of {count} images, but got {classes!r}"
        )
    if count and not 0 <= int(chosen.min()) <= int(chosen.max()) < known:
        raise ConfigError(f"expected classes in 0 … {known - 1}, but got {classes!r}")
    return chosen.long()[:, None]


def _gradients(logits: Tensor, activations: Tensor, classes: Tensor) -> Iterator[Tensor]:
    """Yield, a column of `classes`, the gradient of each image's logit, (N, C, h, w)."""
    columns = classes.shape[1]
    for k in range(columns):
        with torch.enable_grad():
            scores = logits.gather(1, classes[:, k : k + 1]).sum()
        (gradient,) = torch.autograd.grad(scores, activations, retain_graph=k + 1 < columns)
        yield gradient
