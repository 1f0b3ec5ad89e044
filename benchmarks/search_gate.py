"""Whether the search pays: test images with it and without, on several data sets and seeds.

    python -m benchmarks.search_gate --data ../shared/data --out runs/search-gate.jsonl

For each set and seed the features are computed once. Then both stages are trained with the default
settings (``none``), after a search for a head, where folds accept what it found (``head``), and
after a search for fine-tuning's settings as a study runs it (``finetuning``). The seed draws which
images are trained on, which ones validate, and all training. Each way's result is one line of the
file; a line that is there is not computed again. The table is printed at the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clean_sets import divided, read_set
from benchmarks.peers.images import draw_standin
from seewhy.config import FinetuningConfig, HeadConfig, Metric, StudyConfig
from seewhy.data.folds import Repetition, fold_repetitions
from seewhy.evaluation.predictions import predict_at_cut, predict_pooled
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import Head, TailAndHead
from seewhy.models.cut import Cut, cut_trunk
from seewhy.pipeline.backbone import with_head
from seewhy.pipeline.finetuning_search import as_update
from seewhy.runtime.device import Compute, choose_compute, without_denormals
from seewhy.runtime.progress import Silent
from seewhy.statistics.classification import measure
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset
from seewhy.storage.schemas.predictions import Predictions
from seewhy.training.feature_cache import FeatureCache, keeping_features
from seewhy.training.head_choice import choose_head
from seewhy.training.search.acceptance import FOLDS, HeldOut, judge
from seewhy.training.search.finetuning_search import search_finetuning
from seewhy.training.search.search import search_head
from seewhy.training.search.trial_store import TrialStore
from seewhy.training.stages import adapt, finetune, new_head, with_finetuning_rate
from seewhy.training.trainer import OnEpoch, StageResult

WAYS = ("none", "head", "finetuning")
# Trials of each layer count of the head, as in the paper; candidates for fine-tuning's settings.
TRIALS, CANDIDATES = 35, 9
LITE0 = "tf_efficientnet_lite0"
# Names, and the side of the input in pixels.
SETS = {
    "standin-2000": 96,
    "standin-4000": 96,
    "standin-10000": 96,
    "imagenette": 160,
    "pacs": 160,
    "tiles": 160,
    "photos": 160,
}

FIGURES: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "log_loss")
# Classes of very unequal sizes: accuracy would say little.
METRICS = {"tiles": "balanced_accuracy"}

Record = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """One data set and seed, its backbone, and the features of its images."""

    config: StudyConfig
    data: Dataset
    compute: Compute
    cut: Cut
    features: FeatureCache
    folder: Path

    def head(self, config: StudyConfig) -> Head:
        """Return a head that adaptation has trained."""
        head = new_head(self.features.pooled, config, self.data.classes)
        adapt(head, self.features.pooled, self.data, config, Silent(), "")
        return head

    def fine_tuned(
        self, config: StudyConfig, head: Head, data: Dataset | None = None
    ) -> tuple[TailAndHead, StageResult]:
        """Return copies of the tail and of a head that are fine-tuned."""
        both = TailAndHead(copy.deepcopy(self.cut.tail), copy.deepcopy(head))
        of = self.data if data is None else data
        result = finetune(both, self.features.at_cut, of, config, self.compute, Silent(), "")
        return both, result


def read(name: str, data: Path, seed: int) -> Dataset:
    """Read a data set at its size in `SETS`, with the splits that the seed draws."""
    set_name, _, images = name.partition("-")
    if set_name == "standin":
        return divided(draw_standin(data, SETS[name], seed, int(images)), seed)
    return divided(read_set(set_name, data, SETS[name]), seed)


@contextmanager
def prepared(
    name: str, backbone: str, weights: str | None, data: Path, seed: int
) -> Iterator[Prepared]:
    """Compute the features of one data set and seed."""
    chosen: dict[str, Any] = {"name": backbone, **({"weights": weights} if weights else {})}
    config = StudyConfig.model_validate(
        {"backbone": [chosen], "seed": seed, "input": {"size": SETS[name]}}
    )
    images, compute = read(name, data, seed), choose_compute("cpu", "float32")
    found = load_backbone(config.backbone[0], SETS[name], 0)
    cut = cut_trunk(found.model, config.finetuning.open, SETS[name])
    for part in (found.model, cut.prefix, cut.tail):
        part.eval()
    with (
        tempfile.TemporaryDirectory() as place,
        keeping_features(found, cut, images, compute, config, Path(place), Silent()) as features,
    ):
        config = with_finetuning_rate(config, cut.tail)
        yield Prepared(config, images, compute, cut, features, Path(place))


def without_search(given: Prepared) -> Record:
    """Train both stages with the default settings: few images have a head that is fitted."""
    choice = choose_head(given.features.pooled, given.data, given.config)
    config = with_head(given.config, choice.head)
    return _scored(given, config, given.head(config), {"kind": choice.head.kind})


def with_head_search(given: Prepared) -> Record:
    """Search for a network head, then train both stages."""
    search = given.config.search.model_copy(update={"trials": TRIALS})
    network = given.config.head.model_copy(update={"kind": "network"})
    config = given.config.model_copy(update={"search": search, "head": network})

    def run_trial(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        tried = config.model_copy(update={"head": head})
        fresh = new_head(given.features.pooled, tried, given.data.classes)
        return adapt(
            fresh, given.features.pooled, given.data, tried, Silent(), "", on_epoch=on_epoch
        )

    store, started = TrialStore(None, given.folder / "trials.db"), time.perf_counter()
    images = len(given.data.where("validation"))
    found = search_head(config, "gate", store, run_trial, Silent(), "", images=images)
    searched = with_head(config, found.record)
    judged = judge(
        lambda: _compared(given, (config, searched), "adaptation"), "accuracy", config.seed, "head"
    )
    best = found.record.head
    note = {"units": best.units, "learning_rate": best.learning_rate, "trials": len(found.trials)}
    note |= {"accepted": judged.accepted, "reason": judged.reason}
    note["search_seconds"] = round(time.perf_counter() - started, 1)
    if judged.accepted:
        return _scored(given, searched, given.head(searched), note)
    # What a study does then is what it does without a search.
    test = given.data.where("test")
    adapted = predict_pooled(given.head(searched), given.features.pooled, given.data, test)
    return {**_figures("adaptation", adapted), **note}


def with_finetuning_search(given: Prepared) -> Record:
    """Search for fine-tuning's settings as a study does, then fine-tune."""
    search = given.config.search.model_copy(update={"finetuning_trials": CANDIDATES})
    choice = choose_head(given.features.pooled, given.data, given.config)
    config = with_head(given.config.model_copy(update={"search": search}), choice.head)
    head = given.head(config)

    def run(settings: FinetuningConfig) -> tuple[float, float]:
        _, result = given.fine_tuned(_with(config, settings), head)
        return result.best_validation_accuracy, result.best_validation_loss

    def compare(configured: FinetuningConfig, best: FinetuningConfig) -> HeldOut:
        configs = _with(config, configured), _with(config, best)
        return _compared(given, configs, "finetuning")

    started = time.perf_counter()
    found = search_finetuning(config, run, compare, Silent(), "")
    spent = round(time.perf_counter() - started, 1)
    if found.chosen:
        config = _with(config, config.finetuning.model_copy(update=as_update(found)))
    note = {"stopped": found.stopped, "accepted": found.chosen > 0, "search_seconds": spent}
    return _scored(given, config, head, {**note, **found.settings.model_dump()})


def _compared(given: Prepared, configs: tuple[StudyConfig, StudyConfig], stage: Stage) -> HeldOut:
    """Train with two configurations, up to a stage, on the folds of the training images."""
    config, features = configs[0], given.features
    folds = fold_repetitions(given.data, FOLDS, config.data.validation, config.seed)

    def answers(config: StudyConfig, fold: Repetition) -> NDArray[np.float32]:
        head = new_head(features.pooled, config, fold.data.classes)
        adapt(head, features.pooled, fold.data, config, Silent(), "")
        of = fold.held_out
        if stage == "adaptation":
            return predict_pooled(head, features.pooled, given.data, of).probabilities
        both, _ = given.fine_tuned(config, head, fold.data)
        batch = features.at_cut.batch
        return predict_at_cut(both, batch, given.data, of, given.compute).probabilities

    one, other = (
        np.concatenate([answers(config, fold) for fold in folds]).astype(np.float64)
        for config in configs
    )
    order = np.concatenate([fold.held_out for fold in folds])
    return HeldOut(given.data.labels[order], one, other)


def _with(config: StudyConfig, settings: FinetuningConfig) -> StudyConfig:
    return config.model_copy(update={"finetuning": settings})


def _scored(given: Prepared, config: StudyConfig, head: Head, note: Record) -> Record:
    """Fine-tune, and judge both stages on the test images."""
    both, _ = given.fine_tuned(config, head)
    test = given.data.where("test")
    adapted = predict_pooled(head, given.features.pooled, given.data, test)
    tuned = predict_at_cut(both, given.features.at_cut.batch, given.data, test, given.compute)
    return {
        **_figures("adaptation", adapted),
        **_figures("finetuning", tuned),
        **note,
    }


def _figures(stage: str, found: Predictions) -> Record:
    shares = found.probabilities.astype(np.float64)
    return {
        f"{stage}_{name}": measure(name, found.labels, found.predicted, shares) for name in FIGURES
    }


RUN = {"none": without_search, "head": with_head_search, "finetuning": with_finetuning_search}


def read_lines(path: Path) -> list[Record]:
    """Return the results that are there."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def measure_all(wanted: argparse.Namespace) -> None:
    """Compute what is missing, one line each."""
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    there = {_key(line) for line in read_lines(wanted.out)}
    for seed in range(wanted.seeds):
        for name in wanted.sets:
            keys = [(name, wanted.backbone, seed, way) for way in wanted.ways]
            missing = [key for key in keys if key not in there]
            if not missing:
                continue
            with prepared(name, wanted.backbone, wanted.weights, wanted.data, seed) as given:
                for key in missing:
                    started = time.perf_counter()
                    found = RUN[key[3]](given)
                    about = dict(zip(("set", "backbone", "seed", "way"), key, strict=True))
                    about["seconds"] = round(time.perf_counter() - started, 1)
                    about["feature_seconds"] = round(given.features.seconds, 1)
                    with wanted.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({**about, **found}) + "\n")


def _key(line: Record) -> tuple[str, str, int, str]:
    return line["set"], line["backbone"], line["seed"], line["way"]


def table(lines: list[Record]) -> str:
    """Return the results in Markdown: means over the seeds, and differences to no search."""
    head = ("set", "backbone", "search", "test accuracy", "macro recall", "log loss")
    rows = [
        (*head, "against none, each seed", "seconds of the training or the search"),
        ("---",) * (len(head) + 2),
    ]
    for name, backbone, way in dict.fromkeys(_case(line) for line in lines):
        base = {one["seed"]: one for one in lines if _case(one) == (name, backbone, "none")}
        found = [one for one in lines if _case(one) == (name, backbone, way)]
        # A head that was not accepted leaves the study as it is without a search.
        own = {one["seed"]: {**base.get(one["seed"], {}), **one} for one in found}
        figure = f"finetuning_{METRICS.get(name, 'accuracy')}"
        better = [own[seed][figure] - base[seed][figure] for seed in sorted(own.keys() & base)]
        means = [_mean(own.values(), f"finetuning_{key}") for key in FIGURES]
        against = "" if way == "none" else " ".join(f"{one:+.3f}" for one in better)
        spent = [one.get("search_seconds", one["seconds"]) for one in own.values()]
        rows.append(
            (
                name,
                backbone,
                way,
                *(f"{one:.3f}" for one in means),
                against,
                f"{np.median(spent):.0f}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _case(line: Record) -> tuple[str, str, str]:
    return line["set"], line["backbone"], line["way"]


def _mean(lines: Iterable[Record], key: str) -> float:
    return float(np.mean([line[key] for line in lines]))


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["none", "head"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default=LITE0)
    parser.add_argument("--weights", help="for a backbone that no package brings")
    parser.add_argument("--threads", type=int, help="default: PyTorch's own")
    wanted = parser.parse_args()
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    with without_denormals():
        measure_all(wanted)
    print(table(read_lines(wanted.out)))


if __name__ == "__main__":
    main()
