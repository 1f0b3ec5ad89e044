"""How often the audit finds what was planted, and how often it cries wolf: `make bench-audit`.

    python -m benchmarks.audit --data ../shared/data --weights ../shared/weights

Each line of the result is one classifier, trained by the study's own functions on data of which
one class carries a planted wrong reason, or on clean data. A planting is harmful where accuracy
on its class falls by ten points or more without it, on test images that all carry it and on the
same images without it. The audit sees neither the planting nor the test images. Where it finds a
shortcut, a second classifier is trained on mended images; what that wins back is measured on test
images that carry nothing, against a classifier trained without the planting. Results are appended
one by one: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.plantings import Planting, suite
from seewhy.audit.asking import Asking, evidence_layer
from seewhy.audit.audit import Audited, audit_classifier
from seewhy.audit.mending import mend, reasons_of
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

HARM = 0.1
# Below this loss on unmarked images, what is won back is a share of nothing.
LOSS = 0.05
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
        self.data = _images(setting, data)
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
        unmarked = self._unmarked(asking, planting.label)
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
            "unmarked": unmarked,
            "clean": self._clean(planting),
            "mended": self._mended(data, audited, planting),
            "trained_seconds": round(trained, 1),
            "audit_seconds": round(record.seconds, 1),
        }

    def _asking(self, classifier: Classifier) -> Asking:
        return Asking(classifier, self.compute, evidence_layer(classifier))

    def _untuned(self) -> None:
        """Load the trunk anew where fine-tuning has changed it in place."""
        if self.setting.stage == "finetuning":
            self._load()

    def _clean(self, planting: Planting) -> list[float] | None:
        """Return what a classifier trained without the planting reaches, as `_unmarked` does."""
        if planting.kind == "clean":
            return None
        nothing = np.zeros(len(self.data.ids), bool)
        asking = self._asking(self.train(self.data, nothing, planting.seed))
        found = self._unmarked(asking, planting.label)
        self._untuned()
        return found

    def _mended(self, data: Dataset, audited: Audited, planting: Planting) -> dict[str, Any] | None:
        """Mend what was found; return what the second classifier reaches on unmarked images."""
        reasons = reasons_of(audited.record, audited.details)
        if not reasons:
            return None
        new, done = mend(data, reasons, planting.seed, np.empty_like(data.pixels))
        changed = np.any(new.pixels != self.data.pixels, axis=(1, 2, 3))
        asking = self._asking(self.train(new, changed, planting.seed))
        found = self._unmarked(asking, planting.label)
        with_it, without = self._harm(asking, planting)
        self._untuned()
        return {
            "unmarked": found,
            "with": with_it,
            "without": without,
            "classes": [one.model_dump(mode="json") for one in done],
        }

    def _unmarked(self, asking: Asking, label: int) -> list[float]:
        """Return recall of one class, and accuracy on all, on test images that carry nothing."""
        test = self.data.where("test")
        right = (
            asking.probabilities(self.data.pixels[test]).argmax(axis=1) == self.data.labels[test]
        )
        return [float(right[self.data.labels[test] == label].mean()), float(right.mean())]

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


def _images(setting: Setting, folder: Path) -> Dataset:
    """Draw the setting's images from the stand-in, a tenth of the training part for validation."""
    rng = np.random.default_rng(setting.first_seed)
    pixels, labels, splits = [], [], []
    names: tuple[str, ...] = ()
    for part, wanted in (("train", setting.train), ("test", setting.test)):
        with np.load(folder / f"cifar10_standin_{part}.npz", allow_pickle=False) as stored:
            images, truth = stored["images"], stored["labels"]
            names = tuple(map(str, stored["label_names"]))
        for label in range(setting.classes):
            own = np.flatnonzero(truth == label)
            chosen = rng.permutation(own)[: wanted // setting.classes]
            pixels.append(images[chosen])
            labels += [label] * len(chosen)
            held = len(chosen) // 10 if part == "train" else 0
            splits += ["validation"] * held + [part] * (len(chosen) - held)
    numbers = tuple(f"{i:06d}" for i in range(len(labels)))
    return Dataset(
        source="CIFAR-10 stand-in",
        classes=names[: setting.classes],
        ids=numbers,
        paths=numbers,
        labels=np.array(labels, dtype=np.int64),
        splits=tuple(splits),  # type: ignore[arg-type]
        pixels=np.concatenate(pixels),
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


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the result as Markdown: the rates, then a line a planting, misses marked."""
    planted = [line for line in lines if line["kind"] != "clean"]
    harmful = [line for line in planted if _harmful(line)]
    found = [line for line in harmful if line["verdicts"][line["class"]] == "shortcut"]
    clean = [
        (line, name, verdict)
        for line in lines
        for name, verdict in line["verdicts"].items()
        if line["kind"] == "clean" or name != line["class"]
    ]
    control = [one for one in clean if one[0]["kind"] == "clean"]
    controls = [line for line in lines if line["kind"] == "clean"]
    text = [
        f"{len(planted)} plantings, {len(harmful)} harmful, {len(found)} of these found "
        f"(recall {_rate(len(found), len(harmful))}).",
        _alarms("clean controls", control),
        _alarms("unplanted classes of all runs", clean),
        *_mending(planted, controls),
        "",
        "| setting | kind | place | class | rate | with | without | verdict | by | won back | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in planted:
        verdict = line["verdicts"][line["class"]]
        kinds = [one["kind"] for one in line["findings"] if one["class"] == line["class"]]
        missed = "**missed**" if _harmful(line) and verdict != "shortcut" else ""
        note = missed or ("" if _harmful(line) else "harmless")
        back = _won_back(line)
        text.append(
            f"| {line['setting']} | {line['kind']} | {line['place']} | {line['class']} | "
            f"{line['rate']:g} | {line['with']:.2f} | {line['without']:.2f} | {verdict} | "
            f"{', '.join(kinds)} | {'–' if back is None else f'{back:.2f}'} | {note} |"
        )
    return "\n".join(text)


def _mending(planted: Sequence[dict[str, Any]], controls: Sequence[dict[str, Any]]) -> list[str]:
    """Say what mending wins back where something was lost, and what it costs."""
    back = [one for one in map(_won_back, planted) if one is not None]
    lost = sum(_lost(line) >= LOSS for line in planted if _harmful(line))
    moved = [
        line["mended"]["unmarked"][1] - line["unmarked"][1] for line in planted if line["mended"]
    ]
    text = [
        f"{lost} harmful plantings lost {LOSS:g} or more of their class's unmarked images; mended: "
        f"{len(back)}, won back (median) {_median(back)} of it.",
        f"Accuracy on all unmarked images, mended less unmended (median): {_median(moved)}.",
    ]
    alarmed = [line for line in controls if line["mended"]]
    cost = [line["mended"]["unmarked"][1] - line["unmarked"][1] for line in alarmed]
    text.append(f"Controls mended for nothing: {len(alarmed)}, accuracy {_median(cost)} (median).")
    return text


def _lost(line: dict[str, Any]) -> float:
    """Return what the planting costs on unmarked images of its class."""
    return float(line["clean"][0] - line["unmarked"][0]) + 1e-9


def _won_back(line: dict[str, Any]) -> float | None:
    """Return which part of the loss mending won back; None where there is no loss, or no mending.

    A planting that another class was mended for counts too.
    """
    if not (_harmful(line) and line["mended"] and _lost(line) >= LOSS):
        return None
    return float(line["mended"]["unmarked"][0] - line["unmarked"][0]) / _lost(line)


def _median(values: Sequence[float]) -> str:
    return f"{np.median(values):+.3f}" if len(values) else "–"


def _alarms(where: str, verdicts: Sequence[tuple[dict[str, Any], str, str]]) -> str:
    false = sum(verdict == "shortcut" for _, _, verdict in verdicts)
    doubtful = sum(verdict == "suspicious" for _, _, verdict in verdicts)
    return (
        f"False alarms in {where}: {false} of {len(verdicts)} class verdicts "
        f"({_rate(false, len(verdicts))}); suspicious: {doubtful}."
    )


def _rate(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def _harmful(line: dict[str, Any]) -> bool:
    # Recalls are shares of a hundred images or so: a rounding error must not decide.
    return bool(line["with"] - line["without"] >= HARM - 1e-9)


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
    done = {(line["setting"], line["seed"]) for line in _read(given.out)}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for setting in [] if given.table else SETTINGS:
        wanted = suite(setting.classes, setting.plantings, setting.controls, setting.first_seed)
        missing = [one for one in wanted if (setting.name, one.seed) not in done]
        if setting.name not in given.only or not missing:
            continue
        with without_denormals():
            bench = Bench(setting, given.data, given.weights)
            for planting in missing:
                line = bench.run(planting)
                with given.out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                print(_short(line), flush=True)
    print(table(_read(given.out)))


def _short(line: dict[str, Any]) -> str:
    verdicts = {name: one for name, one in line["verdicts"].items() if one != "none"}
    return (
        f"{line['setting']} {line['kind']} {line['place']} {line['class']} {line['rate']:g}: "
        f"{line['with']} -> {line['without']}, {verdicts}, clean {line['clean']}, unmarked "
        f"{line['unmarked']}, mended {line['mended'] and line['mended']['unmarked']}, "
        f"{line['audit_seconds']} s"
    )


if __name__ == "__main__":
    main()
