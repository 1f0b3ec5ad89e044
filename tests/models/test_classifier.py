"""A classifier's file is complete, comes back to the last bit, and is refused when damaged."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from seewhy import explain, read_images
from seewhy.config import BackboneConfig
from seewhy.data.decoding.fit import Fit
from seewhy.data.pixels import to_input
from seewhy.errors import RunError
from seewhy.models.backbones import create_architecture, load_backbone
from seewhy.models.classifier import (
    Classifier,
    ClassifierSpec,
    Head,
    map_layer,
    pool,
    read_classifier,
    save_classifier,
)
from seewhy.models.cut import cut_trunk
from seewhy.storage.schemas.levels import Levels, ValueLevel


def _classifier(name: str, units: tuple[int, ...] = (5,)) -> Classifier:
    backbone = load_backbone(BackboneConfig(name=name, weights="none"), 64, seed=2)
    cut = cut_trunk(backbone.model, 0.5, 64)
    design = ClassifierSpec(
        backbone.name, 0.5, units, 0.5, ("a", "<b>", "c"), backbone.preprocess, 48
    )
    features = backbone.model.num_features if name != "vgg11" else 512
    return Classifier(cut, Head(features, units, 0.5, 3, seed=1), design).eval()


@pytest.mark.parametrize(
    ("name", "units"), [("resnet18", (5,)), ("vgg11", ()), ("resnet18", (6, 3))]
)
def test_a_classifier_comes_back_to_the_last_bit(
    tmp_path: Path, name: str, units: tuple[int, ...]
) -> None:
    classifier = _classifier(name, units)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(0.01)
    path = tmp_path / "model.safetensors"
    save_classifier(classifier, path)
    back = read_classifier(path)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(back(images), classifier(images), rtol=0, atol=0)
    assert back.design == classifier.design
    assert back.map_layer == classifier.map_layer
    assert not back.training
    assert path.stat().st_mode & 0o044  # others may read it, as any other file of the run


def test_black_and_white_come_back(tmp_path: Path) -> None:
    classifier = _classifier("resnet18")
    path = tmp_path / "model.safetensors"
    levels = Levels((ValueLevel("16-bit", 0.0, 4095.0), ValueLevel("float", -1.5, 0.1)))
    classifier.design = replace(classifier.design, levels=levels)
    save_classifier(classifier, path)
    assert read_classifier(path).design.levels == levels


def test_how_pictures_were_fitted_comes_back(tmp_path: Path) -> None:
    backbone = load_backbone(BackboneConfig(name="resnet18", weights="none"), (64, 96), seed=2)
    cut = cut_trunk(backbone.model, 0.5, (64, 96))
    design = ClassifierSpec(
        backbone.name, 0.5, (), 0.0, ("a", "b"), backbone.preprocess, (32, 48), resize="pad"
    )
    path = tmp_path / "model.safetensors"
    save_classifier(Classifier(cut, Head(512, (), 0.0, 2, seed=1), design), path)
    back = read_classifier(path)
    assert back.design == design
    # Pictures come the same way: padded at the working size, then enlarged.
    picture = np.random.default_rng(0).integers(0, 256, (80, 50, 3), dtype=np.uint8)
    fitted = torch.from_numpy(Fit((32, 48), "pad").picture(picture)[None])
    expected = to_input(fitted, backbone.preprocess, "cpu")
    assert expected.shape == (1, 3, 64, 96)
    torch.testing.assert_close(read_images(picture, back), expected, rtol=0, atol=0)


def test_a_file_that_does_not_say_how_pictures_were_fitted(tmp_path: Path) -> None:
    """Those that were written before there was a choice: their pictures were cropped."""
    path = tmp_path / "model.safetensors"
    save_classifier(_classifier("resnet18"), path)
    with safe_open(path, framework="pt") as stored:
        told = json.loads(stored.metadata()["seewhy"])
    del told["resize"]
    save_file(load_file(path), path, metadata={"seewhy": json.dumps(told)})
    design = read_classifier(path).design
    assert (design.resize, design.working_size, design.preprocess.size) == ("crop", 48, 64)


def test_the_prefix_stays_in_evaluation_mode() -> None:
    classifier = _classifier("resnet18").train()
    assert not any(module.training for module in classifier.prefix.modules())
    assert all(module.training for module in classifier.tail_and_head.modules())


def test_the_head_is_pooling_hidden_layers_and_an_output() -> None:
    head = Head(2, (3,), 0.5, 2, seed=0).eval()
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 6.0]]]])
    torch.testing.assert_close(pool(maps), torch.tensor([[2.0, 4.0]]))
    hidden, output = head.layers[0], head.layers[3]
    by_hand = torch.relu(torch.tensor([[2.0, 4.0]]) @ hidden.weight.T + hidden.bias)
    by_hand = by_hand @ output.weight.T + output.bias
    torch.testing.assert_close(head(maps), by_hand)
    assert [type(layer).__name__ for layer in head.layers] == [
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
    ]


def test_heads_depend_on_their_seed_alone() -> None:
    before = torch.get_rng_state()
    first, second, other = (Head(4, (3,), 0.1, 2, seed=s) for s in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_the_layer_that_is_explained() -> None:
    for name, layer in (("resnet18", "tail"), ("vgg11", "tail.features.19")):
        backbone = load_backbone(BackboneConfig(name=name, weights="none"), 64, seed=0)
        assert map_layer(cut_trunk(backbone.model, 0.5, 64)) == layer


@pytest.mark.parametrize(
    "damage", ["missing", "cut short", "no design", "a tensor less", "a shape"]
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.safetensors"
    classifier = _classifier("resnet18")
    save_classifier(classifier, path)
    tensors = load_file(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "no design":
        save_file(tensors, path)
    else:
        with safe_open(path, "pt") as stored:
            design = stored.metadata()
        if damage == "a tensor less":
            del tensors["trunk.layer4.1.conv2.weight"]
        else:
            tensors["head.layers.0.weight"] = torch.zeros(5, 7)
        save_file(tensors, path, metadata=design)
    with pytest.raises(RunError, match=r"model\.safetensors: ") as caught:
        read_classifier(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float64, 1e-6)],
)
@pytest.mark.parametrize("units", [(), (5,)])
def test_a_classifier_of_another_precision_says_and_shows_the_same(
    dtype: torch.dtype, tolerance: float, units: tuple[int, ...]
) -> None:
    classifier = _classifier("test_resnet", units)
    with torch.no_grad():
        # Random weights would give logits that hardly differ.
        classifier.tail_and_head.head.layers[-1].weight.mul_(20)
    other = copy.deepcopy(classifier).to(dtype)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = explain(classifier, images, layer=classifier.map_layer)
    found = explain(other, images.to(dtype), layer=other.map_layer)
    spread = float(expected.logits.max() - expected.logits.min())
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=tolerance * spread)
    most = float(expected.maps.max())
    torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=5 * tolerance * most)
    # Logits are not rounded to half precision again.
    assert other(images.to(dtype)).dtype == torch.promote_types(dtype, torch.float32)


def test_pictures_are_read_in_the_precision_of_the_classifier(tmp_path: Path) -> None:
    classifier = _classifier("test_resnet")
    path = tmp_path / "a.png"
    Image.effect_noise((40, 40), 60).convert("RGB").save(path)
    images = read_images(path, classifier)
    assert images.dtype == torch.float32
    half = classifier.half()
    torch.testing.assert_close(read_images(path, half), images.half(), rtol=0, atol=0)
    assert explain(half, read_images(path, half)).logits.isfinite().all()


def test_a_classifier_is_built_for_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def noting(*given: object) -> torch.nn.Module:
        asked.append(given)
        return create_architecture(*given)

    monkeypatch.setattr("seewhy.models.classifier.create_architecture", noting)
    save_classifier(_classifier("test_resnet"), tmp_path / "model.safetensors")
    read_classifier(tmp_path / "model.safetensors")
    assert asked == [("test_resnet", 64)]
    assert create_architecture("test_vit", 64).patch_embed.grid_size == (4, 4)


@pytest.mark.soak
def test_a_transformers_classifier_comes_back_at_its_size(tmp_path: Path) -> None:
    backbone = load_backbone(
        BackboneConfig(name="maxvit_rmlp_pico_rw_256", weights="none"), 96, seed=2
    )
    cut = cut_trunk(backbone.model, 0.2, 96)
    design = ClassifierSpec(backbone.name, 0.2, (), 0.0, ("a", "b"), backbone.preprocess, 96)
    classifier = Classifier(cut, Head(backbone.model.num_features, (), 0.0, 2, 0), design).eval()
    save_classifier(classifier, tmp_path / "model.safetensors")
    back = read_classifier(tmp_path / "model.safetensors")
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(back(images), classifier(images), rtol=0, atol=0)
