"""The cut: prefix and tail are the trunk again, at the place worked out by hand."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.errors import BackboneError
from seewhy.models.cut import cut_trunk, trace_trunk, trunk_shapes, weighted_layers

# One small member of each family, and a size it takes.
FAMILIES = {
    "resnet18": 64,
    "vgg11": 64,
    "inception_v3": 80,
    "tf_efficientnet_lite0": 64,
    "mobilenetv3_small_100": 64,
    "convnext_atto": 64,
    "densenet121": 64,
    "tf_efficientnetv2_b0": 64,
    "regnety_002": 64,
    "nf_resnet26": 64,
}
# VGG's fully connected layers, which no trunk runs, are kept small.
OPTIONS = {"vgg11": {"mlp_ratio": 0.01}}


def _built(name: str) -> nn.Module:
    """Build a model whose batch normalisations do something, so that no test passes idly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=0, **OPTIONS.get(name, {}))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
    return model.eval().requires_grad_(False)


def _meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **options).eval()


def _images(size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_passages_carry_everything_that_follows() -> None:
    """In a residual block only what comes after the addition does, or before the branches part."""
    cut = cut_trunk(_meta("resnet18", num_classes=0), 0.4, 64)
    assert cut.place == "layer3.0.act2"
    assert cut.passages == ("layer3.1.act2", "layer4.0.act2", "layer4.1.act2")
    straight = cut_trunk(_meta("vgg11", num_classes=0, mlp_ratio=0.01), 0.3, 64)
    assert straight.passages == tuple(straight.grids)[:-1]
    branches = cut_trunk(_meta("inception_v3", num_classes=0), 0.2, 96)
    assert branches.passages == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_prefix_then_tail_is_the_trunk_to_the_last_bit(name: str) -> None:
    model, size = _built(name), FAMILIES[name]
    for layout, share in ((torch.contiguous_format, 0.5), (torch.channels_last, 0.2)):
        images = _images(size).contiguous(memory_format=layout)
        model.to(memory_format=layout)
        expected = model.forward_features(images.clone())
        assert not torch.allclose(expected[0], expected[1], rtol=1e-3)
        cut = cut_trunk(model, share, size)
        activations = cut.prefix(images.clone())
        assert tuple(activations.shape[1:]) == cut.shape
        assert torch.equal(cut.tail(activations.clone()), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_share_the_model_s_tensors_under_its_names(name: str) -> None:
    model = _meta(name, num_classes=0)
    cut = cut_trunk(model, 0.5, 96)
    prefix, tail = (dict(part.named_parameters()) for part in (cut.prefix, cut.tail))
    whole = dict(model.named_parameters())
    assert not prefix.keys() & tail.keys()
    assert all(whole[name] is tensor for name, tensor in {**prefix, **tail}.items())
    left = whole.keys() - prefix.keys() - tail.keys()
    # Behind the trunk in timm: what else belongs to the head.
    unused = {"head", "pre_logits", *(["conv_head"] if name.startswith("mobile") else [])}
    assert {other.partition(".")[0] for other in left} <= unused
    names = {*cut.prefix.state_dict(), *cut.tail.state_dict()}
    assert names == {n for n in model.state_dict() if n.partition(".")[0] not in unused}


def test_vgg16_is_cut_at_the_pooling_behind_its_seventh_convolution() -> None:
    # 13 convolutions; six and seven before the cut are equally near to half. Behind the sixth the
    # activation is 256×56×56, behind the seventh and its pooling 256×28×28: the smaller is taken.
    cut = cut_trunk(_meta("vgg16"), 0.5, 224)
    assert (cut.place, cut.before, cut.total) == ("features.16", 7, 13)
    assert cut.shape == (256, 28, 28)
    # It ends in a pooling; the last map is its input.
    assert cut.last_map == "features.29"


def test_resnet50_is_cut_behind_the_first_block_of_its_third_layer() -> None:
    # Stem 1, layer1 9 + 1 shortcut (11), layer2 12 + 1 (24), layer3.0 3 + 1 (28); inside a block
    # the shortcut is alive too. Half of 53 is 26.5: 28 is nearer than 24.
    model = _meta("resnet50")
    cut = cut_trunk(model, 0.5, 224)
    assert (cut.place, cut.before, cut.total) == ("layer3.0.act3", 28, 53)
    assert cut.shape == (1024, 14, 14)
    assert cut.last_map == ""
    assert weighted_layers(model) == 54


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "tf_efficientnet_lite0"])
def test_the_whole_trunk_may_be_open(name: str) -> None:
    model, size = _built(name), FAMILIES[name]
    cut = cut_trunk(model, 1, size)
    assert (cut.place, cut.before, cut.shape) == ("the input", 0, (3, size, size))
    assert not dict(cut.prefix.named_parameters())
    images = _images(size)
    assert torch.equal(cut.prefix(images), images)
    assert torch.equal(cut.tail(images.clone()), model.forward_features(images.clone()))


def test_the_last_layer_is_after_the_cut_where_none_is_open() -> None:
    cut = cut_trunk(_meta("vgg16"), 0, 224)
    assert (cut.before, cut.total) == (12, 13)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.floats(0.001, 0.999))
def test_nearest_block_boundary_is_taken(share: float) -> None:
    # Stem 1; two convolutions a block; a shortcut's at the start of layers 2 to 4; 20 in all.
    boundaries = (1, 3, 5, 8, 10, 13, 15, 18)
    cut = cut_trunk(RESNET18, share, 64)
    wanted = (1 - share) * 20
    assert cut.total == 20
    assert cut.before in boundaries
    assert abs(cut.before - wanted) <= min(abs(b - wanted) for b in boundaries) + 1e-6


RESNET18 = _meta("resnet18", num_classes=0)


class _Trunk(nn.Module):
    """A trunk of five convolutions that halve or keep the map, and what a test puts between."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c = nn.Conv2d(4, 4, 3, padding=1)
        self.d = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.act = nn.ReLU(inplace=True)


class _Plain(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        x = self.act(self.a(x))
        x = self.pool(self.act(self.b(x)))
        x = self.act(self.c(x))
        return self.act(self.d(x))


def test_of_equal_places_the_smallest_then_the_latest_is_taken() -> None:
    cut = cut_trunk(_Plain().eval(), 0.5, 32)
    assert (cut.place, cut.before, cut.shape) == ("pool", 2, (4, 16, 16))
    # Behind c the activation is as large before the ReLU as after it.
    assert cut_trunk(_Plain().eval(), 0.25, 32).place == "act"
    # 1 and 2 of 4 are equally near to 1.5, 2 has the smaller activation.
    assert cut_trunk(_Plain().eval(), 0.625, 32).before == 2


class _Widened(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        x = self.pool(self.b(self.a(x)))
        return self.d(self.c(nn.functional.interpolate(x, scale_factor=2)))


def test_a_smaller_place_goes_before_a_later_one() -> None:
    cut = cut_trunk(_Widened().eval(), 0.5, 32)
    assert (cut.place, cut.shape) == ("pool", (4, 16, 16))


def test_one_layer_at_least_lies_on_either_side_of_any_other_share() -> None:
    assert cut_trunk(_Plain().eval(), 0.999, 32).before == 1
    assert cut_trunk(_Plain().eval(), 0.0, 32).before == 3


class _Shared(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = self.b(self.b(x))
        return self.b(self.c(self.d(x)))


def test_a_layer_that_runs_twice_is_not_divided() -> None:
    cut = cut_trunk(_Shared().eval(), 0.5, 32)
    # Half of six would be behind b's second run; b runs again at the end.
    assert (cut.before, cut.total, cut.place) == (1, 6, "a")


class _Sized(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        return self.d(self.c(self.b(self.a(x)))) / height


class _Skipped(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        first = self.a(x)
        return torch.cat([first, self.d(self.c(self.b(first)))[:, :0]], 1)


def test_a_number_that_is_still_needed_counts_as_alive() -> None:
    with pytest.raises(BackboneError, match="_Sized: its trunk cannot be cut"):
        cut_trunk(_Sized().eval(), 0.5, 32)
    assert cut_trunk(_Skipped().eval(), 0.5, 32).place == "a"


class _Folded(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        height, width = 32, 32
        folded = x.reshape(-1, 2, height, width)  # (2B, 2, H, W): smaller, but not an image's own
        return self.d(self.c(folded.reshape(-1, 4, height, width)))


def test_what_mixes_the_images_of_a_batch_is_no_place() -> None:
    cut = cut_trunk(_Folded().eval(), 0.5, 32)
    assert (cut.before, cut.shape) == (2, (4, 32, 32))


class _Branching(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        return self.a(x) if x.sum() > 0 else self.b(x)


class _Flat(_Trunk):
    def forward_features(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)).flatten(1)


@pytest.mark.parametrize(
    ("model", "size", "sentence"),
    [
        (_meta("vit_tiny_patch16_224"), 224, "vit_tiny_patch16_224: has no spatial feature map"),
        (_meta("swin_tiny_patch4_window7_224"), 224, "has no spatial feature map"),
        (_meta("inception_v3"), 40, "inception_v3: cannot take 40×40 images"),
        (_Branching(), 32, "_Branching: torch.fx cannot follow its forward_features"),
        (_Flat(), 32, "_Flat: has no spatial feature map"),
        (nn.Conv2d(3, 4, 3), 32, "Conv2d: has no spatial feature map"),
    ],
)
def test_what_cannot_be_cut_is_named(model: nn.Module, size: int, sentence: str) -> None:
    with pytest.raises(BackboneError, match=re.escape(sentence)) as caught:
        cut_trunk(model, 0.5, size)
    assert "\n" not in str(caught.value)


def test_last_map_is_what_the_final_pooling_pools() -> None:
    model = _built("vgg11")
    cut = cut_trunk(model, 0.5, 64)
    seen: list[Tensor] = []
    layer = cut.tail.get_submodule(cut.last_map)
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    output = cut.tail(cut.prefix(_images(64)))
    assert torch.equal(nn.functional.max_pool2d(seen[0], 2), output)


def test_training_the_tail_reaches_the_tail_alone() -> None:
    model = _built("tf_efficientnet_lite0")
    cut = cut_trunk(model, 0.5, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cut.tail.requires_grad_(True).train()
    with torch.no_grad():
        activations = cut.prefix(_images(64))
    cut.tail(activations.clone()).square().mean().backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    assert touched == set(dict(cut.tail.named_parameters()))
    # In training the tail's batch statistics move, and the prefix's do not.
    moved = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert moved == {n for n in cut.tail.state_dict() if "running_" in n or "num_batches" in n}


class _OwnNorm(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class _Normed(_Plain):
    def __init__(self) -> None:
        super().__init__()
        self.act = _OwnNorm(4)


def test_a_layer_of_the_model_s_own_follows_the_mode() -> None:
    model = _Normed().eval()
    cut = cut_trunk(model, 0.5, 32)
    cut.tail.train()
    cut.tail(torch.ones(2, *cut.shape))
    assert model.act.num_batches_tracked > 0


def test_stochastic_depth_follows_the_mode() -> None:
    model = timm.create_model("convnext_atto", num_classes=0, drop_path_rate=0.9).eval()
    for gamma in (p for n, p in model.named_parameters() if n.endswith("gamma")):
        nn.init.ones_(gamma)
    cut = cut_trunk(model, 0.5, 64)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        activations = cut.prefix(_images(64))
        assert torch.equal(cut.tail(activations.clone()), cut.tail(activations.clone()))
        cut.tail.train()
        assert not torch.equal(cut.tail(activations.clone()), cut.tail(activations.clone()))


def test_tracing_leaves_modes_and_shapes_need_no_computing() -> None:
    model = RESNET18
    model.train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    trunk = trace_trunk(model)
    assert [module.training for module in model.modules()] == modes
    shapes = trunk_shapes(model, trunk.graph, 64)
    # 64 → 32 → 16 → 8 → 4 → 2, two images.
    assert list(shapes.values())[-1] == (2, 512, 2, 2)
    model.eval()
