"""Photographs, and the ImageNet network that needs no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.config import BackboneConfig
from seewhy.models.backbones import load_backbone


@pytest.fixture
def photographs(shared: Path) -> Callable[[int, int], tuple[nn.Module, Tensor]]:
    """Give a network and that many photographs of that size, preprocessed for it."""

    def load(size: int, count: int) -> tuple[nn.Module, Tensor]:
        backbone = load_backbone(BackboneConfig(name="tf_efficientnet_lite0"), size, seed=0)
        files = sorted((shared / "data" / "photos").glob("*/*.jpg"))
        squares = []
        for file in files[:: len(files) // count][:count]:
            with Image.open(file) as opened:
                photo = opened.convert("RGB")
            side = min(photo.size)
            left, top = (photo.width - side) // 2, (photo.height - side) // 2
            square = photo.crop((left, top, left + side, top + side)).resize((size, size))
            squares.append(torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255)
        mean, std = (
            torch.tensor(values)[:, None, None]
            for values in (backbone.preprocess.mean, backbone.preprocess.std)
        )
        return backbone.model, (torch.stack(squares) - mean) / std

    return load
