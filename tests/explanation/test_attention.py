"""LeGrad by hand, against torchcam, and which networks it is for."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.methods.attention import attention_blocks, legrad
from seewhy.explanation.spatial_layout import SpatialLayout


def test_legrad_formula() -> None:
    # One head, three tokens of which the first is the class token. Positive gradients summed over
    # the three queries: keys (1, 5, 3); without the class token, divided by 1 · 3.
    gradients = torch.tensor([[[[1.0, 2.0, 3.0], [-4.0, 3.0, -1.0], [0.0, 0.0, 0.0]]]])
    found = legrad(gradients, SpatialLayout("tokens", (1, 2), 1))
    torch.testing.assert_close(found, torch.tensor([[[5 / 3, 1.0]]]))


class Block(nn.Module):
    """One head of attention whose queries, keys and values are the tokens themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.attn(tokens)[:, None]
        return tokens + F.scaled_dot_product_attention(values, values, values)[:, 0]


class Network(nn.Module):
    """Patches of one pixel, two blocks, a class token of ones whose value is squared."""

    def __init__(self) -> None:
        super().__init__()
        self.block1, self.block2 = Block(), Block()

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.ones_like(tokens[:, :1]), tokens], dim=1)
        return self.block2(self.block1(tokens))[:, 0].square()


def test_legrad_on_a_network_worked_out_in_numpy() -> None:
    image = np.array([[0.3, -0.7], [1.1, 0.2], [0.5, -0.4], [-0.2, 0.9]])  # places × colours
    # Block l puts out Z' = Z + A Z; the score of class c is the mean token's c-th value squared,
    # m_c². Its derivative by A[i, j] is 2 m_c / T · Z[j, c], with T = 5 tokens, for every query i.
    tokens = np.vstack([np.ones(2), image])
    expected = np.zeros((2, 4))
    for _ in range(2):
        scores = np.exp(tokens @ tokens.T / np.sqrt(2))
        after = tokens + scores / scores.sum(1, keepdims=True) @ tokens
        for c in range(2):
            gradient = 2 * after.mean(0)[c] / 5 * tokens[:, c]
            expected[c] += np.maximum(gradient, 0)[1:] / 2
        tokens = after
    images = torch.from_numpy(image.T.reshape(1, 2, 2, 2)).float()
    found = explain(Network(), images, classes="all", method="legrad")
    np.testing.assert_allclose(found.maps[0].flatten(1).numpy(), expected, rtol=1e-5)
    assert found.layer == "block1 … block2"


def test_legrad_of_the_last_blocks() -> None:
    torch.manual_seed(0)
    model, images = Network(), torch.rand(2, 2, 4, 4)
    both = explain(model, images, method="legrad")
    named = explain(model, images, method="legrad", layer=["block1", "block2"])
    torch.testing.assert_close(named.maps, both.maps)
    last = explain(model, images, method="legrad", layer="block2")
    assert last.layer == "block2"
    # The first block's part, from a network that has no other: its output is classified.
    model.block2 = nn.Identity()
    first = explain(model, images, both.classes[:, 0], method="legrad")
    torch.testing.assert_close((first.maps + last.maps) / 2, both.maps)
    with pytest.raises(ConfigError, match="to be the network's last, 'block2', but got block1"):
        explain(Network(), images, method="legrad", layer="block1")


def test_legrad_equals_torchcam() -> None:
    torchvision = pytest.importorskip("torchvision")
    methods = pytest.importorskip("torchcam.methods")
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(64, 16, 3, 4, 32, 64, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    images = torch.randn(3, 3, 64, 64)
    with methods.LeGrad(model, list(model.encoder.layers)) as peer:
        scores = model(images)
        theirs = peer([0, 3, 1], scores, normalized=False)[0].detach()
    ours = explain(model, images, classes=[0, 3, 1], method="legrad").maps[:, 0]
    # The largest difference is 7e-8 of the largest value.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.max()))


def test_timms_transformers_are_explained_as_their_modules_say() -> None:
    """The same model with timm's own, open attention: its probabilities are differentiated."""
    torch.manual_seed(0)
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=48, depth=2, num_classes=3
    ).eval()
    for linear in (model.head, model.head_dist):
        nn.init.normal_(linear.weight)
    images = torch.randn(2, 3, 48, 48)
    found = explain(model, images, classes=[2, 0], method="legrad").maps[:, 0]
    attentions: list[Tensor] = []
    tokens: list[Tensor] = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda m, i, output: attentions.append(output))
        block.register_forward_hook(lambda m, i, output: tokens.append(output))
    model(images)
    expected = torch.zeros(2, 3, 3)
    for attention, output in zip(attentions, tokens, strict=True):
        mean = model.norm(output.mean(1))
        logits = (model.head(mean) + model.head_dist(mean)) / 2
        score = logits[0, 2] + logits[1, 0]
        (gradient,) = torch.autograd.grad(score, attention, retain_graph=True)
        expected += gradient.relu().mean((1, 2))[:, 2:].view(2, 3, 3) / 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_a_hybrid_is_explained_as_the_transformer_behind_its_convolutions() -> None:
    """Tokens are the places of a convolutional network's map, not patches of the image."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU())
    model = VisionTransformer(
        48,
        1,
        num_classes=3,
        embed_dim=24,
        depth=2,
        num_heads=2,
        embed_layer=partial(HybridEmbed, backbone=stem),
    ).eval()
    nn.init.normal_(model.head.weight)
    images = torch.randn(2, 3, 48, 48)
    found = explain(model, images, method="legrad")
    assert (found.maps.shape, found.layer) == ((2, 1, 12, 12), "blocks.0 … blocks.1")
    gradcam = explain(model, images)
    assert gradcam.layer == "blocks.1.norm1"
    features = stem(images).detach()
    model.patch_embed.backbone = nn.Identity()
    behind = explain(model, features, method="legrad")
    torch.testing.assert_close(found.maps, behind.maps)
    torch.testing.assert_close(gradcam.maps, explain(model, features).maps)


def test_blocks_are_what_holds_an_attention_layer() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3)
    assert attention_blocks(model) == ("blocks.0", "blocks.1", "blocks.2")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet18", "expected a vision transformer, but ResNet has no block"),
        ("swin_tiny_patch4_window7_224", "expected blocks that all put out the same tokens"),
    ],
)
def test_networks_that_legrad_is_not_for_are_named(name: str, sentence: str) -> None:
    model = timm.create_model(name, num_classes=2)
    side = 224 if "224" in name else 64
    with pytest.raises(ConfigError, match=sentence):
        explain(model, torch.zeros(1, 3, side, side), method="legrad")


def test_attention_that_cannot_be_read_is_named() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    model.blocks[0].attn.fused_attn = False
    with pytest.raises(ConfigError, match=r"block 'blocks\.0' to attend once"):
        explain(model, torch.zeros(1, 3, 32, 32), method="legrad")


def test_blocks_that_are_not_named_are_not_read() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 2, 4, 4)
    model = Network()
    model.block2 = nn.Sequential(Block(), Block())
    # The middle block runs between the two named ones, unread.
    named = explain(model, images, method="legrad", layer=["block1", "block2.1"])
    parts = [
        explain(model, images, named.classes[:, 0], method="legrad", layer=layers).maps
        for layers in ("auto", ["block2.0", "block2.1"], ["block2.1"])
    ]
    # Sums over all three, the last two and the last: the first is the difference of two.
    first = 3 * parts[0] - 2 * parts[1]
    torch.testing.assert_close(2 * named.maps, first + parts[2])


def test_logits_that_depend_on_more_than_the_last_block_are_named() -> None:
    class Around(Network):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + images.sum((2, 3))

    torch.manual_seed(0)
    with pytest.raises(ConfigError, match="depend on more than what block 'block2' puts out"):
        explain(Around(), torch.rand(2, 2, 4, 4), method="legrad")
