"""What replacing a region at the cut does for a classifier: `make bench-augmentation`.

    python -m benchmarks.augmentation --data ../shared/data --weights ../shared/weights

Fine-tunes tf_efficientnet_lite0 at 96×96 on 1,800 images of CIFAR-10's stand-in with each
`finetuning.augmentation`, from the same adapted head, on clean data and on data of which one class
carries a planted mark, in all splits. All figures are of the 1,000 test images without any mark;
``marked`` is the recall of the planted class where all its test images carry it. Intervals are
Student's, over the seeds' paired differences; seconds are of the processor. What has ended is in
``--out``, a line each; the same command goes on there.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.audit import LITE0, Bench, Setting
from benchmarks.plantings import Planting
from seewhy.config import StudyConfig
from seewhy.evaluation.predictions import predict_at_cut
from seewhy.models.classifier import Head, TailAndHead
from seewhy.runtime.device import without_denormals
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.dataset import Dataset
from seewhy.training.cut_activations import CutInput
from seewhy.training.feature_cache import FeatureCache, keeping_features
from seewhy.training.memory_plan import ActivationPlan
from seewhy.training.stages import adapt, finetune, new_head
from seewhy.training.trainer import StageResult

AUGMENTATIONS = ("none", "erasing", "focus")
SETTING = Setting("augmentation", LITE0, 96, 10, 2000, 1000, "finetuning", 0, 0, 5000)
CLEAN = Planting("clean", "all", 0, 0.0, 5000)
CASES = (
    CLEAN,
    Planting("square", "fixed", 3, 0.85, 5001),
    Planting("disc", "fixed", 8, 0.5, 5002),
    Planting("square", "fixed", 5, 0.6, 5003),
)
EPOCHS = 3

Line = dict[str, Any]


class Case:
    """One data set, clean or planted, with the activations that all its trainings share."""

    def __init__(
        self, bench: Bench, planting: Planting, features: FeatureCache, data: Dataset
    ) -> None:
        self.bench, self.planting = bench, planting
        self.features, self.data = features, data
        test = data.where("test")
        # Unmarked, and all of the planted class marked.
        self.unmarked = bench.data.pixels[test]
        self.labels = data.labels[test]
        own = self.unmarked[self.labels == planting.label]
        self.marked = own
        if planting.kind != "clean":
            put, rng = planting.put(own.shape[1]), np.random.default_rng([planting.seed, 9])
            self.marked = np.stack([put(image, rng) for image in own])

    def head(self, seed: int) -> Head:
        """Adapt a head on the trunk's pooled features."""
        config = _config(seed, "none")
        head = new_head(self.features.pooled, config, self.data.classes)
        adapt(head, self.features.pooled, self.data, config, Silent(), "")
        return head

    def line(self, seed: int, augmentation: str, head: Head) -> Line:
        """Fine-tune a copy of the tail behind a copy of `head`; return what came of it."""
        tail_and_head = TailAndHead(copy.deepcopy(self.bench.trainer.cut.tail), copy.deepcopy(head))
        started = time.process_time()
        result: StageResult = finetune(
            tail_and_head,
            self.features.at_cut,
            self.data,
            _config(seed, augmentation),
            self.bench.trainer.compute,
            Silent(),
            "",
        )
        seconds = time.process_time() - started
        right = self._predicted(tail_and_head, self.unmarked) == self.labels
        marked = self._predicted(tail_and_head, self.marked) == self.planting.label
        classes = range(len(self.data.classes))
        return {
            "kind": self.planting.kind,
            "class": self.data.classes[self.planting.label],
            "label": self.planting.label,
            "rate": self.planting.rate,
            "case": self.planting.seed,
            "seed": seed,
            "augmentation": augmentation,
            "accuracy": float(right.mean()),
            "recalls": [float(right[self.labels == k].mean()) for k in classes],
            "marked": float(marked.mean()),
            "best_epoch": result.best_epoch,
            "seconds": seconds / len(result.history),
        }

    def _predicted(
        self, tail_and_head: TailAndHead, pixels: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        data = Dataset(
            source="",
            classes=self.data.classes,
            ids=tuple(map(str, range(len(pixels)))),
            paths=("",) * len(pixels),
            labels=np.zeros(len(pixels), np.int64),
            splits=("test",) * len(pixels),  # type: ignore[arg-type]
            pixels=pixels,
        )
        trainer = self.bench.trainer
        fed = CutInput(
            data,
            trainer.backbone.preprocess,
            trainer.cut.prefix,
            trainer.compute,
            ActivationPlan("recompute", ""),
        )
        every = np.arange(len(pixels))
        return predict_at_cut(tail_and_head, fed.batch, data, every, trainer.compute).predicted


def _config(seed: int, augmentation: str) -> StudyConfig:
    tuned = {"epochs": EPOCHS, "augmentation": augmentation, "keep": "memory"}
    return StudyConfig.model_validate({"seed": seed, "finetuning": tuned})


def table(lines: Sequence[Line]) -> str:
    """Return the result as Markdown: clean data, then a line a planting."""
    clean = _by_augmentation([line for line in lines if line["kind"] == "clean"])
    text = [
        "| clean data | test accuracy | against none | seconds an epoch |",
        "|---|---|---|---|",
    ]
    plain = {seed: line["accuracy"] for seed, line in clean["none"].items()}
    for name, found in clean.items():
        accuracies = {seed: line["accuracy"] for seed, line in found.items()}
        seconds = median(line["seconds"] for line in found.values())
        text.append(
            f"| {name} | {mean(accuracies.values()):.3f} ± {stdev(accuracies.values()):.3f} | "
            f"{_against(accuracies, plain) if name != 'none' else ''} | {seconds:.1f} |"
        )
    text += [
        "",
        "| planted | marked, none | trained clean | none | erasing | focus "
        "| erasing against none | focus against none | won back: erasing | focus |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(line["case"] for line in lines if line["kind"] != "clean"):
        text.append(_planted([line for line in lines if line["case"] == case], clean["none"]))
    return "\n".join(text)


def _planted(lines: Sequence[Line], clean: dict[int, Line]) -> str:
    label = lines[0]["label"]
    found = {
        name: {seed: line["recalls"][label] for seed, line in some.items()}
        for name, some in _by_augmentation(lines).items()
    }
    trained_clean = mean(clean[seed]["recalls"][label] for seed in found["none"])
    lost = trained_clean - mean(found["none"].values())
    marked = mean(line["marked"] for line in lines if line["augmentation"] == "none")
    won = [
        f"{(mean(found[name].values()) - mean(found['none'].values())) / lost:.0%}"
        for name in AUGMENTATIONS[1:]
    ]
    shown = [f"{mean(found[name].values()):.3f}" for name in AUGMENTATIONS]
    differences = [_against(found[name], found["none"]) for name in AUGMENTATIONS[1:]]
    about = f"{lines[0]['kind']} in {lines[0]['rate']:.0%} of {lines[0]['class']}"
    cells = [about, f"{marked:.3f}", f"{trained_clean:.3f}", *shown, *differences, *won]
    return f"| {' | '.join(cells)} |"


def _by_augmentation(lines: Sequence[Line]) -> dict[str, dict[int, Line]]:
    return {
        name: {line["seed"]: line for line in lines if line["augmentation"] == name}
        for name in AUGMENTATIONS
    }


def _against(values: dict[int, float], reference: dict[int, float]) -> str:
    """Say how far values lie from those of the same seeds, with a 95 % interval."""
    differences = [value - reference[seed] for seed, value in values.items()]
    middle = mean(differences)
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return f"{middle:+.3f} [{middle - half:+.3f}, {middle + half:+.3f}]"


def _read(path: Path) -> list[Line]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def run(given: argparse.Namespace) -> None:
    """Train what is missing in ``given.out``: a line each, one seed on all data sets by another."""
    done = {(line["case"], line["seed"], line["augmentation"]) for line in _read(given.out)}
    bench = Bench(SETTING, given.data, given.weights)
    with ExitStack() as kept:
        cases = [_case(bench, planting, kept) for planting in CASES]
        for seed, case in itertools.product(range(given.seeds), cases):
            missing = [
                name for name in AUGMENTATIONS if (case.planting.seed, seed, name) not in done
            ]
            if not missing:
                continue
            head = case.head(seed)
            for name in missing:
                line = case.line(seed, name, head)
                with given.out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(line) + "\n")


def _case(bench: Bench, planting: Planting, kept: ExitStack) -> Case:
    data, _ = bench.planted(planting)
    folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
    config = _config(0, "none")
    backbone, cut, compute = bench.trainer.backbone, bench.trainer.cut, bench.trainer.compute
    features = kept.enter_context(
        keeping_features(backbone, cut, data, compute, config, folder, Silent())
    )
    return Case(bench, planting, features, data)


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the stand-in's files")
    parser.add_argument("--weights", type=Path, required=True, help="folder of weights")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-augmentation.jsonl"))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with without_denormals():
        run(given)
    print(table(_read(given.out)))


if __name__ == "__main__":
    main()
