"""What a classifier says while an image loses or gains its relevant parts.

Pure functions of tensors over one callable, the probability of the explained class; knows
nothing of how maps were made, of masks or of statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.endings import ask
from seewhy.explanation.measures.imputation import impute
from seewhy.explanation.measures.pixel_removal import mean_colour, removed, resized
from seewhy.explanation.targets import Activation, Target, read_probabilities

Predict = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to the probability of each one's explained class, (N,)."""

# Hides that a pixel was imputed; the authors' 0.01 on normalised images.
_NOISE = 0.01


def class_probability(
    model: nn.Module,
    classes: Tensor,
    target: Target | None = None,
    activation: Activation = "softmax",
) -> Predict:
    """Return the function that asks a classifier for the probability of one class per image, (N,).

    The caller's autocast applies to the model, which is in evaluation mode; probabilities are
    float32. `target` and `activation` are as `seewhy.explain` takes them; a single logit z stands
    for two classes, of probability 1 − σ(z) and σ(z). When called, it raises ConfigError where the
    output holds no logits, or not those classes.
    """

    def predict(images: Tensor) -> Tensor:
        answer = ask(model, partial(model, images), target, len(images))
        known = answer.logits.shape[1]
        if not 0 <= int(classes.min()) <= int(classes.max()) < known:
            raise ConfigError(
                f"expected classes in 0 … {known - 1}, but got {int(classes.min())} … "
                f"{int(classes.max())}"
            )
        with torch.autocast(images.device.type, enabled=False):
            return read_probabilities(answer, activation).gather(1, classes[:, None])[:, 0]

    return predict


def exchange_curve(
    predict: Predict,
    start: Tensor,
    end: Tensor,
    ranked: Tensor,
    steps: int,
    ends: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Follow the probability while `start` is exchanged for `end`, most relevant pixels first.

    From the images to a baseline this is deletion, from a baseline to the images insertion.

    Parameters
    ----------
    predict : callable
    start, end : Tensor, (N, C, H, W)
    ranked : Tensor, (N, H, W) int64
        From `pixel_removal.ranks`.
    steps : int
        Equal shares of the pixels.
    ends : pair of Tensor (N,), optional
        The probabilities of `start` and `end`, where they are known already.

    Returns
    -------
    Tensor, (N, steps + 1)
        At 0, 1/steps, …, 1 of the pixels exchanged.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models",
    BMVC 2018 (deletion and insertion).
    """
    first, last = ends if ends is not None else (predict(start), predict(end))
    between = [
        predict(torch.where(removed(ranked, step / steps), end, start)) for step in range(1, steps)
    ]
    return torch.stack([first, *between, last], dim=1)


def area(curves: Tensor) -> Tensor:
    """Return the area (N,) under curves (N, S + 1) over 0 … 1, by the trapezoidal rule."""
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)


def confidence_change(
    predict: Predict, images: Tensor, maps: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Show the network only what the map shows, and measure how its confidence changes.

    .. math:: \mathrm{drop} = \max(0, Y - O) / Y, \qquad \mathrm{increase} = [Y < O]

    with Y the probability of the explained class for the image and O for the image times its
    map (scaled to a maximum of 1); where the map is zero the image fades to its mean colour.
    From images (N, C, H, W), maps (N, h, w), whose negative values count as zero, and Y (N,) to a
    drop in 0 … 1, good when low, and an increase of 0 or 1, good when high, (N,) each.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep
    Convolutional Networks", WACV 2018 (average drop, increase in confidence).
    """
    tiny = torch.finfo(torch.float32).tiny
    shown = resized(maps, (images.shape[2], images.shape[3])).clamp_min(0)
    shown = (shown / shown.amax(dim=(1, 2), keepdim=True).clamp_min(tiny))[:, None]
    faded = mean_colour(images)
    after = predict((faded + shown * (images - faded)).to(images.dtype))
    drop = (before - after).clamp_min(0) / before.clamp_min(tiny)
    return drop, (after > before).to(drop)


def road(
    predict: Predict, images: Tensor, ranked: Tensor, shares: Sequence[float], noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Remove and debias: take pixels away by noisy linear imputation, from both ends.

    Parameters
    ----------
    predict : callable
    images : Tensor, (N, C, H, W)
    ranked : Tensor, (N, H, W) int64
        From `pixel_removal.ranks`.
    shares : sequence of float
        Shares of the pixels taken away, between 0 and 1.
    noise : Tensor, (N, C, H, W)
        Standard normal; a hundredth of each image's deviation of it is added where pixels were
        imputed.

    Returns
    -------
    most_first, least_first : Tensor, (N, len(shares))
        Probabilities after the most (MoRF) and the least (LeRF) relevant pixels were taken away.

    References
    ----------
    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
    ICML 2022.
    """
    deviation = images.float().flatten(1).std(dim=1)[:, None, None, None]
    found: list[list[Tensor]] = [[], []]
    for least in (False, True):
        for share in shares:
            gone = removed(ranked, share, least)
            filled = impute(images, gone) + _NOISE * deviation * noise * gone
            found[least].append(predict(filled.to(images.dtype)))
    return torch.stack(found[False], dim=1), torch.stack(found[True], dim=1)
