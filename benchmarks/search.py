"""What a search costs: whole, and a trial of it side by side with the paper's way.

    python -m benchmarks.search TRAIN.npz --test TEST.npz --size 96

First a search as a study runs it: the trunk once over all images, then the trials of each layer
count on the kept features. Then epochs as the paper ran them, with the frozen trunk in every one,
for each batch size in turn; what the same trials would have taken so is their sum.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.config import HeadConfig, StudyConfig, load_config
from seewhy.data.prepare import prepare_data
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import Head, pool
from seewhy.models.cut import cut_trunk
from seewhy.runtime.device import choose_compute, without_denormals
from seewhy.runtime.progress import Silent
from seewhy.storage.run_directory import RunDirectory
from seewhy.training.feature_cache import FeatureCache, keeping_features
from seewhy.training.learners import ModuleLearner
from seewhy.training.search.search import SearchResult, search_head
from seewhy.training.search.trial_store import TrialStore
from seewhy.training.stages import adapt
from seewhy.training.trainer import OnEpoch, StageResult, stage_settings


class Bench:
    """The images, the backbone and its kept features."""

    def __init__(self, config: StudyConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.compute = choose_compute("auto", "auto")
        size = config.input.size or 224
        self.data = prepare_data(config, size, RunDirectory(folder), Silent())
        backbone = load_backbone(config.backbone[0], size, seed=0)
        self.cut = cut_trunk(backbone.model, config.finetuning.open, size)
        for part in (backbone.model, self.cut.prefix, self.cut.tail):
            part.to(self.compute.device).eval()
        self._context = keeping_features(
            backbone, self.cut, self.data, self.compute, config, folder, Silent()
        )
        self.features: FeatureCache = self._context.__enter__()

    def head(self, config: HeadConfig) -> Head:
        """Return a new head on the device."""
        width, classes = self.features.pooled.shape[1], len(self.data.classes)
        head = Head(width, config.units, config.dropout, classes, seed=0)
        return head.to(self.compute.device)

    def search(self) -> SearchResult:
        """Search as a study does."""

        def run_trial(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
            tried = self.config.model_copy(update={"head": head})
            new, pooled = self.head(head), self.features.pooled
            return adapt(new, pooled, self.data, tried, Silent(), "", on_epoch=on_epoch)

        store = TrialStore(None, self.folder / "search.db")
        return search_head(self.config, "", store, run_trial, Silent(), "")


class _OnPooled(nn.Module):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, pooled: Tensor) -> Tensor:
        return self.head.classify(pooled)


def paper_epoch(bench: Bench, head: HeadConfig) -> float:
    """Return the seconds of one epoch with the frozen trunk run on every batch, by autograd."""
    settings = stage_settings("adaptation", head, 1, 1, head.learning_rate, 0)

    @torch.no_grad()
    def batches(chosen: NDArray[np.int64], generator: torch.Generator | None) -> Tensor:
        with bench.compute.autocast():
            return pool(bench.cut.tail(bench.features.at_cut.batch(chosen)))

    learner = ModuleLearner(
        _OnPooled(bench.head(head)),
        batches,
        bench.data.labels,
        bench.data.where("train"),
        bench.data.where("validation"),
        settings,
        bench.compute,
    )
    started = time.perf_counter()
    learner.train_epoch(1, lambda steps: None)
    learner.validate()
    return time.perf_counter() - started


def show(found: SearchResult, bench: Bench, wall: float, rounds: int) -> None:
    """Print what the search took, and what its first layer count would have taken."""
    images, channels = bench.features.pooled.shape
    once = bench.features.seconds
    print(f"{images} images, {channels} channels; the trunk's one pass {once:.1f} s")
    print(f"{len(found.trials)} trials in {wall:.1f} s with suggestions; {found.record.stopped}")
    for count in found.record.layer_counts:
        chosen = [trial for trial in found.trials if trial.layers == count.layers]
        print(
            f"  {count.layers} hidden: {count.trials} trials, {count.seconds:.1f} s, median "
            f"{statistics.median(t.seconds for t in chosen):.2f} s and "
            f"{statistics.median(t.epochs for t in chosen):.0f} epochs; best "
            f"{count.best_value:.4f} with {count.head}"
        )
    first = [trial for trial in found.trials if trial.layers == 1]
    seconds: dict[int, list[float]] = {}
    for _ in range(rounds):
        for size in sorted({trial.batch_size for trial in first}):
            took = paper_epoch(bench, HeadConfig(batch_size=size))
            seconds.setdefault(size, []).append(took)
    epoch = {size: statistics.median(found) for size, found in seconds.items()}
    listed = ", ".join(f"{took:.1f} s in batches of {size}" for size, took in epoch.items())
    print(f"an epoch as the paper ran it (medians of {rounds}): {listed}")
    theirs = sum(trial.epochs * epoch[trial.batch_size] for trial in first)
    ours = once + sum(trial.seconds for trial in first)
    print(
        f"{len(first)} trials with one hidden layer, {sum(t.epochs for t in first)} epochs: "
        f"{ours:.0f} s with the pass, as the paper ran them {theirs:.0f} s: "
        f"{theirs / ours:.0f} times as much"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--test")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = load_config(
        arguments.source,
        test=arguments.test,
        backbones=[arguments.backbone],
        settings=[f"input.size={arguments.size}", "finetuning.keep=recompute", *arguments.set],
    )
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder, without_denormals():
        bench = Bench(config, Path(folder))
        started = time.perf_counter()
        found = bench.search()
        show(found, bench, time.perf_counter() - started, arguments.rounds)


if __name__ == "__main__":
    main()
