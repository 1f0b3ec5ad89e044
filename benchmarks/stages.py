"""What kept features and maps cost and save, side by side in one run: `make bench`.

    python -m benchmarks.stages --backbone vgg16 --images 256 --size 96 --rounds 5

Three comparisons a backbone: an adaptation epoch on kept features against one that runs the
trunk; a fine-tuning epoch from kept activations against the full path; prediction with maps
against prediction alone. Images and weights are random: the time does not depend on them.
"""

from __future__ import annotations

import argparse
import functools
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.side_by_side import measure, show
from seewhy.config import BackboneConfig, StudyConfig
from seewhy.explanation.streaming import explain_batches
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import Head, TailAndHead, map_layer, pool
from seewhy.models.cut import Cut, cut_trunk
from seewhy.runtime.device import Compute, choose_compute
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training.feature_cache import BATCH, FeatureCache, keeping_features
from seewhy.training.learners import Batches, HeadLearner, ModuleLearner
from seewhy.training.trainer import StageSettings, train_stage

CLASSES = 10


@dataclass(frozen=True)
class Case:
    """One backbone at one size on so many images."""

    backbone: str
    size: int
    images: int
    device: str
    precision: str


class Bench:
    """All that the ways share: data, backbone, cut, head."""

    def __init__(self, case: Case) -> None:
        self.compute: Compute = choose_compute(case.device, case.precision)
        config = BackboneConfig(name=case.backbone, weights="none")
        self.backbone: Backbone = load_backbone(config, case.size, seed=0)
        self.cut: Cut = cut_trunk(self.backbone.model, 0.5, case.size)
        for part in (self.backbone.model, self.cut.prefix, self.cut.tail):
            part.to(self.compute.device).eval()
        rng = np.random.default_rng(0)
        self.data = Dataset(
            source="random",
            classes=tuple(map(str, range(CLASSES))),
            ids=tuple(map(str, range(case.images))),
            paths=tuple(map(str, range(case.images))),
            labels=rng.integers(0, CLASSES, case.images),
            splits=("train",) * (case.images - BATCH) + ("validation",) * BATCH,
            pixels=rng.integers(0, 256, (case.images, 32, 32, 3), dtype=np.uint8),
        )

    def features(self, keep: str) -> FeatureCache:
        """Run the pass over the images; what is kept stays for the process's life."""
        config = StudyConfig.model_validate(
            {"backbone": [{"name": "-"}], "finetuning": {"keep": keep}}
        )
        self._folder = tempfile.TemporaryDirectory()
        self._context = keeping_features(
            self.backbone,
            self.cut,
            self.data,
            self.compute,
            config,
            Path(self._folder.name),
            Silent(),
        )
        return self._context.__enter__()

    def head(self) -> Head:
        """Return a new head on the device."""
        with torch.no_grad():
            image = torch.zeros(1, 3, self.backbone.preprocess.size, self.backbone.preprocess.size)
            width = self.cut.tail(self.cut.prefix(image.to(self.compute.device))).shape[1]
        return Head(width, (256,), 0.3, CLASSES, seed=0).to(self.compute.device)

    def settings(self) -> StageSettings:
        """Return how one epoch is trained."""
        return StageSettings("finetuning", 1, 5, 1e-4, 64, "cross-entropy", 0)

    def epoch(self, module: nn.Module, batches: Batches) -> None:
        """Train one epoch through autograd and validate, as a stage does."""
        settings = self.settings()
        learner = ModuleLearner(
            module,
            batches,
            self.data.labels,
            self.data.where("train"),
            self.data.where("validation"),
            settings,
            self.compute,
        )
        train_stage(learner, settings, Silent(), "")

    def epoch_on_pooled(self, head: Head, pooled: Tensor) -> None:
        """Train one epoch of a head and validate, as adaptation does."""
        settings = self.settings()
        train, validation = self.data.where("train"), self.data.where("validation")
        learner = HeadLearner(head, pooled, self.data.labels, train, validation, settings)
        train_stage(learner, settings, Silent(), "")


class _OnPooled(nn.Module):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, pooled: Tensor) -> Tensor:
        return self.head.classify(pooled)


def adaptation_kept(case: Case) -> Callable[[], None]:
    """Return an adaptation epoch on pooled features that were computed before."""
    bench = Bench(case)
    pooled = bench.features("recompute").pooled
    head = bench.head()
    return lambda: bench.epoch_on_pooled(head, pooled)


def adaptation_trunk(case: Case) -> Callable[[], None]:
    """Return the same epoch with the frozen trunk run on every batch."""
    bench = Bench(case)
    at_cut = bench.features("recompute").at_cut
    module = _OnPooled(bench.head())

    @torch.no_grad()
    def batches(chosen: NDArray[np.int64], generator: torch.Generator | None) -> Tensor:
        activations = at_cut.batch(chosen)
        with bench.compute.autocast():
            return pool(bench.cut.tail(activations))

    return lambda: bench.epoch(module, batches)


def finetuning(case: Case, keep: str) -> Callable[[], None]:
    """Return a fine-tuning epoch; `keep` says where its input comes from."""
    bench = Bench(case)
    at_cut = bench.features(keep).at_cut
    module = TailAndHead(bench.cut.tail, bench.head())
    module.requires_grad_(True)
    return lambda: bench.epoch(module, at_cut.batch)


def prediction(case: Case, maps: bool) -> Callable[[], None]:
    """Predict every image from its pixels, with or without maps."""
    bench = Bench(case)
    at_cut = bench.features("recompute").at_cut
    module = TailAndHead(bench.cut.tail, bench.head()).eval().requires_grad_(False)
    indices = np.arange(case.images)
    layer = map_layer(bench.cut)

    def batches() -> list[NDArray[np.int64]]:
        return [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]

    def plain() -> None:
        with torch.no_grad(), bench.compute.autocast():
            for chosen in batches():
                module(at_cut.batch(chosen)).softmax(dim=1).cpu()

    def with_maps() -> None:
        with bench.compute.autocast():
            explain_batches(module, (at_cut.batch(chosen) for chosen in batches()), layer)

    return with_maps if maps else plain


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", action="append")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    print(
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}; "
        f"{arguments.images} images at {arguments.size} pixels, {arguments.rounds} rounds"
    )
    for name in arguments.backbone or ["vgg16", "tf_efficientnet_lite0"]:
        case = Case(name, arguments.size, arguments.images, arguments.device, arguments.precision)
        comparisons = {
            "adaptation epoch": {
                "on kept features": functools.partial(adaptation_kept, case),
                "running the trunk": functools.partial(adaptation_trunk, case),
            },
            "fine-tuning epoch": {
                "from kept activations": functools.partial(finetuning, case, "memory"),
                "the full path": functools.partial(finetuning, case, "recompute"),
            },
            "prediction": {
                "alone": functools.partial(prediction, case, False),
                "with maps": functools.partial(prediction, case, True),
            },
        }
        for title, ways in comparisons.items():
            show(f"{name}: {title}", measure(ways, arguments.rounds))


if __name__ == "__main__":
    main()
