"""What is measured on one batch: the given maps, random maps and a Gaussian, side by side.

The part of ``faithfulness.py`` that touches the network; knows nothing of statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from seewhy.errors import ConfigError
from seewhy.explanation.measures.curves import (
    Predict,
    area,
    class_probability,
    confidence_change,
    exchange_curve,
    road,
)
from seewhy.explanation.measures.localisation import energy_inside, gini, overlap, pointing_hits
from seewhy.explanation.measures.pixel_removal import find_baseline, ranks
from seewhy.explanation.measures.reference_maps import (
    named_generator,
    rearranged,
    reference_patterns,
)
from seewhy.explanation.targets import Activation, Target


@dataclass(frozen=True)
class Settings:
    """What `measure_faithfulness` received."""

    seed: int
    steps: int
    baselines: tuple[str, ...]
    road_shares: tuple[float, ...]
    random_maps: int
    iou_threshold: float
    target: Target | None
    activation: Activation

    def check(self, batch_size: int, draws: int) -> None:
        """Refuse counts, shares and names that make no sense."""
        counts = {"steps": self.steps, "random_maps": self.random_maps}
        counts.update(batch_size=batch_size, draws=draws)
        for name, value in counts.items():
            if value < 1:
                raise ConfigError(f"expected {name} to be at least 1, but got {value}")
        for name in self.baselines:
            find_baseline(name)
        shares = {"road_shares": self.road_shares, "iou_threshold": (self.iou_threshold,)}
        for name, values in shares.items():
            if not all(0 < value < 1 for value in values):
                raise ConfigError(f"expected {name} between 0 and 1, but got {values}")


@dataclass(frozen=True)
class CheckedInput:
    """What came with the images, checked, on the CPU."""

    maps: Tensor  # (N, h, w) float32
    classes: Tensor  # (N,) int64
    masks: Tensor  # (N, H', W') bool; (N, 1, 1) False where none were given
    filled: Tensor | None = None  # (N, 4) float64: left, top, right, bottom; None: all of each

    @classmethod
    def read(
        cls,
        maps: ArrayLike | Tensor,
        classes: ArrayLike | Tensor,
        masks: ArrayLike | Tensor | None,
        filled: ArrayLike | Tensor | None = None,
    ) -> CheckedInput:
        """Check the arrays and bring them into one form."""
        found = torch.as_tensor(maps).detach().float().cpu()
        if found.ndim != 3 or 0 in found.shape or not bool(found.isfinite().all()):
            raise ConfigError(
                f"expected finite maps (N, h, w), one an image, but got {tuple(found.shape)}"
            )
        chosen = torch.as_tensor(classes).detach().cpu()
        if chosen.shape != found.shape[:1] or chosen.is_floating_point():
            raise ConfigError(
                f"expected classes to be one index for each of {len(found)} maps, but got "
                f"{tuple(chosen.shape)} of {chosen.dtype}"
            )
        objects = torch.zeros(len(found), 1, 1, dtype=torch.bool)
        if masks is not None:
            objects = torch.as_tensor(masks).detach().cpu().bool()
        if objects.ndim != 3 or len(objects) != len(found):
            raise ConfigError(
                f"expected one mask (H, W) for each of {len(found)} maps, but got "
                f"{tuple(objects.shape)}"
            )
        return cls(found, chosen.long(), objects, _boxes(filled, len(found)))

    @property
    def empty(self) -> Tensor:
        """Which maps say nothing, (N,) bool."""
        return self.maps.amax(dim=(1, 2)) <= 0

    def batches(
        self, images: Tensor | Iterable[Tensor], size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the numbers (n,) of images with a map, and the images (n, C, H, W)."""
        count = len(self.maps)
        done = 0
        for batch in [images] if isinstance(images, Tensor) else images:
            if batch.ndim != 4 or done + len(batch) > count:
                raise ConfigError(
                    f"expected {count} images (N, C, H, W), one a map, but got "
                    f"{tuple(batch.shape)} after {done}"
                )
            numbers = torch.arange(done, done + len(batch))
            numbers = numbers[~self.empty[numbers]]
            for start in range(0, len(numbers), size):
                part = numbers[start : start + size]
                yield part, batch[(part - done).to(batch.device)]
            done += len(batch)
        if done != count:
            raise ConfigError(f"expected one image for each of {count} maps, but got {done}")


def _boxes(filled: ArrayLike | Tensor | None, count: int) -> Tensor | None:
    """Check the parts of the images that are no padding."""
    if filled is None:
        return None
    boxes = torch.as_tensor(filled).detach().cpu().double()
    if boxes.shape != (count, 4):
        raise ConfigError(
            f"expected filled to be one box (4,) for each of {count} maps, but got "
            f"{tuple(boxes.shape)}"
        )
    low, high = boxes[:, :2], boxes[:, 2:]
    if not bool(((low >= 0) & (low < high) & (high <= 1)).all()):
        raise ConfigError(
            "expected filled to be left, top, right and bottom as shares of the sides, each left "
            "below its right and each top below its bottom"
        )
    return boxes


@dataclass(frozen=True)
class BatchScores:
    """What one batch gave; V: the maps, R random maps and the Gaussian, in this order."""

    measures: dict[str, Tensor]  # (V, n) each
    curves: dict[str, Tensor]  # (V, n, steps + 1) each
    masked: Tensor  # (n,) bool
    passes: int


def score_batch(
    model: nn.Module, images: Tensor, numbers: Tensor, given: CheckedInput, settings: Settings
) -> BatchScores:
    """Score one batch's maps and those they are compared with."""
    ask = class_probability(
        model, given.classes[numbers].to(images.device), settings.target, settings.activation
    )
    passes = 0

    def predict(batch: Tensor) -> Tensor:
        nonlocal passes
        passes += len(batch)
        return ask(batch)

    maps, size = given.maps[numbers], (images.shape[2], images.shape[3])
    masks = F.interpolate(given.masks[numbers][:, None].float(), size=size)[:, 0] > 0
    places = (maps.shape[1], maps.shape[2])
    patterns, ties = reference_patterns(
        numbers,
        places,
        settings.seed,
        settings.random_maps,
        None if given.filled is None else given.filled[numbers],
    )
    around = _BatchContext(predict, images, numbers, settings)
    measures: dict[str, list[Tensor]] = {}
    curves: dict[str, list[Tensor]] = {}
    # Reading the order of a random map needs no values; its own are without equals.
    for variant, pattern in enumerate([maps, *patterns]):
        placed = rearranged(maps, pattern) if variant else maps
        ranked = ranks(pattern.to(images.device), ties.to(images.device), size)
        found = around.curves(ranked)
        scores = {name: area(curve) for name, curve in found.items()}
        scores.update(around.confidence(placed.to(images.device), ranked))
        scores["sparseness"] = gini(pattern)
        scores["pointing_game"] = pointing_hits(placed, masks)
        scores["energy_inside"] = energy_inside(placed, masks)
        scores["iou"] = overlap(placed, masks, settings.iou_threshold)
        for name, values in scores.items():
            measures.setdefault(name, []).append(values.float().cpu())
        for name, values in found.items():
            curves.setdefault(name, []).append(values.float().cpu())
    return BatchScores(
        {name: torch.stack(values) for name, values in measures.items()},
        {name: torch.stack(values) for name, values in curves.items()},
        masks.flatten(1).any(dim=1),
        passes,
    )


class _BatchContext:
    """One batch of images and what is needed of it for every map: baselines, noise, ends."""

    def __init__(
        self, predict: Predict, images: Tensor, numbers: Tensor, settings: Settings
    ) -> None:
        self.predict = predict
        self.images = images
        self.settings = settings
        self.before = predict(images)
        self.baselines = {name: find_baseline(name)(images) for name in settings.baselines}
        self.after = {name: predict(baseline) for name, baseline in self.baselines.items()}
        self.noise = _noise(images, numbers, settings.seed)

    def curves(self, ranked: Tensor) -> dict[str, Tensor]:
        """Return the deletion and insertion curves (n, steps + 1) of one map an image."""
        steps, found = self.settings.steps, {}
        for name, baseline in self.baselines.items():
            ends = (self.before, self.after[name])
            found[f"deletion_{name}"] = exchange_curve(
                self.predict, self.images, baseline, ranked, steps, ends
            )
            found[f"insertion_{name}"] = exchange_curve(
                self.predict, baseline, self.images, ranked, steps, ends[::-1]
            )
        return found

    def confidence(self, placed: Tensor, ranked: Tensor) -> dict[str, Tensor]:
        """Return average drop and increase, and ROAD, (n,) each."""
        drop, increase = confidence_change(self.predict, self.images, placed, self.before)
        found = {"average_drop": drop, "average_increase": increase}
        if self.settings.road_shares:
            most, least = road(
                self.predict, self.images, ranked, self.settings.road_shares, self.noise
            )
            found["road_morf"], found["road_lerf"] = most.mean(dim=1), least.mean(dim=1)
            found["road"] = (found["road_lerf"] - found["road_morf"]) / 2
        return found


def _noise(images: Tensor, numbers: Tensor, seed: int) -> Tensor:
    """Draw standard normal noise (n, C, H, W); an image's depends on the seed and its number."""
    drawn = []
    for number in numbers.tolist():
        generator = named_generator(seed, number, "noise")
        drawn.append(torch.randn(images.shape[1:], generator=generator))
    return torch.stack(drawn).to(images.device)
