"""Whether maps are on the object: four methods against the boxes of ImageNet photographs.

    python -m benchmarks.localisation --data ../shared/data/real [--images 500]

Expected: a table per measure with each method's value, that of random maps and of a centred
Gaussian, 95 % bootstrap intervals, and the verdict. The classifier is not trained: each map is of
the class that the table names (``boxes/boxes.csv``: path, wnid, left, top, right, bottom).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from seewhy.data.decoding.fit import Fit
from seewhy.data.sources.object_masks import Box, ObjectMasks
from seewhy.data.sources.picture_files import PictureFiles
from seewhy.data.sources.table_file import read_table
from seewhy.explanation.explain import explain
from seewhy.explanation.measures.faithfulness import measure_faithfulness
from seewhy.inference.classifiers import open_classifier
from seewhy.inference.picture_input import fitted_to_input
from seewhy.models.imagenet import imagenet_wnids

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/real"))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    given = parser.parse_args()
    classifier = open_classifier(f"timm:{given.backbone}")
    paths, labels, boxes = read_boxes(given.data / "boxes", given.images)
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
    print(f"{len(paths)} images, {objects.mean():.2f} of the area is object, {given.backbone}\n")
    print(
        "| measure | method | maps | random maps | centred Gaussian | verdict |\n"
        + "|---" * 6
        + "|"
    )
    for method in METHODS:
        started = perf_counter()
        maps = torch.cat(
            [
                explain(
                    classifier.module, batch, labels[k * BATCH : k * BATCH + len(batch)],
                    method=method,
                ).maps[:, 0]
                for k, batch in enumerate(batches)
            ]
        )  # fmt: skip
        found = measure_faithfulness(
            classifier.module, iter(batches), maps, labels, objects, baselines=(), road_shares=()
        )
        for name in MEASURES:
            one = found.measures[name]
            shown = (f"{x.value:.3f} ({x.low:.3f} … {x.high:.3f})" for x in (one.maps, one.random))
            print(f"| {name} | {method} | {' | '.join(shown)} | {one.gaussian.value:.3f} "
                  f"| {one.verdict}; {one.gaussian_verdict} |", flush=True)  # fmt: skip
        print(f"<!-- {method}: {perf_counter() - started:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
