"""How well swapped labels are found, and how many of those listed are said to be correct.

    python -m benchmarks.label_errors SHARED [--sets imagenette pacs demo standin]

`SHARED` holds ``real/`` and ``cifar10_standin_train.npz``. A share of the labels is swapped: for
any other class, or for the next one (a systematic mistake). Heads are trained on five folds, as in
a study, and judge the images that they were not trained on. Beside seewhy's list stands the one
of cleanlab's defaults (`find_label_issues`) from the same probabilities; both order images by the
probability of the given label, so their average precision over all images is the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.clean_sets import read_set
from benchmarks.trained import Trainer, dataset
from seewhy.data.folds import fold_repetitions
from seewhy.data.quality.label_issues import label_issues
from seewhy.data.quality.label_noise import estimate_label_noise
from seewhy.storage.schemas.dataset import Dataset

SIZES = {"imagenette": 160, "pacs": 160, "demo": 128, "standin": 96}
STANDIN_IMAGES = 4000
PLANTS = (("none", 0.0), ("any", 0.03), ("any", 0.08), ("next", 0.05))
FOLDS, VALIDATION = 5, 0.1
COLUMNS = (
    *("set", "swapped for", "share", "accuracy", "average precision", "by margin"),
    *("listed", "wrong of them", "correct", "correct, estimated"),
    *("share, estimated", "cleanlab lists", "wrong of them"),
)


@dataclass(frozen=True)
class Planted:
    """Labels of which some are wrong."""

    labels: NDArray[np.int64]
    wrong: NDArray[np.bool_]


def plant(labels: NDArray[np.int64], classes: int, kind: str, share: float, seed: int) -> Planted:
    """Swap a share of the labels for ``any`` other class, or for the ``next`` one."""
    rng = np.random.default_rng([seed, 5])
    count = round(share * len(labels))
    chosen = rng.permutation(len(labels))[:count]
    steps = rng.integers(1, classes, count) if kind == "any" else np.ones(count, dtype=np.int64)
    given = labels.copy()
    given[chosen] = (labels[chosen] + steps) % classes
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[chosen] = True
    return Planted(given, wrong)


def judge(trainer: Trainer, labels: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Return probabilities of all images by heads that were not trained on them (N, K)."""
    data = replace(trainer.data, labels=labels)
    nothing = np.zeros(len(labels), dtype=bool)
    found = np.zeros((len(labels), len(data.classes)), dtype=np.float32)
    for fold in fold_repetitions(data, FOLDS, VALIDATION, seed):
        head = trainer.train(fold.data, nothing, seed)
        found[fold.held_out] = trainer.answers(head, fold.held_out)
    return found


def row(trainer: Trainer, name: str, kind: str, share: float, seed: int) -> list[object]:
    """Plant, judge and count; one draw."""
    truth = trainer.data.labels
    planted = plant(truth, len(trainer.data.classes), kind, share, seed)
    found = judge(trainer, planted.labels, seed)
    listed, _ = label_issues(planted.labels, found)
    noise = estimate_label_noise(planted.labels, found)
    theirs = find_label_issues(planted.labels, found, n_jobs=1)
    own = 1 - found[np.arange(len(truth)), planted.labels]
    margin = -get_label_quality_scores(planted.labels, found, method="normalized_margin")
    precise = [
        f"{average_precision_score(planted.wrong, scores):.3f}" if share else ""
        for scores in (own, margin)
    ]
    hits = int(planted.wrong[listed].sum())
    estimates = ["", ""] if noise is None else [noise.correct[listed].sum(), noise.share]
    return [
        *(name, kind, share, f"{(found.argmax(1) == truth).mean():.3f}", *precise),
        *(len(listed), hits, len(listed) - hits, f"{estimates[0]:.0f}", f"{estimates[1]:.3f}"),
        *(int(theirs.sum()), int(planted.wrong[theirs].sum())),
    ]


def read(name: str, shared: Path) -> Dataset:
    """Read a set at its size, all images undivided."""
    if name != "standin":
        data = read_set(name, shared, SIZES[name])
    else:
        with np.load(shared / "cifar10_standin_train.npz") as file:
            images, labels, names = file["images"], file["labels"], file["label_names"]
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.choice(len(images), STANDIN_IMAGES, replace=False))
        names, labels = [str(one) for one in names], labels[chosen].tolist()
        data = dataset(name, names, labels, ["train"] * len(labels), images[chosen])
    return replace(data, splits=("train",) * len(data.labels))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, a line per draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for name in options.sets:
        data = read(name, options.shared)
        trainer = Trainer(data, options.backbone, SIZES[name], "adaptation", 0)
        for kind, share in PLANTS:
            for seed in range(options.seeds):
                values = row(trainer, name, kind, share, seed)
                print("| " + " | ".join(map(str, values)) + " |", flush=True)


if __name__ == "__main__":
    main()
