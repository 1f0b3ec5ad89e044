"""The pretrained weights that all peers start from, and what a linear probe makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from benchmarks.peers.driver import ARCHITECTURE, Task
from seewhy.models.weights import read_lite0

BATCH = 64


def export(folder: Path) -> None:
    """Write the weights of the installed package under timm's names, in timm's layout.

    ``config.json`` is written last.
    """
    if (folder / "config.json").is_file():
        return
    model = timm.create_model(ARCHITECTURE, pretrained=False)
    tensors, _ = read_lite0(model)
    model.load_state_dict(tensors, strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    # Some libraries read pickled weights alone.
    torch.save(state, folder / "pytorch_model.bin")
    config = {"architecture": ARCHITECTURE, "num_classes": 1000, "num_features": 1280}
    kept = ("input_size", "interpolation", "mean", "std", "first_conv", "classifier")
    inner = {name: model.pretrained_cfg[name] for name in kept}
    config["pretrained_cfg"] = {**inner, "num_classes": 1000, "pool_size": [7, 7]}
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")


def load(folder: Path) -> nn.Module:
    """Return the network without its output layer, in evaluation mode."""
    overlay = {"file": str(folder / "model.safetensors")}
    model = timm.create_model(
        ARCHITECTURE, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
    )
    return model.eval()


@torch.inference_mode()
def features(model: nn.Module, files: list[Path]) -> NDArray[np.float32]:
    """Return pooled features, (N, C)."""
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    found = []
    for start in range(0, len(files), BATCH):
        pixels = np.stack([np.asarray(Image.open(path)) for path in files[start : start + BATCH]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        found.append(model((images - mean) / std))
    return torch.cat(found).numpy()


def probe_accuracy(task: Task) -> float:
    """Return the validation accuracy of scikit-learn's logistic regression on pooled features."""
    model = load(task.weights)
    train, validation = (features(model, task.files(split)) for split in ("train", "val"))
    probe = LogisticRegression(max_iter=2000).fit(train, task.labels("train"))
    return float(probe.score(validation, task.labels("val")))
