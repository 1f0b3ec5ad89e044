"""How often the audit accuses a class of a data set without a known shortcut.

    python -m benchmarks.audit_clean --data ../shared/data --weights ../shared/weights

Each line of the result is one classifier of one data set, backbone and seed, trained by the
study's own functions and audited. Trained classifiers are kept beside the result; the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.audit_table import append_line, findings_of, rates_of_clean_data, read_lines
from benchmarks.clean_sets import divided, read_set
from benchmarks.trained import Trainer
from seewhy.audit.audit import audit_classifier
from seewhy.audit.classifier_access import StudyClassifierAccess, evidence_layer
from seewhy.evaluation.predictions import as_predictions
from seewhy.models.classifier import read_classifier, save_classifier
from seewhy.runtime.device import choose_compute, without_denormals
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset

CLEAN = ("skin", "pacs", "tiles", "imagenette", "demo")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """One backbone at one size, and how far it is trained."""

    name: str
    backbone: str
    size: int
    stage: Stage


SETTINGS = (
    Setting("lite0", "tf_efficientnet_lite0", 128, "finetuning"),
    Setting("vgg16", "local-dir:vgg16", 64, "adaptation"),
)


def run(setting: Setting, name: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train and audit the classifiers of one data set that have no line yet, one a seed."""
    done = {(line["setting"], line["data"], line["seed"]) for line in read_lines(given.out)}
    seeds = [seed for seed in given.seeds if (setting.name, name, seed) not in done]
    if not seeds:
        return
    whole = read_set(name, given.data, setting.size)
    trainer: Trainer | None = None
    for seed in seeds:
        data = divided(whole, seed)
        kept = given.out.parent / "clean" / f"{setting.name}-{name}-{seed}.safetensors"
        if not kept.is_file():
            if trainer is None:
                backbone = setting.backbone.replace("local-dir:", f"local-dir:{given.weights}/")
                trainer = Trainer(whole, backbone, setting.size, setting.stage, seed)
            kept.parent.mkdir(parents=True, exist_ok=True)
            nothing = np.zeros(len(data.ids), bool)
            save_classifier(trainer.train(data, nothing, seed), kept)
            trainer.renew()
        if not given.train_only:
            yield _audited(setting, name, data, kept, seed)


def _audited(setting: Setting, name: str, data: Dataset, kept: Path, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    classifier = read_classifier(kept).eval()
    access = StudyClassifierAccess(
        classifier, choose_compute("cpu", "float32"), evidence_layer(classifier)
    )
    test = data.where("test")
    predictions = as_predictions(data, test, access.probabilities(data.pixels[test]))
    record = audit_classifier(access, data, predictions, setting.stage, seed, Silent(), "").record
    return {
        "setting": setting.name,
        "data": name,
        "seed": seed,
        "images": len(data.ids),
        "accuracy": float((predictions.predicted == predictions.labels).mean()),
        "verdicts": {one.name: one.verdict for one in record.classes},
        "findings": findings_of(record),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds real/")
    parser.add_argument("--weights", type=Path, required=True, help="folder that holds vgg16/")
    parser.add_argument("--out", type=Path, default=Path("runs/audit-clean.jsonl"))
    parser.add_argument("--only", nargs="*", default=[one.name for one in SETTINGS])
    parser.add_argument("--sets", nargs="*", default=list(CLEAN))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--train-only", action="store_true", help="train, audit nothing yet")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for setting in [] if given.table else SETTINGS:
        for name in given.sets if setting.name in given.only else ():
            with without_denormals():
                for line in run(setting, name, given):
                    append_line(given.out, line)
                    alarms = {k: v for k, v in line["verdicts"].items() if v != "none"}
                    print(setting.name, name, line["seed"], line["accuracy"], alarms, flush=True)
    print(rates_of_clean_data(read_lines(given.out)))


if __name__ == "__main__":
    main()
