"""How often the audit finds what was planted, and how often it cries wolf: `make bench-audit`.

    python -m benchmarks.audit --data ../shared/data --weights ../shared/weights

Each line of the result is one classifier, trained by the study's own functions on data of which one
class carries a planted shortcut, or on clean data. A planting is harmful where accuracy on its
class falls by ten points or more without it, on test images that all carry it and on the same
images without it. The audit sees neither the planting nor the test images. Where it finds a
shortcut, a second classifier is trained on mitigated images; what that wins back is measured on
images that carry nothing and that nobody trained on, against a classifier trained without the
planting. Results are appended one by one: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.audit_table import append_line, findings_of, read_lines, table
from benchmarks.plantings import Planting, suite
from benchmarks.trained import Trainer, dataset
from seewhy.audit.audit import audit_classifier
from seewhy.audit.classifier_access import StudyClassifierAccess
from seewhy.audit.discovery.details import Detail
from seewhy.audit.mitigation import ConfirmedCue, confirmed_cues, mitigate
from seewhy.evaluation.predictions import as_predictions
from seewhy.models.classifier import Classifier
from seewhy.runtime.device import without_denormals
from seewhy.runtime.progress import Silent
from seewhy.storage.schemas.base import Stage
from seewhy.storage.schemas.dataset import Dataset

# Images a class on which mitigation is measured.
UNSEEN = 400
SOURCE = "CIFAR-10 stand-in"


@dataclass(frozen=True)
class Setting:
    """One backbone at one size on so many classes and images, and what is done with it."""

    name: str
    backbone: str
    size: int
    classes: int
    train: int
    test: int
    stage: Stage
    plantings: int
    controls: int
    first_seed: int


LITE0 = "tf_efficientnet_lite0"
SETTINGS = (
    Setting("lite0", LITE0, 128, 10, 2000, 1000, "adaptation", 32, 14, 7000),
    Setting("lite0-tuned", LITE0, 96, 10, 2000, 1000, "finetuning", 4, 3, 8000),
    Setting("vgg16", "local-dir:vgg16", 64, 5, 1000, 500, "adaptation", 6, 3, 9000),
)


class Bench:
    """One setting's clean data, backbone and features, shared by all its plantings."""

    def __init__(self, setting: Setting, data: Path, weights: Path) -> None:
        self.setting = setting
        self.data, self.unseen = _images(setting, data)
        backbone = setting.backbone.replace("local-dir:", f"local-dir:{weights}/")
        stage, seed = setting.stage, setting.first_seed
        self.trainer = Trainer(self.data, backbone, setting.size, stage, seed)

    def planted(self, planting: Planting) -> tuple[Dataset, NDArray[np.bool_]]:
        """Return the data with the planting in all splits, and which images carry it."""
        carries = np.zeros(len(self.data.ids), bool)
        if planting.kind == "clean":
            return self.data, carries
        pixels = self.data.pixels.copy()
        rng = np.random.default_rng([planting.seed, 8])
        put = planting.put(pixels.shape[1])
        for split in ("train", "validation", "test"):
            of_split = np.asarray(self.data.splits) == split
            own = np.flatnonzero(of_split & (self.data.labels == planting.label))
            carries[rng.permutation(own)[: round(planting.rate * len(own))]] = True
        for i in np.flatnonzero(carries):
            pixels[i] = put(pixels[i], rng)
        return replace(self.data, pixels=pixels), carries

    def run(self, planting: Planting) -> dict[str, Any]:
        """Plant, train, audit, mitigate; return one line of the result."""
        started = time.perf_counter()
        seed = planting.seed
        data, carries = self.planted(planting)
        classifier = self.trainer.train(data, carries, seed)
        access = self.trainer.access(classifier)
        with_it, without = self._harm(access, planting)
        trained = time.perf_counter() - started
        test = data.where("test")
        stage = self.setting.stage
        predictions = as_predictions(
            data,
            test,
            access.probabilities(data.pixels[test])
            if stage == "finetuning"
            else self.trainer.answers(classifier, test),
        )
        audited = audit_classifier(access, data, predictions, stage, seed, Silent(), "")
        record = audited.record
        self.trainer.renew()
        return {
            "setting": self.setting.name,
            **asdict(planting),
            "class": data.classes[planting.label],
            "with": with_it,
            "without": without,
            "accuracy": float((predictions.predicted == predictions.labels).mean()),
            "verdicts": {one.name: one.verdict for one in record.classes},
            "findings": findings_of(record),
            "reasons": [_written(one) for one in confirmed_cues(record, audited.details)],
            "trained_seconds": round(trained, 1),
            "audit_seconds": round(record.seconds, 1),
        }

    def mitigate(self, planting: Planting, reasons: Sequence[ConfirmedCue]) -> dict[str, Any]:
        """Return what three classifiers reach on unmarked images: first, clean and mitigated."""
        nothing = np.zeros(len(self.data.ids), bool)
        data, carries = self.planted(planting)
        new, done = mitigate(data, reasons, planting.seed, data.pixels.copy())
        changed = np.any(new.pixels != self.data.pixels, axis=(1, 2, 3))
        trained = {
            "first": (data, carries),
            "clean": (self.data, nothing),
            "mitigated": (new, changed),
        }
        found = {}
        for name, (images, of_them) in trained.items():
            classifier = self.trainer.train(images, of_them, planting.seed)
            found[name] = self._unmarked(classifier, planting.label)
            self.trainer.renew()
        return {
            "setting": self.setting.name,
            "seed": planting.seed,
            **found,
            "classes": [one.model_dump(mode="json") for one in done],
        }

    def _unmarked(self, classifier: Classifier, label: int) -> list[float]:
        """Return recall of one class, and accuracy, on images that nobody has seen."""
        if self.setting.stage == "adaptation":
            with torch.no_grad():
                logits = classifier.tail_and_head.head.classify(self._unseen_pooled)
            answers = logits.argmax(dim=1).numpy()
        else:
            answers = (
                self.trainer.access(classifier).probabilities(self.unseen.pixels).argmax(axis=1)
            )
        right = answers == self.unseen.labels
        return [float(right[self.unseen.labels == label].mean()), float(right.mean())]

    @cached_property
    def _unseen_pooled(self) -> Tensor:
        return self.trainer.features(self.unseen.pixels)

    def _harm(
        self, access: StudyClassifierAccess, planting: Planting
    ) -> tuple[float | None, float | None]:
        """Return recall of the planted class where all its test images carry it, and none."""
        if planting.kind == "clean":
            return None, None
        test = self.data.where("test")
        clean = self.data.pixels[test[self.data.labels[test] == planting.label]]
        put, rng = planting.put(clean.shape[1]), np.random.default_rng([planting.seed, 9])
        marked = np.stack([put(image, rng) for image in clean])
        recalls = [
            float((access.probabilities(some).argmax(axis=1) == planting.label).mean())
            for some in (marked, clean)
        ]
        return recalls[0], recalls[1]


def _images(setting: Setting, folder: Path) -> tuple[Dataset, Dataset]:
    """Draw the setting's images from the stand-in, a tenth of the training part for validation.

    Returns them, and `UNSEEN` images a class of the training part that were not drawn.
    """
    rng = np.random.default_rng(setting.first_seed)
    pixels, labels, splits = [], [], []
    unseen: list[NDArray[np.uint8]] = []
    names: tuple[str, ...] = ()
    for part, wanted in (("train", setting.train), ("test", setting.test)):
        with np.load(folder / f"cifar10_standin_{part}.npz", allow_pickle=False) as stored:
            images, truth = stored["images"], stored["labels"]
            names = tuple(map(str, stored["label_names"]))
        for label in range(setting.classes):
            own = rng.permutation(np.flatnonzero(truth == label))
            chosen, rest = np.split(own, [wanted // setting.classes])
            pixels.append(images[chosen])
            labels += [label] * len(chosen)
            held = len(chosen) // 10 if part == "train" else 0
            splits += ["validation"] * held + [part] * (len(chosen) - held)
            if part == "train":
                unseen.append(images[rest[:UNSEEN]])
    classes = names[: setting.classes]
    drawn = dataset(SOURCE, classes, labels, splits, np.concatenate(pixels))
    more = [label for label, images in enumerate(unseen) for _ in images]
    return drawn, dataset(SOURCE, classes, more, ["test"] * len(more), np.concatenate(unseen))


def _written(reason: ConfirmedCue) -> dict[str, Any]:
    detail = reason.detail
    return {
        "label": reason.label,
        "kind": reason.kind,
        "box": reason.box,
        "detail": detail
        and {"look": detail.look.tolist(), "shape": detail.shape.tolist(), "at": detail.at},
    }


def _reason(written: dict[str, Any]) -> ConfirmedCue:
    detail = written["detail"]
    return ConfirmedCue(
        written["label"],
        written["kind"],
        detail
        and Detail(
            np.array(detail["look"], np.float32),
            np.array(detail["shape"], bool),
            detail["at"] and (detail["at"][0], detail["at"][1]),
        ),
        written["box"] and tuple(written["box"]),
    )


def main() -> None:
    """Run what is missing of the suite, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the stand-in's files")
    parser.add_argument("--weights", type=Path, required=True, help="folder that holds vgg16/")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-audit.jsonl"))
    parser.add_argument("--only", nargs="*", default=[one.name for one in SETTINGS])
    parser.add_argument("--shift", type=int, default=0, help="other plantings, for development")
    parser.add_argument("--no-mitigation", action="store_true", help="audit only")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for setting in [] if given.table else SETTINGS:
        if setting.name in given.only:
            shifted = replace(setting, first_seed=setting.first_seed + given.shift)
            with without_denormals():
                _go_on(shifted, given)
    print(table(_joined(given.out)))


def _go_on(setting: Setting, given: argparse.Namespace) -> None:
    """Audit what has not been audited of one setting, then mitigate what has not been mitigated."""
    wanted = suite(setting.classes, setting.plantings, setting.controls, setting.first_seed)
    bench = Bench(setting, given.data, given.weights)
    done = {(line["setting"], line["seed"]) for line in read_lines(given.out)}
    for planting in wanted:
        if (setting.name, planting.seed) not in done:
            line = bench.run(planting)
            append_line(given.out, line)
            print(_short(line), flush=True)
    by_seed = {planting.seed: planting for planting in wanted}
    for line in [] if given.no_mitigation else _joined(given.out):
        if line["setting"] == setting.name and line["reasons"] and not line["mitigation"]:
            reasons = [_reason(one) for one in line["reasons"]]
            found = bench.mitigate(by_seed[line["seed"]], reasons)
            append_line(_mitigated_path(given.out), found)
            print(line["kind"], line["class"], line["rate"], found, flush=True)


def _mitigated_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-mitigated.jsonl")


def _joined(path: Path) -> list[dict[str, Any]]:
    """Return the audits, each with what its mitigation brought, None where there was none."""
    mitigated = {(one["setting"], one["seed"]): one for one in read_lines(_mitigated_path(path))}
    return [
        {**line, "mitigation": mitigated.get((line["setting"], line["seed"]))}
        for line in read_lines(path)
    ]


def _short(line: dict[str, Any]) -> str:
    verdicts = {name: one for name, one in line["verdicts"].items() if one != "none"}
    return (
        f"{line['setting']} {line['kind']} {line['place']} {line['class']} {line['rate']:g}: "
        f"{line['with']} -> {line['without']}, {verdicts}, {line['audit_seconds']} s"
    )


if __name__ == "__main__":
    main()
