"""A classifier whose maps are known beforehand, and pictures to ask it about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.inference.classifiers import NamedClassifier
from seewhy.storage.schemas.dataset import Preprocess

SIDE, CELL = 32, 4


class Colours(nn.Module):
    """Says how much of a picture is red, green or blue; its map of a colour is where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Conv2d(3, 3, CELL, stride=CELL, bias=False)
        self.says = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            # Channel k: colour k and nothing of the two others, averaged over a cell.
            weight = torch.eye(3) - (1 - torch.eye(3)) / 2
            self.places.weight.copy_(weight[:, :, None, None].expand(-1, -1, CELL, CELL) / CELL**2)
            self.says.weight.copy_(50 * torch.eye(3))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.places(images).relu()
        logits: Tensor = self.says(maps.mean(dim=(2, 3)))
        return logits


@pytest.fixture
def colours() -> NamedClassifier:
    preprocess = Preprocess(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
    names = ("red", "green", "blue")
    return NamedClassifier(
        "colours", "by hand", Colours().eval(), names, names, preprocess, SIDE, "places", 1.0
    )


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Draw a grey picture with a patch of one colour, below a temporary folder."""

    def drawn(
        name: str,
        colour: int = 0,
        size: tuple[int, int] = (128, 64),
        patch: tuple[int, int, int, int] = (80, 8, 96, 24),
        orientation: int | None = None,
    ) -> Path:
        pixels = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
        left, top, right, bottom = patch
        pixels[top:bottom, left:right] = 0
        pixels[top:bottom, left:right, colour] = 250
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        exif = Image.Exif()
        if orientation is not None:
            exif[0x0112] = orientation
        image.save(path, exif=exif)
        return path

    return drawn
