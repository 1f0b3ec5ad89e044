"""Whether maps are on the object: four methods against boxes, or against a study's masks.

    python -m benchmarks.localisation --data ../shared/data/real [--images 500]
    python -m benchmarks.localisation --run runs/tiles
    python -m benchmarks.localisation --chosen --size 96 [--run runs/tiles]

Expected: a table per measure with each method's value, that of random maps and of a centred
Gaussian, 95 % bootstrap intervals, and the verdict. With ``--data`` the classifier is not trained:
each map is of the class that the table names (``boxes/boxes.csv``: path, wnid, left, top, right,
bottom). With ``--run`` it is a finished study's fine-tuned classifier, on the test images with a
mask, each map of the image's label. Intervals are over images, also where a study groups them.

With ``--chosen`` two pairs of method and layer are compared instead: Grad-CAM at the last map and
the pair that a study chooses. For boxes it is chosen as a study does it, without the boxes, on 24
images of one half of the data; both pairs are measured on the other half.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.config import ExplanationConfig
from seewhy.data.decoding.fit import Fit
from seewhy.data.pixels import to_input
from seewhy.data.sources.object_masks import Box, ObjectMasks
from seewhy.data.sources.picture_files import PictureFiles
from seewhy.data.sources.table_file import read_table
from seewhy.data.splits import draw_sample
from seewhy.explanation.explain import explain
from seewhy.explanation.measures.faithfulness import measure_faithfulness
from seewhy.explanation.measures.localisation import score_localisation
from seewhy.explanation.measures.map_candidates import beside_random, score_candidates
from seewhy.explanation.measures.map_measure import MapMeasure, compare
from seewhy.inference.classifiers import open_classifier
from seewhy.inference.picture_input import fitted_to_input
from seewhy.models.classifier import in_trunk
from seewhy.models.cut import cut_trunk
from seewhy.models.imagenet import imagenet_wnids
from seewhy.pipeline.map_choice import candidate_pairs, chosen_from
from seewhy.storage.run_directory import RunDirectory
from seewhy.storage.schemas.map_choice import MapCandidate

METHODS = ("gradcam", "gradcam++", "layercam", "eigencam")
MEASURES = ("pointing_game", "energy_inside", "iou")
MEGAPIXELS, BATCH, CHOOSE = 100.0, 25, 24
# A method and the layers it explains.
Pair = tuple[str, tuple[str, ...]]


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
    layer: str
    batches: list[Tensor]
    labels: list[int]
    objects: NDArray[np.bool_]
    chosen: Pair | None = None


def boxes_case(folder: Path, images: int, backbone: str, size: int | None = None) -> Case:
    """Return ImageNet photographs and their boxes, with an untrained classifier."""
    classifier = open_classifier(f"timm:{backbone}", size=size, device="cpu")
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
    return Case(backbone, classifier.module, classifier.layer, batches, labels, objects)


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
        classifier.name, classifier.module, classifier.layer, batches, labels, data.masks[chosen],
        (classifier.method, classifier.method_layers),
    )  # fmt: skip


def part(case: Case, rows: NDArray[np.int64]) -> Case:
    """Return some of a case's images."""
    images = torch.cat(case.batches)[torch.from_numpy(rows)]
    labels = [case.labels[row] for row in rows]
    return replace(
        case, batches=list(images.split(BATCH)), labels=labels, objects=case.objects[rows]
    )


def choose(case: Case, backbone: str) -> Case:
    """Choose a pair as a study does, on images of one half; return the other half with it."""
    rows = np.arange(len(case.labels))
    sample = part(case, rows[::2][draw_sample(np.zeros(len(rows[::2]), np.int64), CHOOSE, 0)])
    size = (sample.batches[0].shape[2], sample.batches[0].shape[3])
    cut = cut_trunk(timm.create_model(backbone).eval(), 0.5, size)
    pairs = [
        (pair.method, tuple(in_trunk(layer) or case.layer for layer in pair.layers))
        for pair in candidate_pairs(ExplanationConfig(), cut)
    ]
    values, done = [], 0
    for batch in sample.batches:
        with torch.no_grad():
            classes = case.module(batch).argmax(dim=1)
        maps = [
            explain(case.module, batch, classes, layer=layers, method=method).maps[:, 0]
            for method, layers in pairs
        ]
        numbers = torch.arange(done, done + len(batch))
        values.append(score_candidates(case.module, batch, maps, classes, numbers))
        done += len(batch)
    ours, random = (torch.cat(each, dim=1).numpy() for each in zip(*values, strict=True))
    found = chosen_from(
        [
            MapCandidate(method=method, layer=", ".join(layers), places=(1, 1),
                         **vars(beside_random(*both)))
            for (method, layers), *both in zip(pairs, ours, random, strict=True)
        ],
        tuple(map(str, range(done))),
    )  # fmt: skip
    for one in found.candidates:
        print(f"<!-- {one.method} at {one.layer}: {one.difference} -->")
    return replace(part(case, rows[1::2]), chosen=(found.method, tuple(found.layer.split(", "))))


def maps_of(case: Case, pair: Pair) -> Tensor:
    """Return the maps (N, h, w) of the images' classes by one pair of method and layers."""
    method, layers = pair
    parts, done = [], 0
    for batch in case.batches:
        labels = case.labels[done : done + len(batch)]
        parts.append(explain(case.module, batch, labels, layer=layers, method=method).maps[:, 0])
        done += len(batch)
    return torch.cat(parts).float().cpu()


def located(case: Case, maps: Tensor) -> dict[str, MapMeasure]:
    """Return what needs no pass of the network, beside random maps and a centred Gaussian."""
    objects = torch.from_numpy(np.ascontiguousarray(case.objects))
    found = {}
    for name, values in score_localisation(maps, objects, torch.arange(len(maps))).items():
        ours, *random, gaussian = values.numpy()[:, ~np.isnan(values.numpy()[0])]
        found[name] = compare(ours, np.stack(random, axis=1), gaussian, "high")
    return found


def measured(case: Case, maps: Tensor) -> dict[str, MapMeasure]:
    """Return each measure of one method's maps beside random maps and a centred Gaussian."""
    found = measure_faithfulness(
        case.module, iter(case.batches), maps, case.labels, case.objects,
        baselines=(), road_shares=(),
    ).measures  # fmt: skip
    at_area = located(case, maps)["iou_at_area"]
    return {**{name: found[name] for name in MEASURES}, "iou_at_area": at_area}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/real"))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, help="side of the input for boxes")
    parser.add_argument("--run", type=Path, help="a finished study with masks, instead of boxes")
    parser.add_argument("--chosen", action="store_true", help="the chosen pair and Grad-CAM alone")
    given = parser.parse_args()
    if given.run:
        case = study_case(given.run)
    else:
        case = boxes_case(given.data, given.images, given.backbone, given.size)
        case = choose(case, given.backbone) if given.chosen else case
    last = (case.layer,)
    pairs: list[Pair] = [(method, last) for method in METHODS]
    if given.chosen and case.chosen:
        pairs = [("gradcam", last), case.chosen]
    images, area = len(case.labels), case.objects.mean()
    print(f"{images} images, {area:.2f} of the area is object, {case.name}\n")
    print("| measure | method | maps | random maps | centred Gaussian | verdict |")
    print("|---" * 6 + "|")
    for method, layers in pairs:
        started = perf_counter()
        title = f"{method} at {', '.join(layers)}" if given.chosen else method
        maps = maps_of(case, (method, layers))
        for name, one in (located if given.chosen else measured)(case, maps).items():
            shown = (f"{x.value:.3f} ({x.low:.3f} … {x.high:.3f})" for x in (one.maps, one.random))
            print(f"| {name} | {title} | {' | '.join(shown)} | {one.gaussian.value:.3f} "
                  f"| {one.verdict}; {one.gaussian_verdict} |", flush=True)  # fmt: skip
        print(f"<!-- {method}: {perf_counter() - started:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
