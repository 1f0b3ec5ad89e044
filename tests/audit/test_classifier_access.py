"""A study's classifier as the audit asks it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from seewhy.audit.classifier_access import StudyClassifierAccess
from seewhy.config import BackboneConfig
from seewhy.models.backbones import load_backbone
from seewhy.models.classifier import Classifier, ClassifierSpec, Head
from seewhy.models.cut import cut_trunk
from seewhy.runtime.device import choose_compute


def test_what_is_gathered_is_not_of_another_threads_images() -> None:
    backbone = load_backbone(BackboneConfig(name="resnet18", weights="none"), 32, seed=0)
    cut = cut_trunk(backbone.model, 0.5, 32)
    design = ClassifierSpec("resnet18", 0.5, (), 0.0, ("a", "b"), backbone.preprocess, 32)
    classifier = Classifier(cut, Head(512, (), 0.0, 2, seed=0), design).eval()
    access = StudyClassifierAccess(
        classifier, choose_compute("cpu", "float32"), classifier.map_layer
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    maps = np.ones((3, 1, 1), np.float32)
    expected = access.gathered(pixels, maps)
    met: list[int] = []

    def meet(*given: object) -> None:
        if not met:
            met.append(1)
            with ThreadPoolExecutor(1) as other:
                other.submit(classifier, torch.zeros(3, 3, 32, 32)).result()

    # Between the layer and the logits another thread asks the classifier about other images.
    handle = classifier.tail_and_head.head.register_forward_pre_hook(meet)
    np.testing.assert_array_equal(access.gathered(pixels, maps), expected)
    handle.remove()
    assert met
