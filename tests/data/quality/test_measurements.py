"""Digests, thumbnails and sharpness, against values worked out by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

from seewhy.data.quality.measurements import measure_images, sharpness
from seewhy.runtime.progress import Silent


def test_each_row_belongs_to_its_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    pixels[69] = pixels[1]
    found = measure_images(pixels, Silent())
    digests = [hashlib.sha256(image.tobytes()).hexdigest()[:32].encode() for image in pixels]
    assert found.digests.tolist() == digests
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(found.thumbs - luma).max() <= 1
    assert (found.sharpness[[1, 69]] == sharpness(found.thumbs[1])).all()


def test_larger_images_are_averaged() -> None:
    pixels = np.zeros((1, 128, 128, 3), dtype=np.uint8)
    pixels[:, :, 64:] = 200
    thumb = measure_images(pixels, Silent()).thumbs[0]
    assert (thumb[:, :15] == 0).all()
    assert (thumb[:, 17:] == 200).all()


def test_sharpness_of_ramps_edges_and_noise() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 2, (64, 1))
    assert sharpness(ramp) == pytest.approx(1 / 16)
    # A step: 1 of 63 neighbours differs, and 4 of 60 that are four apart.
    step = np.zeros((64, 64), dtype=np.uint8)
    step[:, 32:] = 100
    assert sharpness(step) == pytest.approx((1 / 63) / (4 / 60))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    assert sharpness(noise) == pytest.approx(1, abs=0.05)
    assert sharpness(np.full((64, 64), 7, dtype=np.uint8)) == 0
    assert sharpness(np.zeros((1, 1), dtype=np.uint8)) == 0


def test_a_blur_comes_near_to_a_ramp() -> None:
    squares = np.kron(np.indices((4, 4)).sum(axis=0) % 2, np.full((24, 24), 255)).astype(np.uint8)
    assert sharpness(squares) > 0.2
    blurred = Image.fromarray(squares).filter(ImageFilter.GaussianBlur(4))
    assert 1 / 16 < sharpness(np.asarray(blurred)) < 0.08


def test_padding_is_not_measured() -> None:
    """A dark picture between two light bars stays dark, and what is smooth has no edge."""
    pixels = np.full((2, 32, 32, 3), 124, dtype=np.uint8)
    pixels[:, 8:24] = 5
    thumbs = measure_images(pixels, Silent(), lambda index: (0, 8, 32, 24)).thumbs
    assert (thumbs == 5).all()
    assert (measure_images(pixels, Silent()).thumbs != 5).any()
