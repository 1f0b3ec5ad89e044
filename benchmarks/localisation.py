"""Whether maps are on the object: four methods against boxes, or against a study's masks.

    python -m benchmarks.localisation --data ../shared/data/real [--images 500]
    python -m benchmarks.localisation --run runs/tiles

Expected: a table per measure with each method's value, that of random maps and of a centred
Gaussian, 95 % bootstrap intervals, and the verdict. With ``--data`` the classifier is not trained:
each map is of the class that the table names (``boxes/boxes.csv``: path, wnid, left, top, right,
bottom). With ``--run`` it is a finished study's fine-tuned classifier, on the test images with a
mask, each map of the image's label. Intervals are over images, also where a study groups them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.data.decoding.fit import Fit
from seewhy.data.pixels import to_input
from seewhy.data.sources.object_masks import Box, ObjectMasks
from seewhy.data.sources.picture_files import PictureFiles
from seewhy.data.sources.table_file import read_table
from seewhy.explanation.explain import explain
from seewhy.explanation.measures.faithfulness import measure_faithfulness
from seewhy.explanation.measures.localisation import score_localisation
from seewhy.explanation.measures.map_measure import MapMeasure, compare
from seewhy.inference.classifiers import open_classifier
from seewhy.inference.picture_input import fitted_to_input
from seewhy.models.imagenet import imagenet_wnids
from seewhy.storage.run_directory import RunDirectory

METHODS = ("gradcam", "gradcam++", "layercam", "eigencam")
MEASURES = ("pointing_game", "energy_inside", "iou")
MEGAPIXELS, BATCH = 100.0, 25


def read_boxes(folder: Path, images: int) -> tuple[list[Path], list[int], list[list[Box]]]:
    """Return pictures, ImageNet classes and boxes, at most `images` of them."""
    columns = read_table(folder / "boxes.csv").columns
    index = {wnid: k for k, wnid in enumerate(imagenet_wnids())}
    corners = zip(*(columns[name] for name in ("left", "top", "right", "bottom")), strict=True)
    found: dict[str, tuple[int, list[Box]]] = {}
    for path, wnid, box in zip(columns["path"], columns["wnid"], corners, strict=True):
        left, top, right, bottom = map(float, box)
        found.setdefault(path, (index[wnid], []))[1].append((left, top, right, bottom))
    chosen = dict(list(found.items())[:images])
    return (
        [folder / path for path in chosen],
        [label for label, _ in chosen.values()],
        [boxes for _, boxes in chosen.values()],
    )


@dataclass(frozen=True)
class Case:
    """A classifier, its images in batches, their classes (N,) and objects (N, H, W)."""

    name: str
    module: nn.Module
    layer: str | None
    batches: list[Tensor]
    labels: list[int]
    objects: NDArray[np.bool_]


def boxes_case(folder: Path, images: int, backbone: str) -> Case:
    """Return ImageNet photographs and their boxes, with an untrained classifier."""
    classifier = open_classifier(f"timm:{backbone}")
    paths, labels, boxes = read_boxes(folder / "boxes", images)
    size = classifier.working_size
    files = PictureFiles(tuple(paths), MEGAPIXELS, size)
    squares = [Fit(size).picture(files.load(k)) for k in range(len(paths))]
    none = (None,) * len(paths)
    masks = ObjectMasks(tuple(paths), none, tuple(boxes), MEGAPIXELS)
    objects = np.stack([Fit(size).mask(masks.load(k)) for k in range(len(paths))])
    batches = [
        fitted_to_input(squares[k : k + BATCH], classifier.preprocess, classifier.module)
        for k in range(0, len(paths), BATCH)
    ]
    return Case(backbone, classifier.module, None, batches, labels, objects)


def study_case(root: Path) -> Case:
    """Return the test images with a mask of a finished study, with its fine-tuned classifier."""
    classifier = open_classifier(str(root), device="cpu")
    data = RunDirectory.open(root).data.read()
    if data.masks is None:
        raise SystemExit(f"{root}: its images have no masks")
    chosen = [k for k in data.where("test").tolist() if data.masks[k].any()]
    batches = [
        to_input(
            torch.from_numpy(np.ascontiguousarray(data.pixels[chosen[k : k + BATCH]])),
            classifier.preprocess,
            "cpu",
        )
        for k in range(0, len(chosen), BATCH)
    ]
    labels = data.labels[chosen].tolist()
    return Case(
        classifier.name, classifier.module, classifier.layer, batches, labels, data.masks[chosen]
    )


def measured(case: Case, method: str) -> dict[str, MapMeasure]:
    """Return each measure of one method's maps beside random maps and a centred Gaussian."""
    parts, done = [], 0
    for batch in case.batches:
        labels = case.labels[done : done + len(batch)]
        layer = case.layer or "auto"
        parts.append(explain(case.module, batch, labels, layer=layer, method=method).maps[:, 0])
        done += len(batch)
    maps = torch.cat(parts).float().cpu()
    found = measure_faithfulness(
        case.module, iter(case.batches), maps, case.labels, case.objects,
        baselines=(), road_shares=(),
    ).measures  # fmt: skip
    objects = torch.from_numpy(np.ascontiguousarray(case.objects))
    scores = score_localisation(maps, objects, torch.arange(len(maps)))["iou_at_area"].numpy()
    ours, *random, gaussian = scores[:, ~np.isnan(scores[0])]
    at_area = compare(ours, np.stack(random, axis=1), gaussian, "high")
    return {**{name: found[name] for name in MEASURES}, "iou_at_area": at_area}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/real"))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--run", type=Path, help="a finished study with masks, instead of boxes")
    given = parser.parse_args()
    if given.run:
        case = study_case(given.run)
    else:
        case = boxes_case(given.data, given.images, given.backbone)
    images, area = len(case.labels), case.objects.mean()
    print(f"{images} images, {area:.2f} of the area is object, {case.name}\n")
    print("| measure | method | maps | random maps | centred Gaussian | verdict |")
    print("|---" * 6 + "|")
    for method in METHODS:
        started = perf_counter()
        for name, one in measured(case, method).items():
            shown = (f"{x.value:.3f} ({x.low:.3f} … {x.high:.3f})" for x in (one.maps, one.random))
            print(f"| {name} | {method} | {' | '.join(shown)} | {one.gaussian.value:.3f} "
                  f"| {one.verdict}; {one.gaussian_verdict} |", flush=True)  # fmt: skip
        print(f"<!-- {method}: {perf_counter() - started:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
