"""How often the audit finds what was planted, and how often it cries wolf: `make bench-audit`.

    python -m benchmarks.audit --data ../shared/data --weights ../shared/weights

Each line of the result is one classifier, trained by the study's own functions on data of which
one class carries a planted wrong reason, or on clean data. A planting is harmful where accuracy
on its class falls by ten points or more without it, on test images that all carry it and on the
same images without it. The audit sees neither the planting nor the test images. Where it finds a
shortcut, a second classifier is trained on mended images; what that wins back is measured on images
that carry nothing and that nobody trained on, against a classifier trained without the planting.
Results are appended one by one: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
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

from benchmarks.audit_table import table
from benchmarks.plantings import Planting, suite
from seewhy.audit.asking import Asking, evidence_layer
from seewhy.audit.audit import audit_classifier
from seewhy.audit.details import Detail
from seewhy.audit.mending import Reason, mend, reasons_of
from seewhy.audit_records import Audit
from seewhy.config import BackboneConfig, StudyConfig
from seewhy.data.pixels import to_input
from seewhy.evaluation.predict import as_predictions
from seewhy.models.backbones import Backbone, load_backbone
from seewhy.models.classifier import Classifier, Design, Head, pool
from seewhy.models.compute import choose_compute, without_denormals
from seewhy.models.cut import cut_trunk
from seewhy.progress import Silent
from seewhy.records import Dataset, Stage
from seewhy.training.features import keeping_features
from seewhy.training.loop import seed_of
from seewhy.training.stages import adapt, finetune

# Images a class on which mending is measured.
UNSEEN = 400
BATCH = 32


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
        self.compute = choose_compute("cpu", "float32")
        name = setting.backbone.replace("local-dir:", f"local-dir:{weights}/")
        self.config = StudyConfig.model_validate(
            {
                "backbone": [{"name": name}],
                "seed": setting.first_seed,
                "finetuning": {"epochs": 2, "patience": 2},
            }
        )
        self.data, self.unseen = _images(setting, data)
        self._load()
        self.pooled = self.features(self.data.pixels)

    def _load(self) -> None:
        config: BackboneConfig = self.config.backbone[0]
        self.backbone: Backbone = load_backbone(config, self.setting.size, 0)
        self.cut = cut_trunk(self.backbone.model, 0.5, self.setting.size)
        for part in (self.backbone.model, self.cut.prefix, self.cut.tail):
            part.eval()

    @torch.no_grad()
    def features(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return pooled features (N, C)."""
        found = []
        for start in range(0, len(pixels), BATCH):
            images = torch.from_numpy(pixels[start : start + BATCH])
            given = to_input(images, self.backbone.preprocess, self.compute.device)
            found.append(pool(self.cut.tail(self.cut.prefix(given))))
        return torch.cat(found)

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

    def train(self, data: Dataset, carries: NDArray[np.bool_], seed: int) -> Classifier:
        """Train a head, and the tail where the setting says so; only changed features are new."""
        config = self.config.model_copy(update={"seed": seed})
        pooled = self.pooled.clone()
        if carries.any():
            pooled[torch.from_numpy(carries)] = self.features(data.pixels[carries])
        units, dropout = config.head.units, config.head.dropout
        head_seed = seed_of(seed, "head")
        head = Head(pooled.shape[1], units, dropout, len(data.classes), head_seed)
        adapt(head, pooled, data, config, Silent(), "")
        design = Design(
            architecture=self.backbone.name,
            open_share=0.5,
            units=units,
            dropout=dropout,
            classes=data.classes,
            preprocess=self.backbone.preprocess,
            working_size=int(data.pixels.shape[1]),
        )
        classifier = Classifier(self.cut, head, design)
        if self.setting.stage == "finetuning":
            with (
                tempfile.TemporaryDirectory() as folder,
                keeping_features(
                    self.backbone, self.cut, data, self.compute, config, Path(folder), Silent()
                ) as features,
            ):
                finetune(
                    classifier.behind_cut,
                    features.at_cut,
                    data,
                    config,
                    self.compute,
                    Silent(),
                    "",
                )
        return classifier.eval()

    def run(self, planting: Planting) -> dict[str, Any]:
        """Plant, train, audit, mend; return one line of the result."""
        started = time.perf_counter()
        seed = planting.seed
        data, carries = self.planted(planting)
        asking = self._asking(self.train(data, carries, seed))
        with_it, without = self._harm(asking, planting)
        trained = time.perf_counter() - started
        test = data.where("test")
        predictions = as_predictions(data, test, asking.probabilities(data.pixels[test]))
        stage = self.setting.stage
        audited = audit_classifier(asking, data, predictions, stage, seed, Silent(), "")
        record = audited.record
        self._untuned()
        return {
            "setting": self.setting.name,
            **asdict(planting),
            "class": data.classes[planting.label],
            "with": with_it,
            "without": without,
            "accuracy": float((predictions.predicted == predictions.labels).mean()),
            "verdicts": {one.name: one.verdict for one in record.classes},
            "findings": _findings(record),
            "reasons": [_written(one) for one in reasons_of(record, audited.details)],
            "trained_seconds": round(trained, 1),
            "audit_seconds": round(record.seconds, 1),
        }

    def mend(self, planting: Planting, reasons: Sequence[Reason]) -> dict[str, Any]:
        """Return what three classifiers reach on unmarked images: first, clean and mended."""
        nothing = np.zeros(len(self.data.ids), bool)
        data, carries = self.planted(planting)
        new, done = mend(data, reasons, planting.seed, data.pixels.copy())
        changed = np.any(new.pixels != self.data.pixels, axis=(1, 2, 3))
        trained = {
            "first": (data, carries),
            "clean": (self.data, nothing),
            "mended": (new, changed),
        }
        found = {}
        for name, (images, of_them) in trained.items():
            classifier = self.train(images, of_them, planting.seed)
            found[name] = self._unmarked(classifier, planting.label)
            self._untuned()
        return {
            "setting": self.setting.name,
            "seed": planting.seed,
            **found,
            "classes": [one.model_dump(mode="json") for one in done],
        }

    def _asking(self, classifier: Classifier) -> Asking:
        return Asking(classifier, self.compute, evidence_layer(classifier))

    def _untuned(self) -> None:
        """Load the trunk anew where fine-tuning has changed it in place."""
        if self.setting.stage == "finetuning":
            self._load()

    def _unmarked(self, classifier: Classifier, label: int) -> list[float]:
        """Return recall of one class, and accuracy, on images that nobody has seen."""
        if self.setting.stage == "adaptation":
            with torch.no_grad():
                logits = classifier.behind_cut.head.classify(self._unseen_pooled)
            answers = logits.argmax(dim=1).numpy()
        else:
            answers = self._asking(classifier).probabilities(self.unseen.pixels).argmax(axis=1)
        right = answers == self.unseen.labels
        return [float(right[self.unseen.labels == label].mean()), float(right.mean())]

    @cached_property
    def _unseen_pooled(self) -> Tensor:
        return self.features(self.unseen.pixels)

    def _harm(self, asking: Asking, planting: Planting) -> tuple[float | None, float | None]:
        """Return recall of the planted class where all its test images carry it, and none."""
        if planting.kind == "clean":
            return None, None
        test = self.data.where("test")
        clean = self.data.pixels[test[self.data.labels[test] == planting.label]]
        put, rng = planting.put(clean.shape[1]), np.random.default_rng([planting.seed, 9])
        marked = np.stack([put(image, rng) for image in clean])
        recalls = [
            float((asking.probabilities(some).argmax(axis=1) == planting.label).mean())
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
    drawn = _dataset(classes, labels, splits, np.concatenate(pixels))
    more = [label for label, images in enumerate(unseen) for _ in images]
    return drawn, _dataset(classes, more, ["test"] * len(more), np.concatenate(unseen))


def _dataset(
    classes: tuple[str, ...], labels: list[int], splits: list[str], pixels: NDArray[np.uint8]
) -> Dataset:
    numbers = tuple(f"{i:06d}" for i in range(len(labels)))
    return Dataset(
        source="CIFAR-10 stand-in",
        classes=classes,
        ids=numbers,
        paths=numbers,
        labels=np.array(labels, dtype=np.int64),
        splits=tuple(splits),  # type: ignore[arg-type]
        pixels=pixels,
    )


def _written(reason: Reason) -> dict[str, Any]:
    detail = reason.detail
    return {
        "label": reason.label,
        "kind": reason.kind,
        "box": reason.box,
        "detail": detail
        and {"look": detail.look.tolist(), "shape": detail.shape.tolist(), "at": detail.at},
    }


def _reason(written: dict[str, Any]) -> Reason:
    detail = written["detail"]
    return Reason(
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


def _findings(record: Audit) -> list[dict[str, Any]]:
    return [
        {
            "class": one.name,
            "kind": finding.kind,
            "verdict": finding.verdict,
            "change": round(finding.transplant.change, 4),
            "removal": round(finding.removal.change, 4) if finding.removal else None,
            "sentence": finding.sentence,
        }
        for one in record.classes
        for finding in one.findings
    ]


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def main() -> None:
    """Run what is missing of the suite, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the stand-in's files")
    parser.add_argument("--weights", type=Path, required=True, help="folder that holds vgg16/")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-audit.jsonl"))
    parser.add_argument("--only", nargs="*", default=[one.name for one in SETTINGS])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for setting in [] if given.table else SETTINGS:
        if setting.name in given.only:
            with without_denormals():
                _go_on(setting, given)
    print(table(_joined(given.out)))


def _go_on(setting: Setting, given: argparse.Namespace) -> None:
    """Audit what has not been audited of one setting, then mend what has not been mended."""
    wanted = suite(setting.classes, setting.plantings, setting.controls, setting.first_seed)
    bench = Bench(setting, given.data, given.weights)
    done = {(line["setting"], line["seed"]) for line in _read(given.out)}
    for planting in wanted:
        if (setting.name, planting.seed) not in done:
            line = bench.run(planting)
            _append(given.out, line)
            print(_short(line), flush=True)
    by_seed = {planting.seed: planting for planting in wanted}
    for line in _joined(given.out):
        if line["setting"] == setting.name and line["reasons"] and not line["mending"]:
            reasons = [_reason(one) for one in line["reasons"]]
            found = bench.mend(by_seed[line["seed"]], reasons)
            _append(_mended_path(given.out), found)
            print(line["kind"], line["class"], line["rate"], found, flush=True)


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _mended_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-mended.jsonl")


def _joined(path: Path) -> list[dict[str, Any]]:
    """Return the audits, each with what its mending brought (None where it was not mended)."""
    mended = {(one["setting"], one["seed"]): one for one in _read(_mended_path(path))}
    return [
        {**line, "mending": mended.get((line["setting"], line["seed"]))} for line in _read(path)
    ]


def _short(line: dict[str, Any]) -> str:
    verdicts = {name: one for name, one in line["verdicts"].items() if one != "none"}
    return (
        f"{line['setting']} {line['kind']} {line['place']} {line['class']} {line['rate']:g}: "
        f"{line['with']} -> {line['without']}, {verdicts}, {line['audit_seconds']} s"
    )


if __name__ == "__main__":
    main()
