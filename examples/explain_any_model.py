"""Explain a classifier that seewhy did not train: any `nn.Module` will do.

    python examples/explain_any_model.py cat.jpg

Expected: the three likeliest classes, and `cat-overlay.png` beside the picture. The weights come
from a package that is installed with seewhy, so no network is needed. `model`, `classes` and the
preprocessing may just as well be yours: `explain` asks for a module and a batch of its input.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from seewhy import explain, open_classifier, read_images
from seewhy.data.decoding.picture import decode_image
from seewhy.explanation.overlay import overlay_within


def main(path: Path) -> None:
    """Show the three likeliest ImageNet classes and where the first one was seen."""
    named = open_classifier("timm:tf_efficientnet_lite0")
    model, classes = named.module, named.classes
    found = explain(model, read_images(path, named))
    shares, numbers = found.probabilities[0].topk(3)
    for share, number in zip(shares.tolist(), numbers.tolist(), strict=True):
        print(f"{share:.3f} {classes[number]}")
    picture = decode_image(path)
    seen = named.fit.place(picture.shape).kept  # the square in the middle
    laid = overlay_within(picture, found.maps[0, 0].cpu().numpy(), seen)
    target = path.with_name(f"{path.stem}-overlay.png")
    Image.fromarray(laid).save(target)
    print(target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
