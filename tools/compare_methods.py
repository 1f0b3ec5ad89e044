"""Draw every method on pictures, side by side, and measure its cost and what it depends on.

    python tools/compare_methods.py cat.png cup.png rocket.jpg --out docs/images --more photos/dog

writes ``methods-NAME.webp`` for each picture (tf_efficientnet_lite0, its predicted class, one
thread) and prints, a line a method: seconds a picture of the first one, and the mean rank
correlation of its maps with those of the same network after its output layer's weights were
shuffled, over all pictures of ``--more``. The pictures of docs/explaining.md were
made with it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from seewhy import NamedClassifier, explain, open_classifier, read_images
from seewhy.data.sources.folder import list_pictures
from seewhy.explanation.measures.sanity import check_sanity
from seewhy.explanation.methods.registry import METHODS
from seewhy.inference.explain_pictures import explain_pictures
from seewhy.inference.explanation_request import ExplanationRequest

WIDTH = 1000
Names = tuple[str, ...]
# LeGrad wants a vision transformer (draw_legrad.py); Score-CAM would run for an hour over a folder.
DRAWN = tuple(name for name in METHODS if name != "legrad")
SHUFFLED = tuple(name for name in DRAWN if name != "scorecam")


def main() -> None:
    """Draw, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="+", help="picture files to draw")
    parser.add_argument("--out", type=Path, required=True, help="folder for the sheets")
    parser.add_argument("--more", type=Path, required=True, help="a folder of pictures to measure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    named = open_classifier("timm:tf_efficientnet_lite0", device="cpu")
    draw(named, arguments.pictures, arguments.out)
    image = read_images(arguments.pictures[0], named)
    many = read_images(list_pictures(arguments.more), named)
    print_table(named, image, many, DRAWN, SHUFFLED)


def draw(named: NamedClassifier, pictures: list[Path], out: Path) -> None:
    """Write a sheet a picture."""
    with tempfile.TemporaryDirectory() as folder:
        done = explain_pictures(named, pictures, folder, ExplanationRequest(methods=DRAWN))
        for path, picture in zip(pictures, done.pictures, strict=True):
            with Image.open(Path(folder) / str(picture.sheet)) as sheet:
                save(sheet, out / f"methods-{path.stem}.webp")


def save(sheet: Image.Image, path: Path) -> None:
    """Write a sheet as a page shows it."""
    size = (WIDTH, round(sheet.height * WIDTH / sheet.width))
    sheet.resize(size, Image.Resampling.LANCZOS).save(path, quality=70, method=6)


def print_table(
    named: NamedClassifier, image: Tensor, many: Tensor, methods: Names, shuffled: Names
) -> None:
    """Print a line a method: seconds for an image, and, of some, what shuffling changes of many."""
    print("| method | seconds a picture | rank correlation, output layer shuffled |")
    print("|---|---|---|")
    found = correlations(named, many, shuffled)
    for name in methods:
        likeness = f"{found[name]:.2f}" if name in found else ""
        print(f"| {METHODS[name].title} | {seconds(named, image, name):.3f} | {likeness} |")


def seconds(named: NamedClassifier, image: Tensor, method: str) -> float:
    """Time one picture, the best of three; once where it takes long."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        explain(named.module, image, method=method)
        best = min(best, time.perf_counter() - started)
        if best > 5:
            break
    return best


def correlations(named: NamedClassifier, images: Tensor, methods: Names) -> dict[str, float]:
    """Return each method's mean rank correlation after the output layer was shuffled."""
    found = check_sanity(named.module, images, methods=methods, levels=2, draws=1)
    return {name: one.depths[0].spearman.value for name, one in found.methods.items()}


if __name__ == "__main__":
    main()
