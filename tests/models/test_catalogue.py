"""`seewhy models`: counts against published ones, top-1 against torchvision's own record."""

from __future__ import annotations

import time

import pytest
import timm
import torchvision

from seewhy.models.catalogue import CatalogueRow, catalogue


@pytest.fixture(scope="module")
def rows() -> dict[str, CatalogueRow]:
    started = time.process_time()
    found = {row.name: row for row in catalogue()}
    assert time.process_time() - started < 20  # building the networks would take minutes
    return found


@pytest.mark.parametrize(
    ("name", "parameters", "layers"),
    [
        # Parameters as torchvision publishes them; convolutions and linear layers by hand.
        ("vgg16.tv_in1k", 138_357_544, 13 + 3),
        ("resnet18.a1_in1k", 11_689_512, 1 + 16 + 3 + 1),
        ("resnet50.tv_in1k", 25_557_032, 1 + 3 * 16 + 4 + 1),
        ("densenet121.ra_in1k", 7_978_856, 1 + 2 * 58 + 3 + 1),
        # Four downsamplings (the stem's with them), three layers in each of 18 blocks, the head.
        ("convnext_tiny.fb_in1k", 28_589_128, 4 + 3 * 18 + 1),
    ],
)
def test_sizes_are_the_published_ones(
    rows: dict[str, CatalogueRow], name: str, parameters: int, layers: int
) -> None:
    assert (rows[name].parameters, rows[name].weighted_layers) == (parameters, layers)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet50.tv_in1k", torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
        ("vgg16.tv_in1k", torchvision.models.VGG16_Weights.IMAGENET1K_V1),
        ("regnety_016.tv2_in1k", torchvision.models.RegNet_Y_1_6GF_Weights.IMAGENET1K_V2),
    ],
)
def test_accuracy_agrees_with_torchvision_s_own_measurement(
    rows: dict[str, CatalogueRow], name: str, weights: torchvision.models.WeightsEnum
) -> None:
    # The same weights, resized by another library: a few tenths of a percent apart at most.
    published = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert rows[name].top1 == pytest.approx(published, abs=0.3)


def test_every_row_is_one_that_timm_has_weights_for(rows: dict[str, CatalogueRow]) -> None:
    pretrained = set(timm.list_pretrained())
    assert rows.keys() <= pretrained
    assert len(rows) >= 14
    shorts = [row.short for row in rows.values()][:4]
    assert shorts == ["tf_efficientnet_lite0", "resnet50", "inception_v3", "vgg16"]
    assert {row.name: row.input_size for row in rows.values()}["inception_v3.tf_in1k"] == 299
    default = next(iter(rows.values()))
    assert default.weights == "installed with seewhy"
    assert {row.weights for row in rows.values()} == {default.weights, "Hugging Face hub"}
