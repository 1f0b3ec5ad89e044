"""Explain a classifier that seewhy did not train: any `nn.Module` will do.

    python examples/explain_any_model.py cat.jpg

Expected: one line a class, the likeliest first, and `cat-overlay.png` beside the picture. The
weights come from a package that is installed with seewhy, so no network is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

from seewhy import explain
from seewhy.config import BackboneConfig
from seewhy.data.decode import decode_image, fit_square
from seewhy.data.pixels import to_input
from seewhy.models.backbones import load_backbone
from seewhy.render import overlay


def main(path: Path) -> None:
    """Show the three likeliest ImageNet classes and where the first one was seen."""
    backbone = load_backbone(BackboneConfig(name="tf_efficientnet_lite0"), size=None, seed=0)
    square = fit_square(decode_image(path), backbone.preprocess.size)
    images = to_input(torch.from_numpy(square[None]), backbone.preprocess, "cpu")
    found = explain(backbone.model, images)
    shares, classes = found.probabilities[0].topk(3)
    for share, number in zip(shares.tolist(), classes.tolist(), strict=True):
        print(f"{backbone.wnids[number] if backbone.wnids else number}: {share:.3f}")
    target = path.with_name(f"{path.stem}-overlay.png")
    Image.fromarray(overlay(square, found.maps[0, 0].numpy())).save(target)
    print(target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
