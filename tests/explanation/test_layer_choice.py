"""What `auto` chooses in networks with more than one trunk, output or kind of input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy import explain, list_layers
from seewhy.errors import ConfigError
from seewhy.explanation.layer_choice import attends, choose_layer
from seewhy.explanation.spatial_layout import SpatialLayout, read_layout

IMAGE = torch.zeros(1, 3, 32, 32)


def _images(count: int, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))


class ResidualAttentionBlock(nn.Module):
    """As CLIP has it: its name says attention, but the attention layer is inside."""

    def __init__(self, width: int, batch_first: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=batch_first)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, batch_first: bool) -> None:
        super().__init__()
        self.first = batch_first
        blocks = (ResidualAttentionBlock(width, batch_first) for _ in range(2))
        self.resblocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return (
            self.resblocks(x) if self.first else self.resblocks(x.transpose(0, 1)).transpose(0, 1)
        )


class Clip(nn.Module):
    """CLIP's two towers; `prompts` class descriptions of 16 words each."""

    def __init__(self, prompts: int, batch_first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        width = 8
        self.conv1 = nn.Conv2d(3, width, 8, 8, bias=False)
        self.token = nn.Parameter(torch.randn(width))
        self.position = nn.Parameter(torch.randn(17, width))
        self.visual = Transformer(width, batch_first)
        self.ln_post = nn.LayerNorm(width)
        self.words = nn.Embedding(50, width)
        self.transformer = Transformer(width, batch_first)
        self.ln_final = nn.LayerNorm(width)
        self.register_buffer("text", torch.randint(50, (prompts, 16)))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        token = self.token.expand(len(images), 1, -1)
        seen = self.visual(torch.cat([token, patches], 1) + self.position)
        image = self.ln_post(seen[:, 0])
        text = self.ln_final(self.transformer(self.words(self.text)))[:, -1]
        return 10 * F.normalize(image, dim=1) @ F.normalize(text, dim=1).t()


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("batch_first", [True, False])
def test_of_clip_the_image_tower_is_explained(prompts: int, batch_first: bool) -> None:
    model = Clip(prompts, batch_first).eval()
    found = explain(model, _images(3), layer="auto")
    assert found.layer == "visual.resblocks.1.ln_1"
    assert found.maps.shape == (3, 1, 4, 4)
    assert found.maps.sum() > 0


@pytest.mark.parametrize("method", ["gradcam", "layercam", "ablationcam", "shapleycam", "eigencam"])
# As many images as tokens: the shape alone does not tell which is which.
@pytest.mark.parametrize("count", [2, 17])
def test_tokens_before_images_give_the_maps_of_tokens_behind_them(method: str, count: int) -> None:
    first, behind = Clip(3, batch_first=True).eval(), Clip(3, batch_first=False).eval()
    behind.load_state_dict(first.state_dict())
    images = _images(count)
    layer = "visual.resblocks.1.ln_1"
    expected = explain(first, images, "top2", layer, method).maps
    found = explain(behind, images, "top2", layer, method).maps
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    assert expected.sum() > 0


def test_a_head_that_pools_tokens_before_images_has_the_closed_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pooled(nn.Module):
        def __init__(self, axis: int) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8), nn.Linear(8, 2)
            self.axis = axis

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.conv(images).flatten(2).movedim(2, self.axis)
            return self.fc(self.norm(tokens).mean(self.axis))

    def forbidden(*given: object, **options: object) -> None:
        raise AssertionError("no backward is needed here")

    monkeypatch.setattr(torch.autograd, "grad", forbidden)
    expected = explain(Pooled(1), _images(2), "all", "norm").maps
    torch.testing.assert_close(explain(Pooled(0), _images(2), "all", "norm").maps, expected)
    # Sixteen images and sixteen tokens.
    expected = explain(Pooled(1), _images(16), "all", "norm").maps
    torch.testing.assert_close(explain(Pooled(0), _images(16), "all", "norm").maps, expected)


@pytest.mark.parametrize(
    ("shape", "facts", "expected"),
    [
        ((17, 2, 8), {}, SpatialLayout("tokens first", (4, 4), 1)),
        ((16, 2, 8), {}, SpatialLayout("tokens first", (4, 4), 0)),
        ((2, 17, 8), {}, SpatialLayout("tokens", (4, 4), 1)),
        ((17, 3, 8), {}, None),
    ],
)
def test_layouts_of_tokens_before_images(
    shape: tuple[int, ...], facts: dict[str, Any], expected: SpatialLayout | None
) -> None:
    assert read_layout(torch.Size(shape), torch.Size([2, 3, 32, 32]), **facts) == expected


def test_as_many_images_as_tokens_are_told_apart_by_what_is_said() -> None:
    shape, images = torch.Size([4, 4, 8]), torch.Size([4, 3, 32, 32])
    assert read_layout(shape, images) == SpatialLayout("tokens", (2, 2))
    assert read_layout(shape, images, tokens_first=True) == SpatialLayout("tokens first", (2, 2))
    # Tokens of image 1 are those on the second axis.
    values = torch.arange(4.0)[:, None, None] + 10 * torch.arange(4.0)[:, None] + torch.zeros(2)
    maps = SpatialLayout("tokens first", (2, 2)).to_maps(values)
    assert maps[1, 0].tolist() == [[10.0, 11.0], [12.0, 13.0]]


def test_a_block_around_an_attention_layer_is_no_attention_layer() -> None:
    block = ResidualAttentionBlock(8, True)
    assert not attends("resblocks.0", block)
    assert attends("resblocks.0.attn", block.attn)


class Segmenting(nn.Module):
    """Puts out a map of scores a class, at the images' size."""

    def __init__(self, activated: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1))
        self.classify, self.aside = nn.Conv2d(6, 5, 1), nn.Conv2d(4, 5, 1)
        self.activated = activated

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        early = self.body[:2](images)
        scores = self.classify(self.body[2](early))
        out = F.interpolate(scores, size=images.shape[2:], mode="bilinear")
        return {"out": out.softmax(1) if self.activated else out, "aux": self.aside(early)}


@pytest.mark.parametrize("activated", [False, True])
def test_of_a_segmentation_the_output_itself_is_not_explained(activated: bool) -> None:
    model = Segmenting(activated)
    mask = torch.zeros(32, 32)
    mask[8:24, 8:24] = 1

    def target(output: dict[str, Tensor]) -> Tensor:
        return (output["out"] * mask).sum((2, 3))

    found = explain(model, _images(2), [[2], [3]], target=target)
    assert found.layer == "body.2"
    # By hand: the gradient through the 1×1 convolution and the resizing.
    leaf = model.body(_images(2)).detach().requires_grad_()
    out = F.interpolate(model.classify(leaf), size=(32, 32), mode="bilinear")
    scores = ((out.softmax(1) if activated else out) * mask).sum((2, 3))
    (gradient,) = torch.autograd.grad(scores[0, 2] + scores[1, 3], leaf)
    expected = (gradient.mean((2, 3), keepdim=True) * leaf.detach()).sum(1).relu()
    torch.testing.assert_close(found.maps[:, 0], expected)
    # Another output of the same network has another layer.
    assert explain(model, _images(2), 0, target=lambda o: o["aux"].mean((2, 3))).layer == "body.1"


def test_features_that_a_target_classifies_are_no_scores() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 6, 3, 2), nn.ReLU())
    head = nn.Linear(6, 3)
    found = explain(trunk, _images(2), target=lambda features: head(features.mean((2, 3))))
    assert found.layer == "3"


class Net(nn.Module):
    """A stem, what comes after it, and the scores of the mean of that."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.left = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.right, self.fc = nn.Conv2d(4, 4, 3), nn.Linear(4, 2)
        self.position = Constant()

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.maps(images).mean((2, 3)))

    def maps(self, images: Tensor) -> Tensor:
        raise NotImplementedError


class Constant(nn.Module):
    """A learnt map for every image the same, as embeddings of positions are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 28, 28))

    def forward(self, like: Tensor) -> Tensor:
        return self.weight.expand(len(like), -1, -1, -1) + 0


class WithPositions(Net):
    def maps(self, images: Tensor) -> Tensor:
        values = self.left(self.stem(images))
        return (values + self.position(values)).relu()


class Branches(Net):
    def maps(self, images: Tensor) -> Tensor:
        values = self.stem(images)
        return torch.cat([self.left(values)[:, :2], self.right(values)[:, 2:]], 1)


class Gated(Net):
    """The second branch works on the first."""

    def maps(self, images: Tensor) -> Tensor:
        values = self.left(self.stem(images))
        return values[:, :, 1:-1, 1:-1] * self.right(values).sigmoid()


class Unused(Net):
    def maps(self, images: Tensor) -> Tensor:
        values = self.left(self.stem(images))
        self.right(values)
        return values


class FrozenWithPositions(WithPositions):
    def maps(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return super().maps(images)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        (WithPositions, "left"),
        (FrozenWithPositions, "left"),
        (Gated, "right"),
        (Unused, "left"),
    ],
)
def test_a_layer_counts_where_it_leads_from_the_images_to_the_scores(
    kind: type[Net], layer: str
) -> None:
    assert choose_layer(kind().eval(), IMAGE) == layer
    assert explain(kind(), _images(2)).layer == layer


def test_two_branches_side_by_side_are_named() -> None:
    with pytest.raises(ConfigError, match="the layers 'left' and 'right' lead to the scores side"):
        explain(Branches(), _images(1))
    found = explain(Branches(), _images(1), layer=["left", "right"])
    assert set(found.by_layer) == {"left", "right"}


def test_a_named_layer_that_does_not_depend_on_the_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="layer 'position': puts out the same for different im"):
        explain(WithPositions(), _images(2), layer="position")


def test_of_two_transformers_side_by_side_none_is_chosen() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = Clip(3, True), Clip(3, True)

        def forward(self, images: Tensor) -> Tensor:
            return self.one(images) + self.two(images)

    with pytest.raises(ConfigError, match=r"'one.visual.* and 'two.visual.*side by side"):
        explain(Two(), _images(1))


def test_one_transformer_on_two_views_is_named_with_its_runs() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = Clip(3, True)

        def forward(self, images: Tensor) -> Tensor:
            return self.one(images) + self.one(images.flip(3))

    with pytest.raises(ConfigError, match=r"choose one.visual.resblocks.1.ln_1@1 or"):
        explain(Views(), _images(2))
    found = explain(Views(), _images(2), "all", "one.visual.resblocks.1.ln_1@2").maps
    single = explain(Views().one, _images(2).flip(3), "all", "visual.resblocks.1.ln_1").maps
    torch.testing.assert_close(found, single)


def test_looking_for_a_layer_keeps_no_values_and_changes_nothing() -> None:
    model = Clip(3).train()
    before = [p.requires_grad for p in model.parameters()]
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t), lambda t: t):
        list_layers(model, _images(1))
    assert [p.requires_grad for p in model.parameters()] == before
    assert not kept
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_network_made_for_batches_of_one_size_is_asked_with_all_images() -> None:
    class Fixed(WithPositions):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.view(2, 3, 32, 32))

    assert explain(Fixed(), _images(2)).layer == "left"


def test_a_network_that_leaves_autograd_is_asked_with_another_image() -> None:
    class Leaving(WithPositions):
        def maps(self, images: Tensor) -> Tensor:
            return super().maps(torch.from_numpy(images.numpy() * 2))

    assert explain(Leaving(), _images(2)).layer == "left"
