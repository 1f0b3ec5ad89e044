"""How outputs are, which layer is chosen, and what the list of layers says."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.layer_choice import choose_layer
from seewhy.explanation.layers import list_layers, name_layer
from seewhy.explanation.spatial_layout import SpatialLayout, read_layout

SQUARE = torch.Size([2, 3, 224, 224])
WIDE = torch.Size([2, 3, 160, 224])


@pytest.mark.parametrize(
    ("shape", "images", "facts", "expected"),
    [
        ((2, 512, 7, 7), SQUARE, {}, SpatialLayout("channels first", (7, 7))),
        ((2, 7, 7, 512), SQUARE, {}, SpatialLayout("channels last", (7, 7))),
        ((2, 512, 5, 7), WIDE, {}, SpatialLayout("channels first", (5, 7))),
        # As many channels as places: channels are first, unless a norm over the last axis says so.
        ((2, 7, 7, 7), SQUARE, {}, SpatialLayout("channels first", (7, 7))),
        ((2, 7, 7, 7), SQUARE, {"last": True}, SpatialLayout("channels last", (7, 7))),
        # Patches; with a class token; with a distillation token; with registers.
        ((2, 196, 192), SQUARE, {}, SpatialLayout("tokens", (14, 14), 0)),
        ((2, 197, 192), SQUARE, {}, SpatialLayout("tokens", (14, 14), 1)),
        ((2, 198, 192), SQUARE, {"prefix": 2}, SpatialLayout("tokens", (14, 14), 2)),
        ((2, 9, 192), SQUARE, {"prefix": 5}, SpatialLayout("tokens", (2, 2), 5)),
        ((2, 141, 192), WIDE, {}, SpatialLayout("tokens", (10, 14), 1)),
        # A block without the class token, in a network that has one.
        ((2, 196, 192), SQUARE, {"prefix": 1}, SpatialLayout("tokens", (14, 14), 0)),
        # 24 places can be 4 × 6; the network's own grid is believed where the count agrees.
        ((2, 25, 8), torch.Size([2, 3, 40, 60]), {}, SpatialLayout("tokens", (4, 6), 1)),
        ((2, 25, 8), SQUARE, {"prefix": 0, "grid": (5, 5)}, SpatialLayout("tokens", (5, 5), 0)),
        ((2, 26, 8), SQUARE, {"prefix": 1, "grid": (14, 14)}, SpatialLayout("tokens", (5, 5), 1)),
        # A grid of the right count, but of another image's proportions.
        (
            (2, 17, 8),
            torch.Size([2, 3, 32, 128]),
            {"prefix": 1, "grid": (4, 4)},
            SpatialLayout("tokens", (2, 8), 1),
        ),
        # No maps: pooled, a single place, another batch, heads × tokens × channels.
        ((2, 512), SQUARE, {}, None),
        ((2, 512, 1, 1), SQUARE, {}, None),
        ((4, 512, 7, 7), SQUARE, {}, None),
        ((2, 3, 197, 64), SQUARE, {}, None),
        ((2, 3, 1000), SQUARE, {}, None),
    ],
)
def test_layouts(
    shape: tuple[int, ...],
    images: torch.Size,
    facts: dict[str, object],
    expected: SpatialLayout | None,
) -> None:
    assert read_layout(torch.Size(shape), images, **facts) == expected


def test_tokens_and_channels_become_maps() -> None:
    # Two images, a class token and 2×3 patches, two channels; value = 10 · token + channel.
    tokens = (10 * torch.arange(7)[:, None] + torch.arange(2)).float().expand(2, -1, -1)
    maps = SpatialLayout("tokens", (2, 3), 1).to_maps(tokens)
    assert maps[0, 1].tolist() == [[11.0, 21.0, 31.0], [41.0, 51.0, 61.0]]
    last = tokens[:, 1:].reshape(2, 2, 3, 2)
    assert torch.equal(SpatialLayout("channels last", (2, 3)).to_maps(last), maps)
    assert torch.equal(SpatialLayout("channels first", (2, 3)).to_maps(maps), maps)


@pytest.mark.parametrize(
    ("name", "options", "side", "layer", "shape"),
    [
        ("resnet18", {}, 64, "layer4", (2, 2)),
        ("vgg11", {"mlp_ratio": 0.01}, 64, "features.19", (4, 4)),
        ("densenet121", {}, 64, "features", (2, 2)),
        ("tf_efficientnet_lite0", {}, 64, "bn2", (2, 2)),
        ("inception_v3", {}, 160, "Mixed_7c", (3, 3)),
        ("convnext_atto", {}, 64, "norm_pre", (2, 2)),
        # Transformers: class token; distillation token; registers; none; another size.
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 64, "blocks.1.norm1", (4, 4)),
        (
            "deit_tiny_distilled_patch16_224",
            {"img_size": 64, "depth": 2},
            64,
            "blocks.1.norm1",
            (4, 4),
        ),
        (
            "vit_small_patch14_reg4_dinov2",
            {"img_size": 28, "depth": 2},
            28,
            "blocks.1.norm1",
            (2, 2),
        ),
        (
            "vit_tiny_patch16_224",
            {"img_size": 64, "depth": 2, "global_pool": "avg", "class_token": False},
            64,
            "blocks.1.norm1",
            (4, 4),
        ),
        (
            "vit_tiny_patch16_224",
            {"depth": 2, "dynamic_img_size": True},
            96,
            "blocks.1.norm1",
            (6, 6),
        ),
        ("eva02_tiny_patch14_224", {"img_size": 56, "depth": 2}, 56, "blocks.1.norm1", (4, 4)),
        # Attention to the class token alone, behind blocks without one.
        (
            "cait_xxs24_224",
            {"img_size": 64, "depth": 2},
            64,
            "blocks_token_only.1.norm1",
            (4, 4),
        ),
        # Channels last; norms behind their attention; maps behind the last attention; no attention.
        (
            "swin_tiny_patch4_window7_224",
            {"depths": (1, 1, 1, 2)},
            224,
            "layers.3.blocks.1.norm1",
            (7, 7),
        ),
        (
            "swinv2_tiny_window8_256",
            {"depths": (1, 1, 1, 2)},
            256,
            "layers.3.blocks.0",
            (8, 8),
        ),
        ("mobilevit_xxs", {}, 64, "final_conv", (2, 2)),
        ("mixer_s16_224", {}, 224, "norm", (14, 14)),
    ],
)
def test_the_layer_that_is_chosen(
    name: str, options: dict[str, object], side: int, layer: str, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=9, **options)
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features == 9:
            nn.init.normal_(module.weight)
    found = explain(model, torch.randn(1, 3, side, side), classes="all")
    assert found.layer == layer
    assert found.maps.shape[2:] == shape
    # The layer speaks to the classes.
    assert found.maps.sum() > 0


def test_the_map_of_a_wide_image_keeps_its_proportions() -> None:
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=3, img_size=(64, 96), depth=2
    ).eval()
    nn.init.normal_(model.head.weight)
    found = explain(model, torch.randn(1, 3, 64, 96))
    assert found.maps.shape == (1, 1, 4, 6)
    assert found.resized().shape == (1, 1, 64, 96)


def test_torchvisions_transformer_is_known_too() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)
    assert choose_layer(model.eval(), torch.zeros(1, 3, 32, 32)) == (
        "encoder.layers.encoder_layer_1.ln_1"
    )


def test_a_network_without_a_map_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no layer .* puts out a spatial map"):
        explain(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.zeros(1, 3, 8, 8))


def test_layers_are_listed_with_their_shapes() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.unused = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ReLU()
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            values = self.act(self.act(self.conv(images)))
            return self.fc(self.pool(values).flatten(1))

    model = Network().train()
    found = list_layers(model, torch.zeros(3, 3, 10, 10))
    assert [(one.name, one.kind, one.shape, one.is_map) for one in found] == [
        ("conv", "Conv2d", (1, 4, 8, 8), True),
        ("act", "ReLU", (1, 4, 8, 8), True),
        ("pool", "AdaptiveAvgPool2d", (1, 4, 1, 1), False),
        ("fc", "Linear", (1, 2), False),
        ("", "Network", (1, 2), False),
    ]
    assert found[0].layout == SpatialLayout("channels first", (8, 8))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("layr4", "layer 'layr4' is unknown; did you mean layer4"),
        (nn.ReLU(), "a layer's name or a module of the model, but got a ReLU that is no part"),
        (4, "expected a layer's name, but got 4"),
        ((), r"expected a layer's name, but got \(\)"),
        (("layer4", "layr3"), "layer 'layr3' is unknown"),
        ("fc", r"layer 'fc': expected a spatial map .* but it puts out \(1, 3\)"),
        ("layer1.0.downsample", "is unknown"),
    ],
)
def test_layers_that_cannot_be_explained_are_named(layer: object, sentence: str) -> None:
    model = timm.create_model("resnet18", num_classes=3)
    with pytest.raises(ConfigError, match=sentence):
        explain(model, torch.zeros(1, 3, 64, 64), layer=layer)


def test_a_module_stands_for_its_name() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=3).eval()
    assert name_layer(model, model.layer4[1]) == "layer4.1"
    image = torch.randn(1, 3, 64, 64)
    found = explain(model, image, layer=model.layer3)
    assert found.layer == "layer3"
    torch.testing.assert_close(found.maps, explain(model, image, layer="layer3").maps)
    assert explain(model, image, layer=[model.layer3, "layer4"]).layer == "layer3, layer4"


def test_a_layer_that_does_not_run_is_named() -> None:
    model = nn.ModuleDict({"body": nn.Conv2d(3, 2, 1), "aside": nn.Conv2d(3, 2, 1)})
    model.forward = lambda images: model["body"](images).mean((2, 3))  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="layer 'aside': the model's forward pass does not reach"):
        explain(model, torch.zeros(1, 3, 4, 4), layer="aside")
