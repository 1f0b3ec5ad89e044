"""Draw LeGrad on pictures, beside other methods, and measure it as tools/compare_methods.py does.

    python tools/draw_legrad.py photos/dog/collie.jpg photos/bird/toucan.jpg \
        photos/vehicle/forklift.jpg --photos photos --out docs/images --more photos/dog

trains the small vision transformer of tools/small_vit.py on a folder of class folders, the named
pictures left out (some minutes on one core), writes ``methods-legrad-token.webp``, a row a picture
(with ``--pooling avg`` that of a network whose head reads the mean of all tokens), and prints how
many photographs were classified correctly without being trained on, and a line per method of the
table in docs/explaining.md. That page's row of LeGrad was measured with it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image

from compare_methods import print_table, save
from seewhy import NamedClassifier, read_images
from seewhy.data.sources.folder import list_pictures
from seewhy.inference.explain_pictures import explain_pictures
from seewhy.inference.explanation_request import ExplanationRequest
from small_vit import train_small_vit

DRAWN = ("legrad", "gradcam", "layercam", "eigencam")


def main() -> None:
    """Train, draw, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pictures", type=Path, nargs="+", help="photographs to draw, among --photos"
    )
    parser.add_argument("--photos", type=Path, required=True, help="a folder of class folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture")
    parser.add_argument("--more", type=Path, required=True, help="a folder of pictures to measure")
    parser.add_argument(
        "--pooling", choices=("token", "avg"), default="token", help="of the tokens"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trained = train_small_vit(arguments.photos, arguments.pictures, arguments.pooling)
    named = trained.classifier
    print(
        f"{trained.right} of {trained.photographs} held-out photographs classified rightly; of the "
        f"{trained.own_photographs} held out with the pictures {trained.own_right}, by the mean of "
        f"the last block's tokens {trained.own_by_mean}"
    )
    draw(named, arguments.pictures, arguments.out / f"methods-legrad-{arguments.pooling}.webp")
    image = read_images(arguments.pictures[0], named)
    print_table(named, image, read_images(list_pictures(arguments.more), named), DRAWN, DRAWN)


def draw(named: NamedClassifier, pictures: list[Path], out: Path) -> None:
    """Write the pictures' sheets below each other."""
    with tempfile.TemporaryDirectory() as folder:
        done = explain_pictures(named, pictures, folder, ExplanationRequest(methods=DRAWN))
        sheets = [Image.open(Path(folder) / str(picture.sheet)) for picture in done.pictures]
        whole = Image.new(
            "RGB",
            (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)),
            "white",
        )
        top = 0
        for sheet in sheets:
            with sheet:
                whole.paste(sheet, (0, top))
                top += sheet.height
    save(whole, out)


if __name__ == "__main__":
    main()
