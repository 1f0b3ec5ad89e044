"""Where a classifier looks: one call, one record.

Works on any ``nn.Module`` classifier; knows nothing of studies, data sets or files. How it is
done is in ``engine.py``, the formulas are in ``methods/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.engine import MethodContext, record, undisturbed
from seewhy.explanation.methods.registry import LayerChoice, Method, find_method
from seewhy.explanation.refusals import (
    check_dependence,
    check_gradients,
    check_images,
    check_model,
    check_scores,
    matching_types,
)
from seewhy.explanation.targets import (
    Activation,
    Classes,
    ScoreSelection,
    Target,
    contrast,
    nearest_contrast,
    read_classes,
    read_probabilities,
)
from seewhy.explanation.wrappers import uncompiled, unwrapped

Over = Literal["map", "image", "batch"]


@dataclass(frozen=True)
class Explanation:
    """Maps of a batch and the predictions they explain.

    Attributes
    ----------
    maps : Tensor, (N, K, h, w) float32
        At the target layer's resolution, not normalised, never negative. Of several layers: the
        mean of their maps, each divided by its maximum, at the finest layer's resolution.
    classes : Tensor, (N, K) int64
        The class each map is for.
    logits, probabilities : Tensor, (N, M) float32
        Of a single-logit network both hold two classes: (−z, z). Of one that ends in softmax or
        sigmoid the logits are what is before it.
    layer : str
        Several are joined by commas.
    method : str
    size : tuple of int
        The images' height and width.
    by_layer : dict of Tensor
        Each layer's own maps, (N, K, h, w), not normalised.

    Examples
    --------
    >>> import torch, timm
    >>> from seewhy import explain
    >>> model = timm.create_model("resnet10t")
    >>> found = explain(model, torch.zeros(1, 3, 64, 64), classes="top3")
    >>> found.maps.shape, found.layer
    (torch.Size([1, 3, 2, 2]), 'layer4')
    >>> found.resized().shape, bool(found.normalised().max() <= 1)
    (torch.Size([1, 3, 64, 64]), True)
    """

    maps: Tensor
    classes: Tensor
    logits: Tensor
    probabilities: Tensor
    layer: str
    method: str
    size: tuple[int, int]
    by_layer: dict[str, Tensor]

    @property
    def predicted(self) -> Tensor:
        """The likeliest class of each image, (N,) int64."""
        return self.logits.argmax(dim=1)

    @property
    def empty(self) -> Tensor:
        """Which maps are zero everywhere, (N, K) bool: nothing supported the class there."""
        return self.maps.amax(dim=(2, 3)) <= 0

    def resized(self, size: tuple[int, int] | None = None) -> Tensor:
        """Return the maps at a size (H, W), default the images', bilinear: (N, K, H, W)."""
        size = size or self.size
        return F.interpolate(self.maps, size=size, mode="bilinear", align_corners=False)

    def normalised(self, over: Over = "map") -> Tensor:
        """Return the maps with a maximum of one, (N, K, h, w); see `normalise`."""
        return normalise(self.maps, over)


def normalise(maps: Tensor, over: Over = "map") -> Tensor:
    """Divide maps by their maximum; zero stays zero, an empty map stays empty.

    Parameters
    ----------
    maps : Tensor, (N, K, h, w)
        Never negative.
    over : {"map", "image", "batch"}, default "map"
        Whose maximum becomes one: each map's; each image's, so that its classes stay comparable;
        or that of all maps given, so that images stay comparable.

    Returns
    -------
    Tensor, (N, K, h, w)
    """
    axes = {"map": (2, 3), "image": (1, 2, 3), "batch": (0, 1, 2, 3)}
    if over not in axes:
        raise ConfigError(f"over: expected 'map', 'image' or 'batch', but got {over!r}")
    if maps.numel() == 0:
        return maps
    most = maps.amax(dim=axes[over], keepdim=True)
    return torch.where(most > 0, maps / most, 0)


def explain(
    model: nn.Module,
    images: Tensor,
    classes: Classes = None,
    layer: LayerChoice = "auto",
    method: str = "gradcam",
    *,
    against: Classes = None,
    target: Target | None = None,
    activation: Activation = "softmax",
    smooth: int = 0,
    noise: float = 0.15,
    seed: int = 0,
    batch_size: int = 32,
) -> Explanation:
    """Show where a classifier looks.

    Parameters
    ----------
    model : nn.Module
        Any classifier that turns `images` into logits (N, M), or (N,) or (N, 1) for two classes,
        or into their softmax or sigmoid, which is left out; frozen or not, in any mode (it is
        evaluated), with hooks of its own or without. It is afterwards as it was before.
    images : Tensor, (N, C, H, W) float
        Preprocessed, on the model's device.
    classes : None, str, int, Tensor, sequence or callable, default None
        What to explain: the predicted class of each image; ``"top3"`` (any number); ``"all"``;
        one index for all images; one for each; a list of indices for each, of equal length; or a
        function that makes such indices of the logits (N, M).
    layer : str, nn.Module or sequence of them, default "auto"
        The target module, or its name as in ``model.named_modules()`` (without what
        torch.compile and the like put around it); ``auto`` takes the last spatial map before
        pooling, or a transformer's last norm before its last attention. Several give one map of
        them all, see `Explanation`. ``"NAME@2"`` is the second run of a layer that runs
        several times, side by side, in one forward pass.
    method : str, default "gradcam"
        A name in `seewhy.explanation.methods.METHODS`.
    against : int, sequence or Tensor, optional
        Ask why the explained class *rather than* these: one index for all images, N indices, or N
        lists (their mean).
        The score is then the difference of logits.
    target : callable, optional
        Turns the model's output into scores (N, M) or (N,), where that is not a tensor of
        logits: one head of several, a segmentation's sum over a mask.
    activation : {"softmax", "sigmoid"}, default "softmax"
        What makes probabilities of logits; ``sigmoid`` for classifiers of several labels. A
        single logit always takes the sigmoid, and a network that ends in either its own.
    smooth : int, default 0
        Average the maps of this many noisy copies of the images instead.
    noise : float, default 0.15
        Their standard deviation, in parts of each image's range.
    seed : int, default 0
        Of the noise, and of methods that draw.
    batch_size : int, default 32
        How many variants run at once in methods that try variants.

    Returns
    -------
    Explanation
        Detached, on the model's device.

    Raises
    ------
    ConfigError
        For an unknown method or layer, a layer without a map, classes out of range, an output
        that holds no logits, scores that are no numbers, or images that are not a float batch of
        the weights' type.

    References
    ----------
    For `smooth`: Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv 1706.03825.
    For `against`: Prabhushankar et al., "Contrastive Explanations in Neural Networks", ICIP 2020;
    there by the loss towards the other class, whose gradient is that of the difference of logits
    where the explained class is sure.

    Examples
    --------
    >>> import torch, timm
    >>> from seewhy import explain
    >>> model = timm.create_model("resnet18")
    >>> explain(model, torch.zeros(1, 3, 64, 64)).maps.shape
    torch.Size([1, 1, 2, 2])
    """
    chosen = find_method(method)
    _check(activation, smooth, batch_size)
    model = unwrapped(check_model(model))
    images = check_images(model, images).detach()
    with undisturbed(model, images), uncompiled(), matching_types(model, images):
        if images.is_inference():
            # Only a copy made outside inference mode may be kept for a backward.
            images = images.clone()
        names = chosen.layer_names(model, images, layer, target)
        answer, layers = record(model, images, names, target, chosen.graph)
        check_scores(model, images, answer.logits.detach())
        if chosen.needs in ("gradients", "curvatures"):
            check_gradients(model, answer.logits)
        elif chosen.needs in ("image gradients", "attention", "input"):
            check_gradients(model, None)
        for recorded in layers.values():
            check_dependence(images, recorded.name, recorded.maps)
        question = _question(classes, against, chosen, answer.logits.detach())
        case = MethodContext(
            model, images, answer, layers, question, target, batch_size, chosen.graph
        )
        by_layer = _smoothed(case, chosen, smooth, noise, seed) if smooth else chosen.run(case)
    return Explanation(
        maps=_fused(by_layer),
        classes=question.classes,
        logits=answer.logits.detach().float(),
        probabilities=read_probabilities(answer, activation),
        layer=", ".join(by_layer),
        method=chosen.name,
        size=(int(images.shape[2]), int(images.shape[3])),
        by_layer=by_layer,
    )


def _check(activation: str, smooth: int, batch_size: int) -> None:
    """Refuse options that make no sense, before anything runs."""
    if activation not in ("softmax", "sigmoid"):
        raise ConfigError(f"activation: expected 'softmax' or 'sigmoid', but got {activation!r}")
    whole = isinstance(smooth, int) and isinstance(batch_size, int)
    if not whole or smooth < 0 or batch_size < 1:
        raise ConfigError(
            "expected smooth to be 0 or more and batch_size 1 or more, but got "
            f"{smooth} and {batch_size}"
        )


def _question(classes: Classes, against: Classes, method: Method, logits: Tensor) -> ScoreSelection:
    chosen = read_classes(classes, logits)
    if against is not None:
        return contrast(chosen, against, logits, method.strength)
    if method.references:
        return nearest_contrast(chosen, logits, method.references, method.strength)
    return ScoreSelection(chosen)


def _smoothed(
    case: MethodContext, method: Method, copies: int, noise: float, seed: int
) -> dict[str, Tensor]:
    """Average the maps of noisy copies of the images; the question stays the clean images'."""
    images = case.images
    flat = images.flatten(1)
    spread = noise * (flat.amax(dim=1) - flat.amin(dim=1))[:, None, None, None]
    generator = torch.Generator(images.device).manual_seed(seed)
    sums: dict[str, Tensor] = {}
    for _ in range(copies):
        drawn = torch.randn(
            images.shape, generator=generator, device=images.device, dtype=images.dtype
        )
        found = method.run(case.again(images + spread * drawn))
        sums = {name: sums.get(name, 0) + maps for name, maps in found.items()}
    return {name: maps / copies for name, maps in sums.items()}


def _fused(by_layer: dict[str, Tensor]) -> Tensor:
    """Return one layer's maps as they are; of several the mean of their normalised maps."""
    if len(by_layer) == 1:
        return next(iter(by_layer.values()))
    finest = max((maps.shape[2:] for maps in by_layer.values()), key=lambda size: size.numel())
    scaled = [
        F.interpolate(normalise(maps), size=finest, mode="bilinear", align_corners=False)
        for maps in by_layer.values()
    ]
    return torch.stack(scaled).mean(dim=0)
