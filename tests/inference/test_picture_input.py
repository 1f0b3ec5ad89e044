"""New pictures go the same way as the study's own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.config import BackboneConfig
from seewhy.data.decoding.fit import Fit
from seewhy.data.decoding.picture import decode_image
from seewhy.data.pixels import to_input
from seewhy.errors import DataError, RunError, UnreadableImageError
from seewhy.inference.classifiers import load_classifier
from seewhy.inference.picture_input import read_images
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import Classifier, ClassifierSpec, Head
from seewhy.models.cut import cut_trunk


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """One whose study kept its images at 48 pixels and enlarged them to 64 on the device."""
    backbone = load_backbone(BackboneConfig(name="resnet18", weights="none"), 64, seed=0)
    cut = cut_trunk(backbone.model, 0.5, 64)
    design = ClassifierSpec(backbone.name, 0.5, (), 0.0, ("a", "b"), backbone.preprocess, 48)
    return Classifier(cut, Head(512, (), 0.0, 2, seed=0), design).eval()


def test_a_picture_takes_the_same_two_steps(classifier: Classifier, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "new.png"
    Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    square = Fit(48).picture(decode_image(path))
    expected = to_input(torch.from_numpy(square[None]), classifier.design.preprocess, "cpu")
    for named in (path, str(path), [path], (str(path),)):
        torch.testing.assert_close(read_images(named, classifier), expected, rtol=0, atol=0)
    assert expected.shape == (1, 3, 64, 64)
    # One step, straight to 64, would give other values.
    direct = Fit(64).picture(decode_image(path))
    other = to_input(torch.from_numpy(direct[None]), classifier.design.preprocess, "cpu")
    assert (other - expected).abs().max() > 0.1


def test_what_cannot_be_read_is_named(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at least one picture file"):
        read_images([], classifier)
    with pytest.raises(UnreadableImageError, match=r"none\.png"):
        read_images(tmp_path / "none.png", classifier)
    with pytest.raises(RunError, match="there is no such run directory"):
        load_classifier(tmp_path / "nothing")
