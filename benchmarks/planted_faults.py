"""How many planted faults the data checks and the list of issues find.

    python -m benchmarks.planted_faults TRAIN.npz --test TEST.npz --photos PHOTOS

Takes 2,000 training and 500 test images of the two files, plants faults among them, runs a study
without a search, and counts what data/checks.json and quality_issues.json name:

- 20 duplicates: test images overwritten with training images, half exact, half as JPEGs;
- 20 swapped labels among the training images;
- 10 outliers in place of training images, each with the label of the image it replaced: four
  photographs of insects and musical instruments, three pictures of the demo, three of noise;
- 4 images each made blank, dark and blurred.

What else is named is counted as a false alarm, though the images have faults of their own.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from seewhy import load_config, run_study
from seewhy.data.decoding.fit import Fit
from seewhy.data.decoding.picture import decode_image
from seewhy.data.sources.arrays import list_arrays
from seewhy.data.sources.demo.demo import draw_demo
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.data_checks import DataFindings
from seewhy.storage.schemas.quality_issues import QualityIssues

COPIES, SWAPPED, FAULTY = 20, 20, 4
OUTLIER_FOLDERS = ("insect", "musical_instrument")
TOPS = (10, 20, 50, 100)


@dataclass(frozen=True)
class Planted:
    """The ids of what was planted, as a study of the two files gives them."""

    copies: set[str]
    swapped: set[str]
    outliers: set[str]
    faulty: dict[str, set[str]]


def plant(
    train: Path, test: Path, photos: Path, counts: tuple[int, int], seed: int, folder: Path
) -> Planted:
    """Write ``train.npz`` and ``test.npz`` with planted faults into `folder`."""
    rng = np.random.default_rng(seed)
    listing = list_arrays(train, test)
    splits = np.array(listing.splits)
    chosen = [
        np.sort(rng.choice(np.flatnonzero(splits == split), count, replace=False))
        for split, count in zip(("train", "test"), counts, strict=True)
    ]
    images = [np.stack([listing.load(i) for i in some.tolist()]) for some in chosen]
    labels = [listing.labels[some] for some in chosen]
    free = rng.permutation(counts[0])
    swapped, outliers, copied, faulty = np.split(free, np.cumsum([SWAPPED, 10, COPIES]))
    classes = len(listing.classes)
    labels[0][swapped] = (labels[0][swapped] + rng.integers(1, classes, SWAPPED)) % classes
    images[0][outliers] = _foreign(photos, images[0].shape[1], rng)
    copies = rng.permutation(counts[1])[:COPIES]
    for number, (place, original) in enumerate(zip(copies, copied, strict=True)):
        image = images[0][original]
        images[1][place] = image if number % 2 else _as_jpeg(image)
        labels[1][place] = labels[0][original]
    by_fault = dict(
        zip(("blank", "dark", "blurred"), faulty[: 3 * FAULTY].reshape(3, -1), strict=True)
    )
    for fault, places in by_fault.items():
        images[0][places] = [_damaged(fault, image) for image in images[0][places]]
    for name, pixels, given in zip(("train", "test"), images, labels, strict=True):
        names = np.array(listing.classes)
        np.savez(folder / f"{name}.npz", images=pixels, labels=given, label_names=names)
    return Planted(
        copies=_ids(copies + counts[0]),
        swapped=_ids(swapped),
        outliers=_ids(outliers),
        faulty={fault: _ids(places) for fault, places in by_fault.items()},
    )


def _ids(places: Iterable[int]) -> set[str]:
    return {f"{place:06d}" for place in places}


def _foreign(photos: Path, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    files = sorted(file for name in OUTLIER_FOLDERS for file in (photos / name).iterdir())
    some = [decode_image(files[i]) for i in rng.choice(len(files), 4, replace=False)]
    listing = draw_demo(10, 4, 96, 0)
    some += [listing.load(int(i)) for i in rng.choice(len(listing.paths), 3, replace=False)]
    noise = rng.integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    return np.stack([*(Fit(side).picture(image) for image in some), *noise])


def _as_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream).convert("RGB"))


def _damaged(fault: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if fault == "blank":
        return np.full_like(image, image.mean())
    if fault == "dark":
        return image // 8
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2)))


def report(planted: Planted, findings: DataFindings, issues: QualityIssues) -> None:
    """Print a line a fault: planted, found, named besides."""
    for fault in findings.faults:
        wanted = planted.faulty.get(fault.fault, set())
        _line(fault.fault, wanted, [image.id for image in fault.first], fault.count)
    leaks = [group for group in findings.duplicates.first if len(group.splits) > 1]
    named = [image.id for group in leaks for image in group.images if image.split == "test"]
    _line("duplicates across splits", planted.copies, named, findings.duplicates.seen["test"])
    for title, wanted, found in (
        ("swapped labels", planted.swapped, issues.label_issues),
        ("outliers", planted.outliers, issues.outliers),
    ):
        ids = [issue.id for issue in found.first]
        _line(title, wanted, ids, found.count)
        tops = ", ".join(f"{len(wanted & set(ids[:top]))} in the first {top}" for top in TOPS)
        print(f"    {tops}; {found.looked_at} images looked at {found.skipped or ''}")


def _line(title: str, wanted: set[str], named: Sequence[str], count: int) -> None:
    found = len(wanted & set(named))
    print(f"{title}: planted {len(wanted)}, found {found}, others {count - found}")


def main() -> None:
    """Plant, run, count."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--counts", type=int, nargs=2, default=(2000, 500))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        planted = plant(
            given.train, given.test, given.photos, tuple(given.counts), given.seed, folder
        )
        settings = [f"input.size={given.size}", "search.trials=0", "finetuning.epochs=1"]
        config = load_config(
            str(folder / "train.npz"),
            test=str(folder / "test.npz"),
            backbones=[given.backbone],
            settings=settings,
        )
        study = run_study(config, folder / "run")
        run = RunDirectory(study.root)
        findings = run.data.read_checks().findings
        issues = run.quality.read(next(iter(study.summary.backbones)))
    assert findings is not None
    assert issues is not None
    report(planted, findings, issues)


if __name__ == "__main__":
    main()
