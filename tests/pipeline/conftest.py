"""What the tests of whole studies share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from seewhy.models.backbones import create_architecture


def draw_folder(
    root: Path,
    classes: tuple[str, ...] = ("blue", "green", "red"),
    each: int = 10,
    size: tuple[int, int] = (40, 48),
    noise: int = 120,
    tint: int = 40,
) -> Path:
    """Make class folders of noise with more of one colour, which any network can tell apart."""
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, noise, (*size, 3), dtype=np.uint8)
            pixels[..., ("red", "green", "blue").index(name)] += tint
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


def save_local(folder: Path, architecture: str, side: int = 64) -> None:
    """Write a backbone in timm's local-dir layout, without a classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = create_architecture(architecture)
    kept = ("fc.", "head.", "pre_logits.")
    tensors = {n: t for n, t in model.state_dict().items() if not n.startswith(kept)}
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    cfg = {"input_size": [3, side, side], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 0,
           "interpolation": "bilinear"}  # fmt: skip
    text = json.dumps({"architecture": architecture, "num_classes": 0, "pretrained_cfg": cfg})
    (folder / "config.json").write_text(text)
