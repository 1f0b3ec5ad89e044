"""What the tests of whole studies share."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from seewhy.models.backbones import create_architecture


def save_local(folder: Path, architecture: str) -> None:
    """Write a backbone in timm's local-dir layout, without a classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = create_architecture(architecture)
    kept = ("fc.", "head.", "pre_logits.")
    tensors = {n: t for n, t in model.state_dict().items() if not n.startswith(kept)}
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    cfg = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 0,
           "interpolation": "bilinear"}  # fmt: skip
    text = json.dumps({"architecture": architecture, "num_classes": 0, "pretrained_cfg": cfg})
    (folder / "config.json").write_text(text)
