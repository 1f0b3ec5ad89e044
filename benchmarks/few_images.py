"""What each kind of head reaches with 5 to 50 images per class.

    python -m benchmarks.few_images --data ../shared/data --part development
    python -m benchmarks.few_images --data ../shared/data --part test

tf_efficientnet_lite0 at 128×128 on imagenette, pacs and photos, and at 96×96 on CIFAR-10's
stand-in. From the training images of each set, so many per class are drawn, of which a tenth, at
least one per class, are validation images, as in a study. ``development`` scores the rest of the
training images, ``test`` the test images; pacs and photos have a fifth of their images as test
images, drawn once. Figures are means over the draws with 95 % intervals of Student's t
distribution. A set whose smallest class has fewer than five images beside those drawn is left out.
PyTorch runs on one thread.

``--trials 35`` adds the network head that the search finds; ``--finetuned`` shows instead what
fine-tuning makes of the network head and of the logistic regression, scored on at most 300 images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t
from torch import Tensor

from benchmarks.audit import LITE0
from benchmarks.clean_sets import divided, read_set
from benchmarks.trained import Trainer, dataset
from seewhy.config import HeadConfig, StudyConfig, load_config
from seewhy.evaluation.predictions import predict_at_cut, predict_pooled
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import TailAndHead
from seewhy.models.cut import cut_trunk
from seewhy.pipeline.backbone import with_head
from seewhy.runtime.device import choose_compute, without_denormals
from seewhy.runtime.progress import Silent
from seewhy.statistics.classification import measure
from seewhy.storage.schemas.dataset import Dataset, Split
from seewhy.storage.schemas.predictions import Predictions
from seewhy.training.feature_cache import keeping_features
from seewhy.training.head_choice import choose_head
from seewhy.training.search.search import search_head
from seewhy.training.search.trial_store import TrialStore
from seewhy.training.stages import adapt, finetune, new_head
from seewhy.training.trainer import OnEpoch, StageResult

SIZES = {"imagenette": 128, "pacs": 128, "photos": 128, "stand-in": 96}
STAND_IN = 4000  # of its training images
KINDS = ("network", "logistic", "nearest-mean", "auto")
LEAST_SCORED, MOST_FINETUNED = 5, 300
Figures = tuple[float, float, float]  # accuracy, log loss, seconds


def read(name: str, shared: Path) -> Dataset:
    """Return a set whose splits are ``train`` and ``test``."""
    if name == "stand-in":
        return _stand_in(shared)
    data = read_set(name, shared, SIZES[name])
    if name in ("pacs", "photos"):
        data = divided(data, 0)
    splits: list[Split] = ["test" if one == "test" else "train" for one in data.splits]
    return replace(data, splits=tuple(splits))


def drawn(data: Dataset, part: str, each: int, seed: int) -> Dataset | None:
    """Draw `each` images per class; the others of the part that is scored are test images.

    None where too few are left.
    """
    rng = np.random.default_rng((seed, each))
    splits: list[str] = ["unused"] * len(data.labels)
    for label in range(len(data.classes)):
        own = np.flatnonzero(data.labels == label)
        of = {part: [i for i in own if data.splits[i] == part] for part in ("train", "test")}
        order = rng.permutation(of["train"]).tolist()
        scored = order[each:] if part == "development" else of["test"]
        if len(order) < each or len(scored) < LEAST_SCORED:
            return None
        checked = max(1, round(0.1 * each))
        for i in scored:
            splits[i] = "test"
        for k, i in enumerate(order[:each]):
            splits[i] = "validation" if k < checked else "train"
    return replace(data, splits=cast(tuple[Split, ...], tuple(splits)))


def head_figures(pooled: Tensor, data: Dataset, config: StudyConfig) -> Figures:
    """Train or fit a head, and score it."""
    started = perf_counter()
    head = new_head(pooled, config, data.classes)
    adapt(head, pooled, data, config, Silent(), "adaptation")
    seconds = perf_counter() - started
    found = predict_pooled(head, pooled, data, data.where("test"))
    return (*scores(found), seconds)


def searched(pooled: Tensor, data: Dataset, config: StudyConfig) -> StudyConfig:
    """Return the configuration with the head that the search finds."""

    def run_trial(head: HeadConfig, on_epoch: OnEpoch) -> StageResult:
        tried = with_head(config, head)
        made = new_head(pooled, tried, data.classes)
        return adapt(made, pooled, data, tried, Silent(), "trial", on_epoch=on_epoch)

    with tempfile.TemporaryDirectory() as folder:
        store = TrialStore(None, Path(folder) / "trials.sqlite")
        found = search_head(config, "few images", store, run_trial, Silent(), "search")
    return with_head(config, found.record)


def finetuned_figures(data: Dataset, config: StudyConfig, size: int) -> tuple[Figures, Figures]:
    """Adapt and fine-tune a head on the images of `data` that are used; score both stages."""
    rng = np.random.default_rng(0)
    rest = np.flatnonzero(np.isin(data.splits, ("train", "validation")))
    scored = rng.permutation(data.where("test"))[:MOST_FINETUNED]
    data = subset(data, np.sort(np.append(rest, scored)))
    compute = choose_compute("cpu", "float32")
    backbone = load_backbone(config.backbone[0], size, 0)
    cut = cut_trunk(backbone.model, config.finetuning.open, size)
    for module in (backbone.model, cut.prefix, cut.tail):
        module.eval()
    with (
        tempfile.TemporaryDirectory() as folder,
        keeping_features(backbone, cut, data, compute, config, Path(folder), Silent()) as features,
    ):
        pooled, at_cut, test = features.pooled, features.at_cut, data.where("test")
        started = perf_counter()
        head = new_head(pooled, config, data.classes)
        adapt(head, pooled, data, config, Silent(), "adaptation")
        adapted = *scores(predict_pooled(head, pooled, data, test)), perf_counter() - started
        both = TailAndHead(cut.tail, head)
        started = perf_counter()
        finetune(both, at_cut, data, config, compute, Silent(), "fine-tuning")
        seconds = perf_counter() - started
        found = predict_at_cut(both, at_cut.batch, data, test, compute)
        return adapted, (*scores(found), seconds)


def scores(found: Predictions) -> tuple[float, float]:
    """Return accuracy and log loss."""
    shares = found.probabilities.astype(np.float64)
    return (
        measure("accuracy", found.labels, found.predicted, shares),
        measure("log_loss", found.labels, found.predicted, shares),
    )


def subset(data: Dataset, rows: NDArray[np.int64]) -> Dataset:
    """Return some of the images as a data set."""
    splits = [data.splits[i] for i in rows]
    return dataset(data.source, data.classes, data.labels[rows].tolist(), splits, data.pixels[rows])


def shown(name: str, each: int, head: str, found: list[Figures]) -> str:
    """Return a row of the table: means with their intervals."""
    values = np.array(found)
    cells = []
    for column in values.T[:2]:
        half = 0.0
        if len(column) > 1:
            half = t.ppf(0.975, len(column) - 1) * column.std(ddof=1) / len(column) ** 0.5
        cells.append(f"{column.mean():.3f} ± {half:.3f}")
    return f"| {name} | {each} | {head} | {' | '.join(cells)} | {values[:, 2].mean():.1f} |"


@contextmanager
def pooled_features(name: str, data: Dataset, folder: Path | None) -> Iterator[Tensor]:
    """Compute pooled features (N, C), or read those that are in the folder."""
    path = folder / f"{name}.npy" if folder else None
    if path and path.is_file():
        yield torch.from_numpy(np.load(path))
        return
    found = Trainer(data, LITE0, SIZES[name], "adaptation", 0).pooled
    if path:
        np.save(path, found.numpy())
    yield found


@cache
def configured(kind: str, seed: int) -> StudyConfig:
    """Return a study's configuration with one kind of head."""
    settings = [f"head.kind={kind}", f"seed={seed}"]
    return load_config("photos", backbones=[LITE0], settings=settings)


def _stand_in(shared: Path) -> Dataset:
    images, labels, splits, names = [], [], [], ()
    parts: tuple[Split, ...] = ("train", "test")
    for part in parts:
        with np.load(shared / f"cifar10_standin_{part}.npz", allow_pickle=False) as stored:
            count = len(stored["labels"])
            some = np.arange(count)
            if part == "train":
                some = np.sort(np.random.default_rng(0).choice(count, STAND_IN, replace=False))
            images.append(stored["images"][some])
            labels += stored["labels"][some].tolist()
            splits += [part] * len(some)
            names = tuple(str(one) for one in stored["label_names"])
    return dataset("stand-in", names, labels, splits, np.concatenate(images))


def compare(name: str, data: Dataset, pooled: Tensor, wanted: argparse.Namespace) -> None:
    """Print the rows of one set."""
    for each in wanted.images:
        rows: dict[str, list[Figures]] = {}
        chosen: list[str] = []
        for draw in range(wanted.draws):
            mine = drawn(data, wanted.part, each, draw)
            if mine is None:
                break
            for kind in () if wanted.finetuned else KINDS:
                started = perf_counter()
                if kind == "auto":
                    head = choose_head(pooled, mine, configured(kind, draw)).head
                    choosing = perf_counter() - started
                    chosen.append(head.kind)
                    accuracy, loss, seconds = rows[head.kind][draw]
                    found = accuracy, loss, choosing + seconds
                else:
                    found = head_figures(pooled, mine, configured(kind, draw))
                rows.setdefault(kind, []).append(found)
            if wanted.trials:
                started = perf_counter()
                config = configured("network", draw)
                trials = config.search.model_copy(update={"trials": wanted.trials})
                config = searched(pooled, mine, config.model_copy(update={"search": trials}))
                accuracy, loss, _ = head_figures(pooled, mine, config)
                seconds = perf_counter() - started
                rows.setdefault("network, searched", []).append((accuracy, loss, seconds))
            for kind in ("network", "logistic") if wanted.finetuned else ():
                stages = finetuned_figures(mine, configured(kind, draw), SIZES[name])
                for stage, found in zip(("adapted", "fine-tuned"), stages, strict=True):
                    rows.setdefault(f"{kind}, {stage}", []).append(found)
        for head, figures in rows.items():
            counts = ", ".join(f"{chosen.count(one)} {one}" for one in sorted(set(chosen)))
            print(shown(name, each, f"auto ({counts})" if head == "auto" else head, figures))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("development", "test"), default="development")
    parser.add_argument("--sets", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--images", nargs="+", type=int, default=(5, 10, 20, 50))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--trials", type=int, default=0, help="of a search for the network head")
    parser.add_argument("--finetuned", action="store_true")
    parser.add_argument("--features", type=Path, help="folder that keeps features between runs")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    print("| set | images per class | head | accuracy | log loss | seconds |")
    print("|---|---|---|---|---|---|")
    with without_denormals():
        for name in wanted.sets:
            data = read(name, wanted.data)
            with pooled_features(name, data, wanted.features) as pooled:
                compare(name, data, pooled, wanted)


if __name__ == "__main__":
    main()
